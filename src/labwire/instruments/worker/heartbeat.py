"""The second thread of a worker: beats while the first one executes commands, and notices when the server dies."""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections.abc import Callable

from labwire.errors import PeerGoneError

ORPHAN_LIMIT_S = 5.0
"""How long a worker may take to finish when its server is dead, before it is ended in the middle of what it does."""
UNHEARD_LIMIT_S = 60.0
"""Heartbeats that nobody fetches for so long mean that a server which was there is gone, if nothing else can tell."""
ORPHAN_EXIT_CODE = 3

log = logging.getLogger("labwire.instruments.worker")


class Heartbeat:
    """Beats from a thread of its own; so also during a long command.

    Args:
        beat: Sends one HEARTBEAT; False if there is no room for it.
        interval_s: How often.
        server_was_here: Tells whether the server has ever said anything.
        on_server_gone: Called once, on this thread.
        last_resort: Called before the process is ended because it did not finish in time.
        lifeline_fd: Descriptor whose end of file means that the server is dead; None if there is none.
        parent_pid: The server's process; another parent means that it is dead. None if it is not the server.
    """

    def __init__(
        self,
        beat: Callable[[], bool],
        interval_s: float,
        *,
        server_was_here: Callable[[], bool],
        on_server_gone: Callable[[], None],
        last_resort: Callable[[], None],
        lifeline_fd: int | None = None,
        parent_pid: int | None = None,
    ) -> None:
        self._beat, self._interval_s = beat, interval_s
        self._server_was_here = server_was_here
        self._on_server_gone, self._last_resort = on_server_gone, last_resort
        self._lifeline_fd, self._parent_pid = lifeline_fd, parent_pid
        self._stop_fd = os.eventfd(0, os.EFD_CLOEXEC)
        self._finished = threading.Event()
        self._heard_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin; the first beat has been sent already."""
        self._thread.start()

    def stop(self) -> None:
        """Stop beating: the worker has finished."""
        self._finished.set()
        os.eventfd_write(self._stop_fd, 1)
        self._thread.join()
        os.close(self._stop_fd)

    def _run(self) -> None:
        events = select.poll()
        events.register(self._stop_fd, select.POLLIN)
        if self._lifeline_fd is not None:
            events.register(self._lifeline_fd, select.POLLIN)
        next_s = time.monotonic() + self._interval_s
        while not self._finished.is_set():
            ready = events.poll(max(0.0, next_s - time.monotonic()) * 1000)
            if self._finished.is_set():
                return
            if any(fd == self._lifeline_fd for fd, _ in ready) and self._lifeline_ended():
                self._give_up("its lifeline has ended")
                return
            if time.monotonic() >= next_s:
                next_s = max(next_s + self._interval_s, time.monotonic())
                if why := self._beat_once():
                    self._give_up(why)
                    return

    def _beat_once(self) -> str:
        """Beat; return why the server must be gone, or nothing."""
        if self._parent_pid is not None and os.getppid() != self._parent_pid:
            return f"process {self._parent_pid} is no longer the parent"
        now_s = time.monotonic()
        try:
            if self._beat() or not self._server_was_here():
                self._heard_s = now_s
        except PeerGoneError as error:
            return str(error)
        except Exception:
            log.exception("a heartbeat could not be sent")
        unheard_s = now_s - self._heard_s
        if self._lifeline_fd is not None or unheard_s < max(UNHEARD_LIMIT_S, 3 * self._interval_s):
            return ""
        return f"nobody has fetched a heartbeat for {unheard_s:.0f} s"

    def _lifeline_ended(self) -> bool:
        assert self._lifeline_fd is not None
        try:
            return not os.read(self._lifeline_fd, 4096)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _give_up(self, why: str) -> None:
        log.error("the server is gone (%s): the worker ends", why)
        self._on_server_gone()
        if not self._finished.wait(ORPHAN_LIMIT_S):
            self._last_resort()
            os._exit(ORPHAN_EXIT_CODE)
