"""`SkillRegistry`: a folder of skills that is read again while others render."""

from __future__ import annotations

from . import _raptorflow
from ._data import Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike
    from typing import Any, Literal

    from typing_extensions import Self


class SkillRegistry:
    """A folder of skills: Markdown files with typed inputs, rendered into messages.

    skills = rf.SkillRegistry.load("skills")
    messages = skills.render("writing.summary", {"text": "…"})
    """

    def __init__(self, native: _raptorflow.SkillRegistry) -> None:
        self._native = native

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Reads a folder in which every skill is usable; the error's `diagnostics` are every problem found."""
        return cls(_raptorflow.SkillRegistry.load(path))

    @classmethod
    def open(cls, path: str | PathLike[str]) -> Self:
        """Reads a folder and leaves out what is not usable; `diagnostics` tells what and why."""
        return cls(_raptorflow.SkillRegistry.open(path))

    def reload(self) -> dict[str, Any]:
        """Reads the folder again, which blocks on the disk; a file with problems keeps the skill that it gave before.

        Gives the ids that were `added`, `changed`, `removed` and `kept`, how many are `unchanged`, and the `problems`.
        """
        return self._native.reload()

    def spec(self, id: str) -> dict[str, Any]:
        """What a skill says of itself."""
        return self._native.spec(id)

    def schemas(self, id: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The JSON Schemas of a skill's inputs and of its output."""
        return self._native.schemas(id)

    def render(self, id: str, inputs: Mapping[str, Any] | None = None) -> list[Message]:
        """The messages of a skill for these inputs; text from outside is delimited and never in the system role.

        `id` is one such as `writing.summary.v1`, or `writing.summary` for the newest version.
        """
        messages = self._native.render(id, {} if inputs is None else inputs)
        return [Message(message["role"], message["parts"]) for message in messages]

    def types(self, language: Literal["typescript", "python", "rust"]) -> str:
        """The types of what the skills are given and give, as the text of one source file."""
        return self._native.types(language)

    @property
    def diagnostics(self) -> list[str]:
        """Everything that was wrong when the folder was read last, warnings included."""
        return self._native.diagnostics

    def list(self) -> list[dict[str, Any]]:
        """One entry for each skill: `id`, `name`, `description`, `category`, `tags`, `version` and `digest`."""
        return self._native.list()
