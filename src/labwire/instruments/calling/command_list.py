"""Runs a list of commands: one instrument's in their order, several instruments' at the same time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue

from labwire.errors import CancelledError, InternalError, LabwireError
from labwire.instruments.calling.dispatch import Outcome
from labwire.operations.instruments import CommandRequest, RunProgress

WINDOW = 50
"""Commands of one instrument that are on their way at the same time, if none is to be kept back after a failure."""
_REPORT_S = 0.1
_SLICE_S = 0.1

Submit = Callable[[CommandRequest], Future[Outcome]]
Done = Outcome | LabwireError


class CommandList:
    """Commands that are run together.

    Args:
        commands: The commands.
        submit: Sends one without waiting.
        stop_on_error: Send no more after one has failed: each waits for the one before on the same instrument.
    """

    def __init__(self, commands: Sequence[CommandRequest], submit: Submit, *, stop_on_error: bool) -> None:
        self._commands, self._submit, self._stop_on_error = commands, submit, stop_on_error
        self._left: dict[str, deque[int]] = {}
        for number, command in enumerate(commands):
            self._left.setdefault(command.name, deque()).append(number)
        self._finished: SimpleQueue[tuple[int, Done]] = SimpleQueue()
        self._on_their_way = self._failed = 0
        self._results: dict[int, Done] = {}

    def run(self, report: Callable[[RunProgress], None], cancelled: Callable[[], bool]) -> list[tuple[int, Done]]:
        """Run them; return what was sent, by number, with its outcome or the error that kept it from being sent.

        Raises:
            CancelledError: Taken back; what was on its way has been waited for.
        """
        for name in self._left:
            for _ in range(1 if self._stop_on_error else WINDOW):
                self._send_next(name)
        reported_s = 0.0
        while self._on_their_way:
            try:
                number, done = self._finished.get(timeout=_SLICE_S)
            except Empty:
                continue
            if cancelled():
                self._left.clear()
            self._take(number, done)
            if time.monotonic() - reported_s > _REPORT_S:
                reported_s = time.monotonic()
                report(self._progress())
        if cancelled():
            raise CancelledError(f"cancelled after {len(self._results)} of {len(self._commands)} commands")
        report(self._progress())
        return sorted(self._results.items())

    def _send_next(self, name: str) -> None:
        left = self._left.get(name)
        if not left:
            return
        number = left.popleft()
        self._on_their_way += 1
        self._submit(self._commands[number]).add_done_callback(
            lambda future: self._finished.put((number, _result_of(future)))
        )

    def _take(self, number: int, done: Done) -> None:
        self._on_their_way -= 1
        self._results[number] = done
        if isinstance(done, LabwireError) or done.error is not None:
            self._failed += 1
            if self._stop_on_error:
                self._left.clear()
        self._send_next(self._commands[number].name)

    def _progress(self) -> RunProgress:
        return RunProgress("commands", len(self._results), len(self._commands), self._failed)


def _result_of(future: Future[Outcome]) -> Done:
    try:
        return future.result()
    except LabwireError as error:
        return error
    except Exception as error:
        return InternalError(f"{type(error).__name__}: {error}")
