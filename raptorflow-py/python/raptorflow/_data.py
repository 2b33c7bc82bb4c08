"""What engines and knowledge bases give and take: plain data with types."""

from __future__ import annotations

from typing import Any, Generic, Iterator, Literal, Mapping, Sequence, TypeVar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from .errors import RaptorflowError

    _Status = Literal["running", "paused", "completed", "failed", "cancelled"]
    _Finish = Literal["complete", "steps", "tool_calls", "tokens", "cost", "length", "repeated_calls", "hook"]

T = TypeVar("T")


class _Data:
    """Compares and prints by its fields, which are its slots."""

    __slots__: tuple[str, ...] = ()

    def _fields(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in zip(self.__slots__, self._fields()))
        return f"{type(self).__name__}({shown})"


class Usage(_Data):
    """Tokens that calls took."""

    __slots__ = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")

    def __init__(
        self, input_tokens: int = 0, output_tokens: int = 0, cached_tokens: int = 0, reasoning_tokens: int = 0
    ) -> None:
        self.input_tokens = input_tokens
        self.output_tokens = output_tokens
        self.cached_tokens = cached_tokens
        self.reasoning_tokens = reasoning_tokens

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


class Money(_Data):
    """An amount in millionths of a currency unit."""

    __slots__ = ("micros", "currency")

    def __init__(self, micros: int, currency: str) -> None:
        self.micros = micros
        self.currency = currency

    @property
    def amount(self) -> Decimal:
        """The amount in units."""
        from decimal import Decimal

        return Decimal(self.micros).scaleb(-6)

    def __str__(self) -> str:
        return f"{self.amount:.6f} {self.currency}"


class Passage(_Data):
    """A numbered piece of a document that an answer may cite."""

    __slots__ = ("number", "source", "lines", "heading", "text")

    def __init__(self, number: int, source: str, lines: Sequence[int], text: str, heading: str = "") -> None:
        self.number = number
        self.source = source
        self.lines = (lines[0], lines[1])
        self.heading = heading
        self.text = text


class Outcome(_Data, Generic[T]):
    """How a run ended."""

    __slots__ = ("run_id", "output", "finish", "usage", "cost", "passages", "agent")

    run_id: str
    """The run; `resume`, `history` and `cancel` take it."""
    output: T
    """The answer: an instance of the agent's `output_type`, else text or JSON."""
    finish: _Finish
    """`complete`, or the bound that ended the run with what there was."""
    usage: Usage
    """Tokens that the run took."""
    cost: Money | None
    """What the run cost; `None` when a price is unknown or nothing was priced."""
    passages: list[Passage]
    """The passages that a single agent was given; citations in the answer are their numbers."""
    agent: str | None
    """Who answered, when the agent that was asked handed the conversation over."""

    def __init__(
        self,
        run_id: str,
        output: T,
        finish: _Finish,
        usage: Usage,
        cost: Money | None,
        passages: list[Passage],
        agent: str | None = None,
    ) -> None:
        self.run_id = run_id
        self.output = output
        self.finish = finish
        self.usage = usage
        self.cost = cost
        self.passages = passages
        self.agent = agent

    @property
    def is_complete(self) -> bool:
        """Whether the answer is whole."""
        return self.finish == "complete"

    @property
    def text(self) -> str:
        """The answer as text: a string as it is, anything else as it prints."""
        if isinstance(self.output, str):
            return self.output
        if self.output is None or isinstance(self.output, (bool, int, float, list, dict)):
            import json

            return json.dumps(self.output, ensure_ascii=False)
        return str(self.output)


class RunSummary(_Data):
    """A run in short."""

    __slots__ = (
        "run_id",
        "target",
        "status",
        "started",
        "ended",
        "entries",
        "usage",
        "cost",
        "model_calls",
        "tool_calls",
        "error",
    )

    run_id: str
    target: str
    status: _Status
    started: datetime
    ended: datetime | None
    entries: int
    usage: Usage
    cost: Money | None
    model_calls: int
    tool_calls: int
    error: RaptorflowError | None

    def __init__(self, **fields: Any) -> None:
        for name in self.__slots__:
            setattr(self, name, fields[name])


