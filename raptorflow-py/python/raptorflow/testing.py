"""Test doubles: models that follow a script or a recorded run, and cassettes of what providers answered."""

from __future__ import annotations

from typing import Any, Iterable, Literal, Mapping, TypedDict, Union

from . import _raptorflow
from .errors import RaptorflowError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike

    from ._data import ChatRequest
    from ._engine import Engine

    _Reply = Union[str, "Reply", RaptorflowError]

__all__ = ["Cassette", "ReplayModel", "Reply", "ScriptedModel"]


class Reply(TypedDict, total=False):
    """A reply of a script: an answer, a value as JSON, an error, or silence."""

    text: str | list[str]
    """A string, or the strings that it arrives in."""
    reasoning: str
    tool_calls: list[dict[str, Any]]
    """Dicts with `id`, `name` and `arguments`."""
    usage: dict[str, int]
    """The fields of `Usage`."""
    finish: str
    """Why it ended; by default `stop`, or `tool_calls` where there are some."""
    json: Any
    """A value, which arrives as text, in place of an answer."""
    error: dict[str, Any]
    """An error in place of an answer: its `kind`, a `message`, and `retry_after` where trying again can help."""
    hangs: bool
    """Never answers, until the run is cancelled or its time is over."""
    in_pieces: int
    """Text and arguments arrive in pieces of at most this many characters."""
    cut_after: int
    """Breaks off after this many pieces."""
    silent_after: int
    """Says nothing more after this many pieces, and does not end."""
    delay_seconds: float
    """Begins after a pause."""




class ScriptedModel:
    """A model that gives replies in order, and remembers what it was asked.

        script = rf.testing.ScriptedModel(["Hello.", {"error": {"kind": "rate_limited", "retry_after": 2}}])
        engine.register_model("test:script", script)

    A reply is a string, a `Reply`, or one of our exceptions, such as `TimeoutError("too slow")`.
    """

    def __init__(
        self,
        replies: Iterable[_Reply] = (),
        *,
        when: Mapping[str, _Reply] | None = None,
        always: _Reply | None = None,
    ) -> None:
        """A script.

        Args:
            replies: What is answered, one after another; a call beyond them is a `NotFoundError`.
            when: Replies to requests whose last message has a text in it; they go before the list.
            always: The reply to every request that nothing else answers.
        """
        self._native = _raptorflow.ScriptedModel()
        for text, reply in (when or {}).items():
            self._native.when_asked(text, _plain(reply))
        if always is not None:
            self._native.always(_plain(always))
        self.push(*replies)

    def push(self, *replies: _Reply) -> None:
        """Adds replies to the end of the list."""
        for reply in replies:
            self._native.push(_plain(reply))

    @property
    def requests(self) -> list[ChatRequest]:
        """Every request so far, oldest first."""
        from ._data import ChatRequest

        return [ChatRequest(**each) for each in self._native.requests()]

    @property
    def keys(self) -> list[str | None]:
        """The idempotency key of every request so far."""
        return self._native.keys()

    @property
    def remaining(self) -> int:
        """How many replies of the list are left."""
        return self._native.remaining()


class ReplayModel:
    """A model that gives the answers of a recorded run again, each place of the run its own, in their order.

    What it is asked is not compared; a place that has no answer left gets a `NotFoundError`.
    """

    def __init__(self, native: _raptorflow.ReplayModel) -> None:
        self._native = native

    @classmethod
    def load(cls, path: str | PathLike[str]) -> ReplayModel:
        """The answers of a file that `save` wrote."""
        return cls(_raptorflow.ReplayModel.load(path))

    @classmethod
    async def of_run(cls, engine: Engine, run_id: str) -> ReplayModel:
        """The answers that stand in the journal of a run."""
        from ._bridge import current

        return cls(await _raptorflow.ReplayModel.of_run(current(), engine._native, run_id))

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the answers that are left to a file; they hold what the models said."""
        self._native.save(path)

    @property
    def left(self) -> int:
        """How many answers are left."""
        return self._native.left()


class Cassette:
    """What providers answered, recorded in a file that holds no keys, to be given again without the network.

        engine = rf.Engine(default_model="openai:gpt-5-mini", cassette=rf.testing.Cassette("greeting.jsonl"))

    A request is found by its address and its body, and answered once; a replay needs no key.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        mode: Literal["record", "replay", "auto"] = "replay",
        *,
        ignoring: Iterable[str] = (),
    ) -> None:
        """Opens a cassette.

        Args:
            path: The file: a line of JSON for each exchange.
            mode: `replay` sends nothing, and what is not recorded is an error; `record` sends everything and begins
                the file anew; `auto` sends and records what is not there yet.
            ignoring: JSON Pointers into the body that are not compared, such as `/metadata/user_id`.
        """
        self._native = _raptorflow.Cassette(path, mode, list(ignoring))

    @property
    def left(self) -> int:
        """How many recorded exchanges were not asked for."""
        return self._native.left()

    def check(self) -> None:
        """Raises an `UnavailableError` when something could not be written."""
        self._native.check()


def _plain(reply: Any) -> Any:
    """A reply as core reads it."""
    if not isinstance(reply, RaptorflowError):
        return reply
    error = {"kind": reply.code, "message": reply.message}
    return {"error": error if reply.retry_after is None else {**error, "retry_after": reply.retry_after}}
