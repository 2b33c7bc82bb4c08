"""Settings as data: what Python has besides JSON becomes what core reads."""

from __future__ import annotations

from typing import Any, Literal, Mapping, Sequence, TypedDict, Union

from ._data import Money

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike

    _Prices = Union[Sequence["Price"], Sequence[Mapping[str, Any]], str, PathLike[str]]


class Retry(TypedDict, total=False):
    """How a call is tried again."""

    attempts: int
    base_seconds: float
    factor: int
    max_seconds: float
    jitter: float
    longest_pause_seconds: float
    buffered: bool


class Timeout(TypedDict, total=False):
    """How long one try may take."""

    first_seconds: float
    between_seconds: float
    total_seconds: float


class Breaker(TypedDict, total=False):
    """When a circuit breaker opens and closes."""

    failures: int
    window_seconds: float
    failure_share: float
    recovery_seconds: float
    successes: int
    probes: int
    timeout_seconds: float
    slow_call_seconds: float


class _RateRule(TypedDict):
    scope: Literal["global", "tenant", "user", "endpoint"]
    limit: int
    per_seconds: float


class RateRule(_RateRule, total=False):
    """How many calls or tokens a time may hold."""

    unit: Literal["calls", "tokens"]
    burst: float
    algorithm: Literal["token_bucket", "sliding_window", "fixed_window"]


class RateLimit(TypedDict, total=False):
    """Rates of calls and tokens."""

    rules: Sequence[RateRule]
    longest_wait_seconds: float
    store: str


class Fallback(TypedDict, total=False):
    """What may answer instead of a model that fails."""

    models: Sequence[str]
    remember: int
    text: str


class Cascade(TypedDict, total=False):
    """Stronger models for when an answer will not do."""

    models: Sequence[str]
    text: str


class Cache(TypedDict, total=False):
    """How long and how many answers are kept."""

    cosine: float
    ttl_seconds: float
    entries: int


class Layers(TypedDict, total=False):
    """What stands before every model."""

    trace: bool
    redact: bool
    cache: bool | Cache
    cascade: bool | Cascade | Sequence[str]
    fallback: bool | Fallback | Sequence[str]
    retry: bool | Retry
    breaker: bool | Breaker
    rate_limit: bool | RateLimit | Sequence[RateRule]
    timeout: bool | Timeout


class Cap(TypedDict, total=False):
    """How far spending may go."""

    money: str | Money
    tokens: int


class Caps(TypedDict, total=False):
    """The caps of one scope."""

    total: Cap
    day: Cap
    month: Cap


class Budgets(TypedDict, total=False):
    """What runs may spend."""

    currency: str
    tenant: Caps
    user: Caps
    run: Caps
    agent: Caps
    request: Cap
    approval_above: str | Money | None
    hold_seconds: float


class _Price(TypedDict):
    model: str
    currency: str
    input: int
    output: int
    valid_from: str


class Price(_Price, total=False):
    """What a model costs from a date on, in millionths of the currency unit per million tokens."""

    cached: int


def settings(
    layers: Layers | None, budgets: Budgets | bool | None, prices: _Prices | None
) -> dict[str, Any]:
    """The settings of an engine as core reads them."""
    caps: Any = {} if budgets is True else None if budgets is False else budgets
    given: dict[str, Any] = {"layers": layers, "budgets": caps, "prices": prices}
    return {name: plain(value) for name, value in given.items() if value is not None}


def plain(value: Any) -> Any:
    """JSON out of a value, with amounts as text and spans as seconds."""
    if isinstance(value, Money):
        return str(value)
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "total_seconds"):
        return value.total_seconds()
    if hasattr(value, "__fspath__"):
        return value.__fspath__()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value