class RunPage(_Data):
    """Some of the runs that were asked for; it is iterated over like a list of them."""

    __slots__ = ("runs", "next")

    runs: list[RunSummary]
    next: str | None
    """The `after` of the next page; `None` when there are no more runs."""

    def __init__(self, runs: list[RunSummary], next: str | None) -> None:
        self.runs = runs
        self.next = next

    def __iter__(self) -> Iterator[RunSummary]:
        return iter(self.runs)

    def __len__(self) -> int:
        return len(self.runs)


class Pruned(_Data):
    """What a policy did, in numbers of runs."""

    __slots__ = ("removed", "kept", "unreadable")

    removed: int
    kept: int
    """Those that were left, those that cannot be read included."""
    unreadable: int
    """Those whose end cannot be read; they were left."""

    def __init__(self, removed: int, kept: int, unreadable: int) -> None:
        self.removed = removed
        self.kept = kept
        self.unreadable = unreadable


class Erased(_Data):
    """How much of a tenant was forgotten."""

    __slots__ = ("keys", "streams", "leases")

    def __init__(self, keys: int, streams: int, leases: int) -> None:
        self.keys = keys
        self.streams = streams
        self.leases = leases


class Archive(_Data):
    """What a file holds that a tenant or a store was written to."""

    __slots__ = ("tenants", "keys", "streams", "records", "digest")

    tenants: int
    keys: int
    streams: int
    records: int
    """How many records of streams."""
    digest: str
    """The SHA-256 in its last line: two archives with the same one are the same."""

    def __init__(self, **fields: Any) -> None:
        fields["digest"] = fields.pop("sha256")
        for name in self.__slots__:
            setattr(self, name, fields[name])


class Entry(_Data):
    """One recorded fact of a run."""

    __slots__ = ("sequence", "time", "path", "fact", "data")

    sequence: int
    """Its place in the journal, from 0."""
    time: datetime
    path: str
    """The place inside the run, steps joined with `/`; empty at its top."""
    fact: str
    """What happened, for example `model_responded`."""
    data: Any
    """The fields of the fact."""

    def __init__(self, **fields: Any) -> None:
        for name in self.__slots__:
            setattr(self, name, fields[name])


class Document(_Data):
    """A text that a knowledge base keeps."""

    __slots__ = ("id", "text", "title", "kind", "source", "metadata", "vector")

    def __init__(
        self,
        id: str,
        text: str,
        *,
        title: str | None = None,
        kind: str | None = None,
        source: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        vector: Sequence[float] | None = None,
    ) -> None:
        self.id = id
        self.text = text
        self.title = title
        self.kind = kind
        self.source = source
        self.metadata = dict(metadata or {})
        self.vector = vector

    def _plain(self) -> dict[str, Any]:
        vector = self.vector
        if vector is not None and not isinstance(vector, list):
            tolist = getattr(vector, "tolist", None)
            vector = tolist() if tolist is not None else list(vector)
        plain: dict[str, Any] = {"id": self.id, "text": self.text, "metadata": self.metadata, "vector": vector}
        plain.update(title=self.title, kind=self.kind, source=self.source)
        return plain


class Hit(_Data):
    """A piece of a document that a search found."""

    __slots__ = ("id", "score", "parts", "text", "document", "source", "lines", "bytes", "heading", "metadata")

    id: str
    """The document's id, `#` and the place of the piece in it."""
    score: float
    """How well it fits; comparable within one search only."""
    parts: dict[str, float | None]
    """What each index said: `dense` and `lexical`; and `rerank`, where a reranker gave the score."""
    text: str
    """The text, exactly as in the document."""
    document: str
    source: str
    lines: tuple[int, int]
    """First and last line in the document, from 1, both included."""
    bytes: tuple[int, int]
    """Where it stands in the document's text as UTF-8, the end not included."""
    heading: str
    metadata: dict[str, Any]

    def __init__(self, **fields: Any) -> None:
        fields["lines"] = tuple(fields["lines"])
        fields["bytes"] = (fields["bytes"]["start"], fields["bytes"]["end"])
        for name in self.__slots__:
            setattr(self, name, fields[name])


