"""`Pack`: teams and agents as data."""

from __future__ import annotations

from . import _raptorflow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike

    from typing_extensions import Self


class Pack:
    """Teams and agents as data, read from a folder and checked."""

    def __init__(self, native: _raptorflow.Pack) -> None:
        self._native = native

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Reads the pack in a folder; the error's `diagnostics` are every problem found."""
        return cls(_raptorflow.Pack.load(path))

    @property
    def name(self) -> str:
        """Its name; `engine.run` takes it once the pack is installed."""
        return self._native.name

    @property
    def version(self) -> str:
        return self._native.version

    @property
    def description(self) -> str:
        return self._native.description

    @property
    def teams(self) -> list[str]:
        """The names of its teams."""
        return self._native.teams

    @property
    def agents(self) -> list[str]:
        """The names of its agents, without the leads of the teams."""
        return self._native.agents
