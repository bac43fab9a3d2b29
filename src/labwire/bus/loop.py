"""The loop of an actor: everything that calls its code runs here, on one thread, so users never need a lock."""

from __future__ import annotations

import heapq
import itertools
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import zmq

from labwire.errors import UsageError

Callback: TypeAlias = Callable[[], None]
MAX_POSTED = 10_000


class Timer:
    """A callback that comes back; `cancel` ends it."""

    def __init__(self, callback: Callback, interval_s: float | None) -> None:
        self.callback = callback
        self.interval_s = interval_s
        self.cancelled = False

    def cancel(self) -> None:
        """Do not call again."""
        self.cancelled = True


class _Watched(NamedTuple):
    callback: Callback
    rest_s: float


class Loop:
    """Sockets, file descriptors, timers and callbacks from other threads, served one at a time.

    Args:
        on_fault: Called with each exception that a callback lets out; the loop goes on.
    """

    def __init__(self, on_fault: Callable[[BaseException], None]) -> None:
        self._on_fault = on_fault
        self._poller = zmq.Poller()
        self._watched: dict[Any, _Watched] = {}
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._posted: deque[Callback] = deque()
        self._posted_lock = threading.RLock()  # a signal handler may post while its own thread is posting
        self._wake_read, self._wake_write = os.pipe()
        for fd in (self._wake_read, self._wake_write):
            os.set_blocking(fd, False)
        self._running = self._closed = False
        self.refused_posts = 0
        """Callbacks that other threads posted while `MAX_POSTED` were waiting."""
        self.watch(self._wake_read, self._drain_wake)

    def watch(self, source: zmq.Socket[Any] | int, callback: Callback, *, rest_s: float = 0.0) -> None:
        """Call back when a socket or file descriptor can be read (or has reached its end).

        Args:
            source: What to look at.
            callback: Takes what is there.
            rest_s: After each call the source is left alone for so long: what comes alone is taken at once, a stream in
                bulk, with a wake-up per rest instead of one per message.
        """
        self._poller.register(source, zmq.POLLIN)
        self._watched[source] = _Watched(callback, rest_s)

    def unwatch(self, source: zmq.Socket[Any] | int) -> None:
        """Stop watching."""
        if self._watched.pop(source, None) and source in self._poller:
            self._poller.unregister(source)

    def call_later(self, delay_s: float, callback: Callback) -> Timer:
        """Call back once, after `delay_s` seconds.

        Raises:
            UsageError: The delay is not a finite number.
        """
        return self._add(Timer(callback, None), delay_s)

    def every(self, interval_s: float, callback: Callback) -> Timer:
        """Call back every `interval_s` seconds; a turn that comes late does not shift the later ones.

        Raises:
            UsageError: The interval is not a finite number above 0.
        """
        if not interval_s > 0:
            raise UsageError(f"an interval must be above 0 seconds, not {interval_s!r}")
        return self._add(Timer(callback, interval_s), interval_s)

    def post(self, callback: Callback) -> bool:
        """Have the loop call back soon; safe from any thread.

        False, and counted, if too many are waiting or the loop is closed.
        """
        with self._posted_lock:
            if self._closed or len(self._posted) >= MAX_POSTED:
                self.refused_posts += 1
                return False
            self._posted.append(callback)
            try:
                os.write(self._wake_write, b"\0")  # under the lock: the number of a closed pipe soon means another file
            except BlockingIOError:
                pass  # enough wake-ups are in the pipe
        return True

    @property
    def closed(self) -> bool:
        """Whether `close` was called: nothing that is posted will run."""
        return self._closed

    def run(self) -> None:
        """Serve until `stop`."""
        self._running = True
        while self._running:
            self.run_once(math.inf)

    def run_once(self, limit_s: float) -> None:
        """Serve what is ready, waiting for at most `limit_s` seconds."""
        ready = [(source, self._watched.get(source)) for source, _ in self._poller.poll(self._timeout_ms(limit_s))]
        for source, watched in ready:
            # A descriptor that a callback has closed may by now be the number of another one, which is not ready.
            if watched and self._watched.get(source) is watched:
                self._guarded(watched.callback)
                if watched.rest_s:
                    self._rest(source, watched)
        self.run_posted()
        self._run_timers()

    def run_posted(self) -> None:
        """Call back what has been posted until now, and nothing else."""
        for _ in range(len(self._posted)):
            self._guarded(self._posted.popleft())

    def stop(self) -> None:
        """End `run` after the present turn. From another thread use ``post(loop.stop)``."""
        self._running = False

    def close(self) -> None:
        """Free the wake-up pipe; what other threads post from now on is refused. Safe to call twice."""
        with self._posted_lock:
            if self._closed:
                return
            self._closed = True
            self.unwatch(self._wake_read)
            os.close(self._wake_read)
            os.close(self._wake_write)

    def _rest(self, source: Any, watched: _Watched) -> None:
        def look_again() -> None:
            if self._watched.get(source) is watched:
                self._poller.register(source, zmq.POLLIN)

        if self._watched.get(source) is watched:
            self._poller.unregister(source)
            self.call_later(watched.rest_s, look_again)

    def _add(self, timer: Timer, delay_s: float) -> Timer:
        if not math.isfinite(delay_s):
            raise UsageError(f"a delay must be a finite number of seconds, not {delay_s!r}")
        heapq.heappush(self._heap, (time.monotonic() + delay_s, next(self._order), timer))
        return timer

    def _timeout_ms(self, limit_s: float) -> int | None:
        if self._posted:
            return 0
        due_s = self._heap[0][0] - time.monotonic() if self._heap else math.inf
        wait_s = min(due_s, limit_s)
        return None if math.isinf(wait_s) else max(0, math.ceil(wait_s * 1000))

    def _run_timers(self) -> None:
        now = time.monotonic()
        while self._heap and self._heap[0][0] <= now:
            due_s, _, timer = heapq.heappop(self._heap)
            if timer.cancelled:
                continue
            self._guarded(timer.callback)
            if timer.interval_s is not None and not timer.cancelled:
                # Skip turns that were missed altogether, keep the rhythm.
                missed = max(0, math.floor((now - due_s) / timer.interval_s))
                next_s = due_s + (missed + 1) * timer.interval_s
                heapq.heappush(self._heap, (next_s, next(self._order), timer))

    def _drain_wake(self) -> None:
        try:
            while os.read(self._wake_read, 4096):
                pass
        except BlockingIOError:
            pass

    def _guarded(self, callback: Callback) -> None:
        try:
            callback()
        except zmq.ContextTerminated:
            self.stop()
        except Exception as error:  # a mistake in one callback must not end the others
            self._on_fault(error)
