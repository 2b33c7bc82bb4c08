"""Calls of tools that wait for a person."""

from __future__ import annotations

from typing import Any

from . import _raptorflow
from ._data import _Data
from ._run import current_bridge


class PendingApproval(_Data):
    """A call of a tool that waits for approval."""

    __slots__ = ("run", "id", "agent", "tool", "arguments", "digest", "since")

    run: str
    """The run that waits."""
    id: str
    """What the call is known by in the run."""
    agent: str
    """The agent or the workflow that wants the call."""
    tool: str
    arguments: dict[str, Any]
    """Exactly what the tool is called with."""
    digest: str
    """The digest of all of this: an approval names it, so that nothing else is approved."""
    since: str
    """Since when it waits, in RFC 3339."""

    def __init__(
        self, run: str, id: str, agent: str, tool: str, arguments: dict[str, Any], digest: str, since: str
    ) -> None:
        self.run = run
        self.id = id
        self.agent = agent
        self.tool = tool
        self.arguments = arguments
        self.digest = digest
        self.since = since


class Approvals:
    """What an engine says of calls that wait, and what it is told of them."""

    _native: _raptorflow.Engine

    async def pending_approvals(self, run_id: str | None = None) -> list[PendingApproval]:
        """The calls of tools for which a run waits, or all runs of the tenant that have not ended, oldest first.

        Raises:
            NotFoundError: No such run.
        """
        return [PendingApproval(**each) for each in await self._native.approvals(current_bridge(), run_id)]

    async def approve(self, call: PendingApproval, *, by: str | None = None) -> None:
        """Approves a call, of exactly this tool with exactly these arguments.

        A run that is not at work now finds the answer when it is resumed.

        Args:
            call: What `pending_approvals` gave.
            by: Who says it.

        Raises:
            ConflictError: The run has ended, or the call was approved or denied already.
            NotFoundError: The run waits for no such call.
            PermissionDeniedError: The digest is that of another call.
        """
        await self._native.answer_approval(current_bridge(), call.run, call.id, call.digest, True, by, None)

    async def deny(self, call: PendingApproval, *, by: str | None = None, reason: str | None = None) -> None:
        """Denies a call; the model is told, with the reason, and the run goes on without it. It raises as `approve`."""
        await self._native.answer_approval(current_bridge(), call.run, call.id, call.digest, False, by, reason)
