"""The names that the package exposes are those of `tests/surface.toml`, no more and no less."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import raptorflow as rf

SURFACE = Path(__file__).parents[2] / "tests" / "surface.toml"


def listed() -> list[str]:
    """The strings of every `python = […]`; a reader of TOML came to Python with 3.11 only."""
    text = SURFACE.read_text("utf-8")
    arrays = re.findall(r"^python = \[(.*?)\]", text, re.MULTILINE | re.DOTALL)
    return [name for array in arrays for name in re.findall(r'"([^"]+)"', array)]


def has(name: str) -> bool:
    target: object = rf
    for part in name.split("."):
        annotated = getattr(target, "__annotations__", {}) if isinstance(target, type) else {}
        if not hasattr(target, part):
            return part in annotated
        target = getattr(target, part)
    return True


def test_every_listed_name_is_there() -> None:
    assert [name for name in listed() if not has(name)] == []


def test_every_public_name_is_listed() -> None:
    assert sorted(name for name in rf.__all__ if name not in listed()) == []
    roots = {name.split(".")[0] for name in listed()}
    assert sorted(roots - set(rf.__all__)) == []


def test_nothing_public_is_left_out_of_all() -> None:
    modules = {"errors"}
    public = {name for name in dir(rf) if not name.startswith("_")}
    assert sorted(public - set(rf.__all__) - modules) == []


def test_every_public_class_and_function_is_documented() -> None:
    for name in rf.__all__:
        value = getattr(rf, name)
        if inspect.isclass(value) and value.__module__.startswith("raptorflow."):
            for member, inner in vars(value).items():
                if member.startswith("_") or not callable(inner) or value in (rf.Context, rf.Event):
                    continue
                assert inner.__doc__, f"{name}.{member} has no docstring"
        assert value.__doc__, f"{name} has no docstring"


def test_importing_is_light() -> None:
    """What takes long to import comes in when it is needed."""
    code = "import sys, raptorflow; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
                          capture_output=True, encoding="utf-8", check=True)  # fmt: skip
    loaded = set(done.stdout.split())
    assert "raptorflow._raptorflow" in loaded
    assert loaded.isdisjoint({"asyncio", "inspect", "dataclasses", "json", "datetime", "decimal", "pydantic"})


def test_importing_starts_no_thread() -> None:
    code = "import os, raptorflow; print(len(os.listdir('/proc/self/task')))"
    if not Path("/proc/self/task").is_dir():
        return
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "1"
