"""The upkeep of what is stored: pruning and removing runs, and tenants and stores as files."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any, Awaitable

import pytest

import raptorflow as rf


def opened() -> rf.Engine:
    engine = rf.Engine()
    engine.register(rf.agent("it")(lambda input: input))
    return engine


async def ids(engine: rf.Engine) -> list[str]:
    return [run.run_id for run in await engine.runs()]


async def refused(work: Awaitable[Any], kind: type[rf.RaptorflowError]) -> None:
    with pytest.raises(kind):
        await work


def test_ended_runs_go_by_a_policy_which_must_have_a_condition() -> None:
    async def main() -> None:
        engine = opened()
        for word in ("one", "two", "three"):
            await engine.run("it", word)
        last = (await ids(engine))[-1]
        assert await engine.prune(max_age=timedelta(minutes=1)) == rf.Pruned(0, 3, 0)
        assert await engine.prune(keep_last=1) == rf.Pruned(2, 1, 0)
        assert await ids(engine) == [last]
        with pytest.raises(rf.InvalidInputError):
            await engine.prune()
        with pytest.raises(rf.InvalidInputError) as raised:
            await engine.prune(max_age=-1)
        assert raised.value.context["field"] == "max_age"

    asyncio.run(main())


def test_a_run_is_removed_by_its_id() -> None:
    async def main() -> None:
        engine = opened()
        run = (await engine.run("it", "one")).run_id
        await engine.remove(run)
        assert await ids(engine) == []
        await refused(engine.remove(run), rf.NotFoundError)
        await refused(engine.state(run), rf.NotFoundError)

    asyncio.run(main())


def test_a_tenant_is_exported_imported_as_another_and_erased(tmp_path: Path) -> None:
    async def main() -> None:
        engine, other = opened(), opened()
        run = (await engine.run("it", "one", tenant="acme")).run_id
        assert await ids(engine) == []
        written = await engine.export_tenant("acme", tmp_path / "acme.jsonl")
        assert (written.tenants, written.streams, len(written.digest)) == (1, 1, 64)
        assert await other.import_tenant("acme-2", str(tmp_path / "acme.jsonl")) == written
        await refused(other.import_tenant("acme-2", tmp_path / "acme.jsonl"), rf.ConflictError)
        moved = other.for_tenant("acme-2")
        assert await ids(moved) == [run]
        assert (await moved.resume(run)).output == "one"
        assert (await other.erase_tenant("acme-2")).streams == 1
        assert await ids(moved) == []
        with pytest.raises(rf.InvalidInputError):
            engine.for_tenant("")
        with pytest.raises(rf.InvalidInputError):
            await engine.export_tenant("", tmp_path / "none.jsonl")

    asyncio.run(main())


def test_a_store_is_restored_from_its_snapshot_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        engine, other = opened(), opened()
        run = (await engine.run("it", "one")).run_id
        await engine.run("it", "two", tenant="acme")
        whole, cut = tmp_path / "all.jsonl", tmp_path / "cut.jsonl"
        written = await engine.snapshot(whole)
        assert written.tenants == 2
        assert (await other.restore(whole)).digest == written.digest
        assert (await other.resume(run)).output == "one"
        await refused(other.restore(whole), rf.ConflictError)
        cut.write_bytes(whole.read_bytes()[:-20])
        await refused(opened().restore(cut), rf.CorruptError)
        await refused(opened().restore(tmp_path / "nowhere.jsonl"), rf.NotFoundError)

    asyncio.run(main())
