"""The running asyncio loop's bridge to the engine, and running without a loop."""

from __future__ import annotations

import asyncio
import threading
from contextvars import Context, copy_context
from typing import Any, Callable, Coroutine, Generic, TypeVar, cast
from weakref import WeakKeyDictionary

from . import _raptorflow

T = TypeVar("T")
_LOOK_SECONDS = 0.05
_bridges: WeakKeyDictionary[asyncio.AbstractEventLoop, _raptorflow.Bridge] = WeakKeyDictionary()


def current() -> _raptorflow.Bridge:
    """The bridge of the running loop."""
    running = asyncio.get_running_loop()
    bridge = _bridges.get(running)
    if bridge is None:
        bridge = _bridges[running] = _raptorflow.Bridge(running)
    return bridge


def caller() -> tuple[_raptorflow.Bridge, Context]:
    """The bridge of the running loop, and a copy of the caller's context variables."""
    return current(), copy_context()


def run_sync(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs a coroutine to its end, also where a loop runs already (a notebook): then in a thread beside it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work())
    return _Beside(work).result()


class _Beside(Generic[T]):
    """A coroutine in a loop and a thread of its own; an interrupt cancels it and waits for its end."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._work = work
        self._task: asyncio.Task[T] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._value: T | None = None
        self._error: BaseException | None = None
        self._stopped = False
        variables = copy_context()
        self._thread = threading.Thread(target=variables.run, args=(self._run,), name="raptorflow.run_sync")

    async def _main(self) -> T:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        if self._stopped:
            raise asyncio.CancelledError
        return await self._work()

    def _run(self) -> None:
        try:
            self._value = asyncio.run(self._main())
        except BaseException as error:
            self._error = error

    def result(self) -> T:
        # `asyncio.run` turns an interrupt into a cancellation of its task, which is blocked here; that is looked for.
        outer = asyncio.current_task()
        cancelling = getattr(outer, "cancelling", lambda: 0)
        before = cancelling()
        self._thread.start()
        try:
            while self._thread.is_alive() and cancelling() == before:
                self._thread.join(_LOOK_SECONDS)
        finally:
            if self._thread.is_alive():
                self._cancel()
            self._thread.join()
        if self._error is not None:
            raise self._error
        return cast(T, self._value)

    def _cancel(self) -> None:
        self._stopped = True
        if self._loop is not None and self._task is not None:
            try:
                self._loop.call_soon_threadsafe(self._task.cancel)
            except RuntimeError:
                # It has ended and closed its loop meanwhile.
                pass
