"""Durations, as seconds or a `timedelta`, and points in time, as a `datetime` or text."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime, timedelta


def seconds(duration: float | timedelta | None) -> float | None:
    """A duration in seconds."""
    if duration is None or isinstance(duration, (int, float)):
        return duration
    return duration.total_seconds()


def rfc3339(time: datetime | str | None) -> str | None:
    """A point in time as text."""
    return time if time is None or isinstance(time, str) else time.isoformat()
