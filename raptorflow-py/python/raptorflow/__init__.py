"""Agents, orchestration, a journal and retrieval in one embeddable engine.

    import raptorflow as rf

    engine = rf.Engine(default_model="offline:extractive")
    engine.register(rf.Agent("clerk", instructions="Answer briefly."))
    outcome = await engine.run("clerk", "What is a journal?")
"""

from . import embedders, testing
from ._agent import (
    Agent,
    Capability,
    Compaction,
    FunctionAgent,
    Handoff,
    Limits,
    ModelSettings,
    Retrieval,
    agent,
)
from ._approval import PendingApproval
from ._ask import AnswerPart, AnswerStream
from ._data import (
    Archive,
    ChatRequest,
    Citation,
    CitedContext,
    Document,
    Entry,
    Erased,
    Hit,
    IngestReport,
    Message,
    Money,
    Outcome,
    Passage,
    Pruned,
    Report,
    RunPage,
    RunSummary,
    Usage,
)
from ._economics import Amount, Anomaly, Balance, Cap, Expected, Prediction, UsageReport, UsageSum
from ._engine import Engine
from ._events import EventBus, Subscription
from ._hook import Hook, Verdict
from ._pack import Pack
from ._pattern import (
    Pattern,
    debate,
    expert_panel,
    map_reduce,
    parallel,
    reflection,
    sequential,
    verification,
)
from ._rag import KnowledgeBase, Rerank, load_folder
from ._raptorflow import Context, Event, text_tokens
from ._run import Run, Stream
from ._skill import SkillRegistry
from ._tool import Tool, tool
from ._workflow import Workflow
from .errors import (
    AlreadyExistsError,
    BudgetExceededError,
    CallbackError,
    CancelledError,
    ConflictError,
    CorruptError,
    InternalError,
    InvalidInputError,
    InvalidOutputError,
    LimitExceededError,
    NotFoundError,
    PermissionDeniedError,
    RaptorflowError,
    RateLimitedError,
    TimeoutError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedError,
)

__all__ = [
    "Agent",
    "AlreadyExistsError",
    "Amount",
    "Anomaly",
    "AnswerPart",
    "AnswerStream",
    "Archive",
    "Balance",
    "BudgetExceededError",
    "CallbackError",
    "CancelledError",
    "Cap",
    "Capability",
    "ChatRequest",
    "Citation",
    "CitedContext",
    "Compaction",
    "ConflictError",
    "Context",
    "CorruptError",
    "Document",
    "Engine",
    "Entry",
    "Erased",
    "Event",
    "EventBus",
    "Expected",
    "FunctionAgent",
    "Handoff",
    "Hit",
    "Hook",
    "IngestReport",
    "InternalError",
    "InvalidInputError",
    "InvalidOutputError",
    "KnowledgeBase",
    "LimitExceededError",
    "Limits",
    "Message",
    "ModelSettings",
    "Money",
    "NotFoundError",
    "Outcome",
    "Pack",
    "Passage",
    "Pattern",
    "PendingApproval",
    "PermissionDeniedError",
    "Prediction",
    "Pruned",
    "RaptorflowError",
    "RateLimitedError",
    "Report",
    "Rerank",
    "Retrieval",
    "Run",
    "RunPage",
    "RunSummary",
    "SkillRegistry",
    "Stream",
    "Subscription",
    "TimeoutError",
    "Tool",
    "UnauthenticatedError",
    "UnavailableError",
    "UnsupportedError",
    "Usage",
    "UsageReport",
    "UsageSum",
    "Verdict",
    "Workflow",
    "agent",
    "debate",
    "embedders",
    "expert_panel",
    "load_folder",
    "map_reduce",
    "parallel",
    "reflection",
    "sequential",
    "testing",
    "text_tokens",
    "tool",
    "verification",
]
