"""Typed questions: to a model or an agent, with an answer that is an instance of a type."""

from __future__ import annotations

from typing import Any, Callable, Generic, Literal, Mapping, TypeVar, overload

from . import _raptorflow
from ._data import Outcome, _Data
from ._run import current_bridge, current_caller, outcome_of
from ._time import seconds
from .errors import CancelledError, InvalidOutputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import timedelta
    from types import TracebackType

    from typing_extensions import Self

    from ._agent import Agent, FunctionAgent, Limits, Retrieval
    from ._workflow import Workflow

    _Target = str | Agent[Any] | FunctionAgent[..., Any] | Workflow

T = TypeVar("T")
Load = Callable[[Any], Any]


class AnswerPart(_Data, Generic[T]):
    """What an answer that is read as it arrives gives."""

    __slots__ = ("kind", "value", "open", "attempt", "outcome")

    kind: Literal["partial", "again", "done"]
    """`partial`: what is known so far. `again`: what was shown is void, because the model is asked again. `done`: the
    whole answer, checked; the last part."""
    value: Any
    """The answer so far as JSON types, not checked: members may be missing, strings may still grow, and numbers,
    booleans and nulls show when they are whole. The instance in the last part."""
    open: str | None
    """The JSON Pointer of the innermost value that is not whole; `None` when all is. What lies on the way to it may get
    more members; everything else is as it will be."""
    attempt: int
    """Which call of the model it is, from 1."""
    outcome: Outcome[T] | None
    """How the run ended, in the last part."""

    def __init__(
        self,
        kind: Literal["partial", "again", "done"],
        value: Any = None,
        open: str | None = None,
        attempt: int = 1,
        outcome: Outcome[T] | None = None,
    ) -> None:
        self.kind = kind
        self.value = value
        self.open = open
        self.attempt = attempt
        self.outcome = outcome


