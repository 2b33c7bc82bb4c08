"""Patterns: agents that debate, vote, check each other or share work, collected here and checked by core."""

from __future__ import annotations

from typing import Any, Iterable, Literal, Mapping, Union

from . import _raptorflow
from ._time import seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import timedelta

    from ._agent import Agent, FunctionAgent
    from ._workflow import Workflow

    _Named = Union[str, Agent[Any], FunctionAgent[..., Any], Workflow]
    _Member = Union[_Named, "Pattern", Mapping[str, Any]]
    _Tie = Union[
        Literal["none", "first", "highest_priority", "lowest_priority", "most_confident"], Mapping[str, int]
    ]


class Pattern:
    """Agents that work together by a rule; it runs, and takes part in other patterns, like an agent.

    `debate` and the other functions make one. Members are agents, workflows and patterns that the engine knows, by name
    or themselves, other patterns, or `{"agent": "legal", "weight": 2.0, "role": "critic", "label": "lawyer"}`.

    The output is the decision: a dict with the `answer`, whether they `agreed`, the `confidence`, why it `stopped`, all
    `turns`, the `tally` of votes with who stood against it, and who is `missing`. With `answer_only=True` it is the answer.

    All options of all kinds that are not described with a function are these:

        name: Its name, unique among the agents of an engine; the kind and a digest of the options by default.
        description: What it does and when to choose it.
        timeout: Seconds for one turn of a member; 600 by default.
        retries: How often a turn that failed is tried again; 2 in a sequence and none elsewhere by default.
        parallel: How many turns are under way at the same time; 16 by default.
        tokens: How many tokens the turns may take together; without a bound by default.
        answer_only: Whether the output is the answer, and the decision a step of the journal.

    What is wrong with it is told by what registers or runs it, as `diagnostics` of an `InvalidInputError`.
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        """A pattern as data, as `to_dict` gives it."""
        self._spec: dict[str, Any] = {**spec}
        self._built: _raptorflow.Agent | None = None

    @property
    def name(self) -> str:
        """Its name."""
        return self._native.name

    def to_dict(self) -> dict[str, Any]:
        """It as data."""
        return {**self._spec}

    @property
    def _native(self) -> _raptorflow.Agent:
        if self._built is None:
            self._built = _raptorflow.Agent.pattern(self._spec)
        return self._built

    _load = None

    def __repr__(self) -> str:
        return f"Pattern({next(iter(self._spec.get('pattern', {'?': None})))})"


def sequential(members: Iterable[_Member], **options: Any) -> Pattern:
    """One member after another, each with what the one before it gave.

    Args:
        members: Who works, in order. A member with `"optional": True` may fail; `"undo"` names the agent that takes back
            what a member did when one behind it fails.
        options: Those of every pattern; see `Pattern`.
    """
    return _pattern("sequential", options, members=_members(members))


def parallel(
    members: Iterable[_Member],
    *,
    complete: Literal["all", "any", "majority", "threshold"] | None = None,
    threshold: float | None = None,
    aggregate: str | Mapping[str, Any] | None = None,
    fail_fast: bool | None = None,
    **options: Any,
) -> Pattern:
    """All members at once with the same input.

    Args:
        members: Who works.
        complete: When they have answered: when `all` have, the default, or enough of them.
        threshold: The share of the weight that has to have answered for `threshold`; 0.7 by default.
        aggregate: What the answers come to, as `all`, the default, `vote`, `majority`, `consensus`, `best`, `merge`,
            `average`, `combine`, `priority` or `first`, or `{"method": "vote", "tie": "first", "threshold": 0.5}`.
        fail_fast: Whether one that fails ends the pattern.
        options: Those of every pattern; see `Pattern`.
    """
    return _pattern(
        "parallel",
        options,
        members=_members(members),
        complete=complete or (None if threshold is None else "threshold"),
        threshold=threshold,
        aggregate={"method": aggregate} if isinstance(aggregate, str) else aggregate,
        fail_fast=fail_fast,
    )


def debate(
    members: Iterable[_Member],
    *,
    judge: _Member | None = None,
    format: Literal["round_robin", "free_form", "structured", "socratic"] | None = None,
    consensus: Literal["unanimous", "majority", "weighted_vote", "moderator", "confidence"] | None = None,
    confidence: float | None = None,
    rounds: int | None = None,
    turns: int | None = None,
    early_stop: bool | None = None,
    tie: _Tie | None = None,
    **options: Any,
) -> Pattern:
    """Sides that answer each other until they agree, a judge decides, or the rounds are used up.

    Args:
        members: The sides, with the roles `advocate`, `critic`, `neutral` or `moderator`.
        judge: Who decides when they do not agree; the moderator by default, or nobody.
        format: How turns follow each other; `round_robin` by default.
        consensus: When they agree; `moderator` with a judge and `majority` without one by default.
        confidence: How sure they have to be for `confidence`; 0.8 by default.
        rounds: How many rounds at most; 5 by default.
        turns: How often each side speaks in a round; 3 by default.
        early_stop: Whether it ends as soon as they agree; it does by default.
        tie: What a tie comes to; it stays one by default.
        options: Those of every pattern; see `Pattern`.
    """
    return _pattern(
        "debate",
        options,
        members=_members(members),
        judge=None if judge is None else _member(judge),
        format=format,
        consensus=consensus or (None if confidence is None else "confidence"),
        confidence=confidence,
        rounds=rounds,
        turns=turns,
        early_stop=early_stop,
        tie=tie,
    )


def verification(
    verifiers: Iterable[_Member],
    *,
    author: _Member | None = None,
    level: Literal["basic", "standard", "thorough", "critical"] | None = None,
    iterations: int | None = None,
    threshold: float | None = None,
    all_required: bool | None = None,
    **options: Any,
) -> Pattern:
    """An answer that others check, and that is written again with their notes until it passes.

    Args:
        verifiers: Who checks.
        author: Who writes; without one the input itself is checked, once.
        level: How much is looked for; `standard` by default.
        iterations: How often it is checked at most; 3 by default.
        threshold: The score that is needed; 0.8 by default.
        all_required: Whether all verifiers have to approve, which is the default, or those with more than half of the
            weight.
        options: Those of every pattern; see `Pattern`.
    """
    return _pattern(
        "verification",
        options,
        verifiers=_members(verifiers),
        author=None if author is None else _member(author),
        level=level,
        iterations=iterations,
        threshold=threshold,
        all_required=all_required,
    )


def expert_panel(
    members: Iterable[_Member],
    *,
    coordinator: _Member | None = None,
    strategy: Literal["coordinator", "consensus", "weighted_merge", "sequential_build", "best_solution"] | None = None,
    order: Literal["parallel", "sequential"] | None = None,
    threshold: float | None = None,
    tie: _Tie | None = None,
    **options: Any,
) -> Pattern:
    """Experts who come to one answer.

    Args:
        members: The experts, with the roles `primary`, `specialist`, `advisor` or `reviewer`.
        coordinator: Who writes the answer; the primary one by default.
        strategy: How they come to one answer; by a `coordinator` by default.
        order: Whether they see what others said before them; not by default.
        threshold: What the share, the score or the confidence has to be for them to agree; 0.7 by default.
        tie: What a tie comes to; it stays one by default.
        options: Those of every pattern; see `Pattern`.
    """
    return _pattern(
        "expert_panel",
        options,
        members=_members(members),
        coordinator=None if coordinator is None else _member(coordinator),
        strategy=strategy,
        order=order,
        threshold=threshold,
        tie=tie,
    )


def map_reduce(
    mappers: _Member | Iterable[_Member],
    *,
    reducer: _Member | None = None,
    at_once: int | None = None,
    threshold: float | None = None,
    **options: Any,
) -> Pattern:
    """Every item of a list by itself, and then all together.

    Args:
        mappers: Who works on the items, in turn.
        reducer: Who makes one answer of a list of outputs, which it gets as `items`; without one the answer is the list.
        at_once: How many outputs the reducer is given at once; all of them by default.
        threshold: The share of the items that has to succeed; all by default.
        options: Those of every pattern; see `Pattern`.
    """
    single = isinstance(mappers, (str, Mapping)) or not isinstance(mappers, Iterable)
    return _pattern(
        "map_reduce",
        options,
        mappers=[_member(mappers)] if single else _members(mappers),  # type: ignore[arg-type]
        reducer=None if reducer is None else _member(reducer),
        at_once=at_once,
        threshold=threshold,
    )


def reflection(
    author: _Member,
    *,
    critic: _Member | None = None,
    rounds: int | None = None,
    threshold: float | None = None,
    **options: Any,
) -> Pattern:
    """An answer that is criticized and written again.

    Args:
        author: Who writes.
        critic: Who criticizes; the author by default.
        rounds: How often it is written at most; 3 by default.
        threshold: The score that is good enough; 0.8 by default.
        options: Those of every pattern; see `Pattern`.
    """
    return _pattern(
        "reflection",
        options,
        author=_member(author),
        critic=None if critic is None else _member(critic),
        rounds=rounds,
        threshold=threshold,
    )


def _pattern(kind: str, common: Mapping[str, Any], **fields: Any) -> Pattern:
    given = {key: value for key, value in fields.items() if value is not None}
    spec = {**{key: value for key, value in common.items() if value is not None}, "pattern": {kind: given}}
    if "timeout" in spec:
        spec["timeout"] = seconds(spec["timeout"])
    return Pattern(spec)


def _members(members: Iterable[_Member]) -> list[Any]:
    return [_member(each) for each in members]


def _member(given: Any) -> Any:
    """A member as data: an agent by its name, a pattern as a whole."""
    if isinstance(given, Pattern):
        return {"pattern": given.to_dict()}
    if isinstance(given, Mapping):
        fields = {**given}
        if isinstance(fields.get("pattern"), Pattern):
            fields["pattern"] = fields["pattern"].to_dict()
        if "agent" in fields:
            fields["agent"] = getattr(fields["agent"], "name", fields["agent"])
        return fields
    return given if isinstance(given, str) else getattr(given, "name", given)