class Citation(_Data):
    """Where one passage of a context stands."""

    __slots__ = ("number", "document", "source", "lines", "heading", "score")

    number: int
    document: str
    source: str
    lines: tuple[int, int]
    heading: str
    score: float

    def __init__(self, **fields: Any) -> None:
        fields["lines"] = tuple(fields["lines"])
        for name in self.__slots__:
            setattr(self, name, fields[name])


class CitedContext(_Data):
    """Text for a model with the places that it comes from."""

    __slots__ = ("text", "citations", "passages", "tokens")

    def __init__(
        self, text: str, citations: list[Citation], passages: list[Passage], tokens: int
    ) -> None:
        self.text = text
        self.citations = citations
        self.passages = passages
        self.tokens = tokens


class IngestReport(_Data):
    """What adding documents did."""

    __slots__ = ("added", "updated", "unchanged", "removed", "chunks", "skipped")

    added: int
    updated: int
    unchanged: int
    removed: int
    chunks: int
    skipped: list[str]
    """One line for each document that cannot be used."""

    def __init__(self, **fields: Any) -> None:
        for name in self.__slots__:
            setattr(self, name, fields[name])


class Message(_Data):
    """One message of a conversation, as a model's function gets it."""

    __slots__ = ("role", "parts")

    role: Literal["system", "user", "assistant", "tool"]
    parts: list[dict[str, Any]]
    """Each part has a `type`: `text`, `passage`, `image`, `document`, `reasoning`, `tool_call` or `tool_result`.

    An `image` or `document` has `media_type` and `data`, which is base64, or `url`; a `document` may have a `name`.
    """

    def __init__(self, role: Literal["system", "user", "assistant", "tool"], parts: list[dict[str, Any]]) -> None:
        self.role = role
        self.parts = parts

    @property
    def text(self) -> str:
        """All text parts joined."""
        return "".join(part["text"] for part in self.parts if part["type"] == "text")

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """The parts of one type."""
        return [part for part in self.parts if part["type"] == kind]


class ChatRequest(_Data):
    """A conversation and what is expected of the answer, as a model's function gets it."""

    __slots__ = (
        "messages",
        "tools",
        "tool_choice",
        "output",
        "temperature",
        "max_output_tokens",
        "top_p",
        "stop",
        "seed",
        "reasoning",
        "parallel_tool_calls",
        "keep_prompt",
    )

    messages: list[Message]
    tools: list[dict[str, Any]]
    """Tools that the model may ask for: `name`, `description` and `parameters`."""
    tool_choice: Any
    output: dict[str, Any]
    """`{"type": "text"}`, or `{"type": "json", "name": …, "schema": …}`."""
    temperature: float | None
    max_output_tokens: int | None
    top_p: float | None
    stop: list[str]
    """Texts before which the answer ends."""
    seed: int | None
    reasoning: dict[str, Any] | None
    """`{"effort": "low"}` or `{"budget": 2048}`."""
    parallel_tool_calls: bool | None
    keep_prompt: Literal["minutes", "hours"] | None

    def __init__(self, **fields: Any) -> None:
        fields["messages"] = [Message(each["role"], each["parts"]) for each in fields["messages"]]
        # What was not asked for is left out.
        fields.setdefault("stop", [])
        for name in self.__slots__:
            setattr(self, name, fields.get(name))


class Report:
    """What the teams of an orchestrator found: the output of a run of a pack, for people."""

    __slots__ = ("data",)

    def __init__(self, output: Mapping[str, Any] | Outcome[Any]) -> None:
        self.data: Mapping[str, Any] = output.output if isinstance(output, Outcome) else output

    def to_markdown(self) -> str:
        """The report as Markdown: a section a team, every claim with what it rests on."""
        from . import _raptorflow

        return _raptorflow.report_markdown(self.data)
