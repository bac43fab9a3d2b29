"""The one thread that watches all workers: exits, what they write to standard error, and what is due.

Nothing that can hang runs here, no user's callback, and no call into a queue but the one that wakes a receiver.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from labwire.errors import StateError

Action: TypeAlias = Callable[[], None]

_log = logging.getLogger(__name__)


class Timer:
    """Something that is due at a moment; see `Supervisor.call_later`."""

    __slots__ = ("action",)

    def __init__(self, action: Action) -> None:
        self.action: Action | None = action

    def cancel(self) -> None:
        """Let it not happen. Safe to call twice, and after it has happened."""
        self.action = None


class Supervisor:
    """A thread that runs what was posted to it, what is due, and what belongs to descriptors that can be read."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._posted: deque[Action] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._closing = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="labwire-instruments", daemon=True)
        self._thread.start()

    def post(self, action: Action) -> None:
        """Run something on the thread, from any thread; nothing happens once it is closed."""
        with self._lock:
            if not self._closing:
                self._posted.append(action)
                os.eventfd_write(self._wake, 1)

    def call_later(self, delay_s: float, action: Action) -> Timer:
        """Run something on the thread after a while. On the thread only."""
        timer = Timer(action)
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._numbers), timer))
        return timer

    def watch(self, fd: int, action: Action) -> None:
        """Run something whenever a descriptor can be read. On the thread only."""
        self._selector.register(fd, selectors.EVENT_READ, action)

    def unwatch(self, fd: int) -> None:
        """Leave a descriptor alone. On the thread only; safe to call twice."""
        try:
            self._selector.unregister(fd)
        except (KeyError, ValueError):
            pass

    def close(self) -> None:
        """End the thread; what was posted before still runs. Safe to call twice.

        Raises:
            StateError: Called on the thread itself.
        """
        if threading.current_thread() is self._thread:
            raise StateError("the thread that watches the workers cannot end itself")
        with self._lock:
            if self._closing:
                return
            self._closing = True
            os.eventfd_write(self._wake, 1)
        self._thread.join()
        self._selector.close()
        os.close(self._wake)

    def _run(self) -> None:
        while not (self._closing and not self._posted):
            for key, _ in self._selector.select(self._wait_s()):
                if key.data is None:
                    os.eventfd_read(self._wake)
                elif self._selector.get_map().get(key.fd) is key:  # not left alone, or closed, in this very turn
                    _do(key.data)
            while self._posted:
                _do(self._posted.popleft())
            self._do_what_is_due()

    def _wait_s(self) -> float | None:
        while self._timers and self._timers[0][2].action is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _do_what_is_due(self) -> None:
        now_s = time.monotonic()
        while self._timers and self._timers[0][0] <= now_s:
            _, _, timer = heapq.heappop(self._timers)
            action, timer.action = timer.action, None
            if action is not None:
                _do(action)


class Timers:
    """What is due for one of those that a supervisor watches; cancelled all together. On its thread only."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._timers: list[Timer] = []

    def call_later(self, delay_s: float, action: Action) -> None:
        """Run something after a while."""
        self._timers.append(self._supervisor.call_later(delay_s, action))

    def cancel(self) -> None:
        """Let nothing happen that is still due."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()


def _do(action: Action) -> None:
    try:
        action()
    except Exception:
        _log.exception("a bug: %r failed on the thread that watches the workers", action)
