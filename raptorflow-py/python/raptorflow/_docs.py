"""What a docstring says: the first paragraph, and a text for each parameter (Google, NumPy and Sphinx styles)."""

from __future__ import annotations

import inspect
import re
from typing import Any

_GOOGLE = re.compile(r"^(Args|Arguments|Parameters|Attributes):\s*$")
_NUMPY = re.compile(r"^(Parameters|Attributes)\s*$")
_SECTION = re.compile(r"^[A-Z][A-Za-z ]*:\s*$")
_SPHINX = re.compile(r"^:(?:param|parameter|arg|argument)\s+(?:[^:]*\s)?\*{0,2}(\w+):\s*(.*)$")
_FIELD = re.compile(r"^:\w+.*:")
_GOOGLE_ENTRY = re.compile(r"^\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.*)$")
_NUMPY_ENTRY = re.compile(r"^\*{0,2}(\w+(?:\s*,\s*\w+)*)\s*(?::.*)?$")


class Documented:
    """A summary, and texts by the names of parameters."""

    def __init__(self, summary: str, parameters: dict[str, str]) -> None:
        self.summary = summary
        self.parameters = parameters


def documented(what: Any) -> Documented:
    """Reads the docstring of a function or class; a dataclass without one of its own has none."""
    own = getattr(what, "__doc__", None) or ""
    if isinstance(what, type) and (own.startswith(f"{what.__name__}(") or own == dict.__doc__):
        own = ""
    lines = inspect.cleandoc(own).split("\n")
    parameters: dict[str, str] = {}
    for index, line in enumerate(lines):
        if _GOOGLE.match(line):
            parameters.update(_google(lines[index + 1 :]))
        elif _NUMPY.match(line) and index + 1 < len(lines) and set(lines[index + 1].strip()) == {"-"}:
            parameters.update(_numpy(lines[index + 2 :]))
        elif match := _SPHINX.match(line):
            parameters[match[1]] = _joined([match[2], *_deeper(lines[index + 1 :], 0)])
    return Documented(_summary(lines), {name: text for name, text in parameters.items() if text})


def _summary(lines: list[str]) -> str:
    said: list[str] = []
    for index, line in enumerate(lines):
        below = lines[index + 1].strip() if index + 1 < len(lines) else ""
        is_heading = _SECTION.match(line) or _FIELD.match(line) or (below and set(below) == {"-"})
        if not line.strip() or is_heading:
            break
        said.append(line)
    return _joined(said)


def _joined(lines: list[str]) -> str:
    return " ".join(line.strip() for line in lines if line.strip())


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _deeper(lines: list[str], indent: int) -> list[str]:
    """The lines up to the first that stands no deeper than `indent`."""
    deeper: list[str] = []
    for line in lines:
        if line.strip() and _indent(line) <= indent:
            break
        deeper.append(line)
    return deeper


def _google(lines: list[str]) -> dict[str, str]:
    block = _deeper(lines, 0)
    depth = min((_indent(line) for line in block if line.strip()), default=0)
    found: dict[str, str] = {}
    for index, line in enumerate(block):
        match = _GOOGLE_ENTRY.match(line.strip()) if _indent(line) == depth else None
        if match:
            found[match[1]] = _joined([match[2], *_deeper(block[index + 1 :], depth)])
    return found


def _numpy(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for index, line in enumerate(lines):
        below = lines[index + 1].strip() if index + 1 < len(lines) else ""
        if not line.strip() or _indent(line) > 0:
            continue
        match = _NUMPY_ENTRY.match(line)
        if not match or (below and set(below) == {"-"}):
            break
        text = _joined(_deeper(lines[index + 1 :], 0))
        found.update({name.strip(): text for name in match[1].split(",")})
    return found
