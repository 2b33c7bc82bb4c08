"""Durations: seconds or a `timedelta`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import timedelta


def seconds(duration: float | timedelta | None) -> float | None:
    """A duration in seconds."""
    if duration is None or isinstance(duration, (int, float)):
        return duration
    return duration.total_seconds()
