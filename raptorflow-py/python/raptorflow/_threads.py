"""Threads for plain functions.

They are daemons of Python's own: a function that does not end keeps neither a run nor the process from ending, and
the interpreter may end a thread of its own at any time, which it may not do with one of the engine's.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, Callable

_MOST = 256
_IDLE_SECONDS = 30.0

Call = tuple[Any, ...]
Done = Callable[[Any, BaseException | None], None]


class _Pool:
    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._jobs: deque[tuple[Call, Done]] = deque()
        self._idle = 0
        self._threads = 0

    def submit(self, call: Call, done: Done) -> None:
        with self._changed:
            self._jobs.append((call, done))
            if self._idle >= len(self._jobs):
                self._changed.notify()
                return
            if self._threads >= _MOST:
                return
            self._threads += 1
        threading.Thread(target=self._work, name="raptorflow.function", daemon=True).start()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            (function, *arguments), done = job
            try:
                value = function(*arguments)
            except BaseException as error:
                done(None, error)
            else:
                done(value, None)
            # What a function held is not kept until the next one comes.
            del job, function, arguments, done
            value = None

    def _next(self) -> tuple[Call, Done] | None:
        with self._changed:
            while not self._jobs:
                self._idle += 1
                told = self._changed.wait(_IDLE_SECONDS)
                self._idle -= 1
                if not told and not self._jobs:
                    self._threads -= 1
                    return None
            return self._jobs.popleft()


submit = _Pool().submit
