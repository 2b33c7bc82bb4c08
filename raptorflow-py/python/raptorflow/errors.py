"""One exception class for each kind of error, under `RaptorflowError`."""

from __future__ import annotations

import builtins
from typing import ClassVar, Literal, Mapping, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    _Retry = Literal["never", "soon", "after", "exhausted"]

class RaptorflowError(Exception):
    """Something went wrong; `code` says what kind of thing, and each kind is a class of its own.

    A function of yours (agent, tool, model) may raise one of the classes to say what kind its failure is; any other
    exception becomes a `CallbackError` whose `__cause__` is that exception.
    """

    code: ClassVar[str] = "callback"
    message: str
    """What happened, without the operation and the context."""
    operation: str
    """Where it happened, as `module.verb`; empty when a function of yours did not say."""
    context: dict[str, str]
    """The values that help to find the cause."""
    retry: _Retry
    """Whether trying the same thing again can help."""
    retry_after: float | None
    """The pause in seconds that the other side named."""
    diagnostics: tuple[str, ...]
    """Every problem found in data that you wrote, one line each."""

    def __init__(
        self,
        message: str = "",
        *,
        operation: str = "",
        context: Mapping[str, object] | None = None,
        retry: _Retry = "never",
        retry_after: float | None = None,
        diagnostics: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.operation = operation
        self.context = {key: str(value) for key, value in (context or {}).items()}
        self.retry = "after" if retry_after is not None else retry
        self.retry_after = retry_after
        self.diagnostics = tuple(diagnostics)

    @property
    def run_id(self) -> str | None:
        """The run that failed; `engine.resume` takes it."""
        return self.context.get("run")

    def __str__(self) -> str:
        place = f"{self.operation}: " if self.operation else ""
        values = ", ".join(f"{key}: {value}" for key, value in self.context.items())
        return f"{place}{self.message} ({values})" if values else f"{place}{self.message}"


class InvalidInputError(RaptorflowError):
    """A value that you gave does not fit; the context names the field and what was expected."""

    code = "invalid_input"


class InvalidOutputError(RaptorflowError):
    """A model or tool answered something that does not fit its schema or wire format."""

    code = "invalid_output"


class NotFoundError(RaptorflowError):
    """The named thing does not exist."""

    code = "not_found"


class AlreadyExistsError(RaptorflowError):
    """The named thing exists already."""

    code = "already_exists"


class ConflictError(RaptorflowError):
    """Somebody else changed or owns it."""

    code = "conflict"


class UnauthenticatedError(RaptorflowError):
    """The credentials are missing or wrong."""

    code = "unauthenticated"


class PermissionDeniedError(RaptorflowError):
    """The credentials are right and do not allow this."""

    code = "permission_denied"


class RateLimitedError(RaptorflowError):
    """The other side asks to slow down."""

    code = "rate_limited"


class UnavailableError(RaptorflowError):
    """The other side cannot be reached or is failing."""

    code = "unavailable"


class TimeoutError(RaptorflowError, builtins.TimeoutError):
    """A deadline passed."""

    code = "timeout"


class CancelledError(RaptorflowError):
    """Somebody cancelled the run; a cancelled task raises `asyncio.CancelledError` instead."""

    code = "cancelled"


class BudgetExceededError(RaptorflowError):
    """A budget does not allow the spending."""

    code = "budget_exceeded"


class LimitExceededError(RaptorflowError):
    """A bound on steps, calls, tokens, sizes or queues was reached."""

    code = "limit_exceeded"


class UnsupportedError(RaptorflowError):
    """The backend does not offer what was asked."""

    code = "unsupported"


class CorruptError(RaptorflowError):
    """Stored data is damaged or of an unknown version."""

    code = "corrupt"


class CallbackError(RaptorflowError):
    """A function of yours (agent, tool, model) failed; the `__cause__` is what it raised."""

    code = "callback"


class InternalError(RaptorflowError):
    """A fault of this library."""

    code = "internal"


_BY_CODE: dict[str, type[RaptorflowError]] = {kind.code: kind for kind in RaptorflowError.__subclasses__()}