class AnswerStream(Generic[T]):
    """An answer as it arrives: an async iterator of parts; nothing is asked before the first is taken.

    The model is read on only while parts are taken. A run that fails raises its error after the parts before.
    """

    def __init__(self, engine: _raptorflow.Engine, question: Mapping[str, Any], load: Load | None) -> None:
        self._engine = engine
        self._question = question
        self._load = load
        self._native: _raptorflow.Answer | None = None
        self._attempt = 1
        self._outcome: Outcome[T] | None = None

    @property
    def run_id(self) -> str | None:
        """The run; `None` before it began."""
        return None if self._native is None else self._native.id

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AnswerPart[T]:
        if self._native is None:
            self._native = self._engine.ask_stream(current_caller(), self._question)
        part = await self._native.next(current_bridge())
        if part is None:
            raise StopAsyncIteration
        kind, value, open = part
        if kind == "partial":
            return AnswerPart("partial", value, open, self._attempt)
        if kind == "again":
            self._attempt = value
            return AnswerPart("again", attempt=value)
        self._outcome = answer_of(value, self._load)
        return AnswerPart("done", self._outcome.output, None, self._attempt, self._outcome)

    async def outcome(self) -> Outcome[T]:
        """Waits for the whole answer; parts that were not taken are dropped."""
        async for _ in self:
            pass
        if self._outcome is None:
            raise CancelledError("the stream was closed before the run ended", operation="engine.ask")
        return self._outcome

    def close(self) -> None:
        """Stops the run, if it has not ended; it can be resumed."""
        if self._native is not None:
            self._native.close()

    async def aclose(self) -> None:
        """The same as `close`, for `contextlib.aclosing`."""
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Asking:
    """The part of an engine that asks typed questions."""

    _native: _raptorflow.Engine

    @overload
    async def ask(
        self,
        output_type: type[T],
        question: Any,
        *,
        model: str | None = None,
        instructions: str | None = None,
        agent: _Target | None = None,
        background: str | None = None,
        retrieval: Retrieval | bool | None = None,
        limits: Limits | None = None,
        repairs: int | None = None,
        timeout: float | timedelta | None = None,
        tenant: str | None = None,
        user: str | None = None,
        id: str | None = None,
    ) -> Outcome[T]: ...

    @overload
    async def ask(
        self,
        output_type: Any,
        question: Any,
        *,
        model: str | None = None,
        instructions: str | None = None,
        agent: _Target | None = None,
        background: str | None = None,
        retrieval: Retrieval | bool | None = None,
        limits: Limits | None = None,
        repairs: int | None = None,
        timeout: float | timedelta | None = None,
        tenant: str | None = None,
        user: str | None = None,
        id: str | None = None,
    ) -> Outcome[Any]: ...

    async def ask(self, output_type: Any, question: Any, **options: Any) -> Outcome[Any]:
        """Asks a model, or an agent, and gives an instance of a type; nothing is registered for it.

        The answer is checked against the type's schema, and goes back with what is wrong if it does not fit. It is a run
        like any other: recorded, paid from the same budgets, and resumed by its id.

        Args:
            output_type: A dataclass, a pydantic model, a TypedDict, an Enum, any other type with a JSON Schema such as
                `list[int]`, or a JSON Schema itself. `outcome.output` is an instance of it.
            question: The question, or arguments; anything that has a form in JSON.
            model: `provider:model`; the engine's default when left out.
            instructions: What the model is told: the system message.
            agent: An agent to ask instead of a model, with its own instructions and tools.
            background: What the question is a part of, said before it.
            retrieval: Passages of the engine's knowledge base that the model is given before it is asked.
            limits: Bounds of the run.
            repairs: How often an answer that does not fit is sent back; 1 by default, or what the agent says.
            timeout: Seconds that the run may take.
            tenant: Whose run this is; the engine's by default.
            user: Who asks: whose budgets and limits apply. It is recorded with the run.
            id: The id of the run, a UUID, for a host that must know it before the run begins; a new one by default.

        Raises:
            InvalidOutputError: The answer did not fit to the end; `error.diagnostics` says what was wrong with the last.
            LimitExceededError: A bound ended the run before its answer was whole.
            RaptorflowError: Another of its classes; `error.run_id` can be resumed.
        """
        asked, load = question_of(output_type, question, **options)
        return answer_of(await self._native.ask(current_caller(), asked), load)

    def ask_sync(self, output_type: Any, question: Any, **options: Any) -> Outcome[Any]:
        """The same for code that is not async; also in a notebook. An interrupt (Ctrl-C) stops the work."""
        from ._bridge import run_sync

        return run_sync(lambda: self.ask(output_type, question, **options))

    @overload
    def ask_stream(
        self,
        output_type: type[T],
        question: Any,
        *,
        model: str | None = None,
        instructions: str | None = None,
        agent: _Target | None = None,
        background: str | None = None,
        retrieval: Retrieval | bool | None = None,
        limits: Limits | None = None,
        repairs: int | None = None,
        timeout: float | timedelta | None = None,
        tenant: str | None = None,
        user: str | None = None,
        id: str | None = None,
    ) -> AnswerStream[T]: ...

    @overload
    def ask_stream(
        self,
        output_type: Any,
        question: Any,
        *,
        model: str | None = None,
        instructions: str | None = None,
        agent: _Target | None = None,
        background: str | None = None,
        retrieval: Retrieval | bool | None = None,
        limits: Limits | None = None,
        repairs: int | None = None,
        timeout: float | timedelta | None = None,
        tenant: str | None = None,
        user: str | None = None,
        id: str | None = None,
    ) -> AnswerStream[Any]: ...

    def ask_stream(self, output_type: Any, question: Any, **options: Any) -> AnswerStream[Any]:
        """Asks as `ask` does, and gives the answer as it arrives."""
        asked, load = question_of(output_type, question, **options)
        return AnswerStream(self._native, asked, load)


def question_of(
    output_type: Any,
    question: Any,
    *,
    model: str | None = None,
    instructions: str | None = None,
    agent: _Target | None = None,
    background: str | None = None,
    retrieval: Retrieval | bool | None = None,
    limits: Limits | None = None,
    repairs: int | None = None,
    timeout: float | timedelta | None = None,
    tenant: str | None = None,
    user: str | None = None,
    id: str | None = None,
) -> tuple[dict[str, Any], Load | None]:
    """What the native side takes for a question, and what makes an instance of its answer."""
    from ._agent import _shape

    schema, load = _shape(output_type, "ask")
    asked = {
        "question": question,
        "schema": schema,
        "agent": agent if agent is None or isinstance(agent, str) else agent._native,
        "model": model,
        "instructions": instructions,
        "background": background,
        "retrieval": {} if retrieval is True else (dict(retrieval) if retrieval else None),
        "limits": None if limits is None else dict(limits),
        "repairs": repairs,
        "timeout": seconds(timeout),
        "tenant": tenant,
        "user": user,
        "id": id,
    }
    return asked, load


def answer_of(ended: dict[str, Any], load: Load | None) -> Outcome[Any]:
    run = ended["run_id"]
    try:
        return outcome_of(ended, load)
    except Exception as error:
        # What a type checks beyond its schema, such as a validator of a model.
        message = "the answer fits the schema and is no value of the type"
        raise InvalidOutputError(message, operation="python.ask", context={"run": run}) from error
