"""Long work with instruments: lists of commands, continuous acquisitions."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from labwire.actors.instrument_replies import result_of
from labwire.errors import TooLargeError, UsageError
from labwire.instruments.calling.acquisition_job import Acquisition, AcquisitionJob, BlockMade
from labwire.instruments.calling.command_list import CommandList, Done
from labwire.instruments.calling.dispatch import Dispatcher, Outcome
from labwire.instruments.recording import is_array
from labwire.instruments.server import InstrumentServer
from labwire.operations.instruments import (
    MAX_COMMANDS,
    Block,
    CommandRequest,
    CommandResult,
    ResultList,
    RunProgress,
    array_of,
)
from labwire.operations.job import LocalJob
from labwire.wire.instrument_message import Command, CommandResponse

MAX_RESULT_BYTES = 64 << 20
"""Most bytes of arrays in the results of one list of commands; the RPC port takes twice that."""
CREDITS = 8
"""Blocks that an instrument makes ahead."""

OnBlock = Callable[[Outcome, bool, Callable[[], bool]], None]


class InstrumentJobs:
    """Makes and keeps the long operations.

    Args:
        server: Of the instruments.
        dispatcher: Sends commands.
        on_block: Called with a block, whether it goes on the bus, and whether its acquisition was cancelled meanwhile.
        rig_time_at: Gives rig time for a moment on the monotonic clock.
    """

    def __init__(
        self,
        server: InstrumentServer,
        dispatcher: Dispatcher,
        on_block: OnBlock,
        rig_time_at: Callable[[float], float],
    ) -> None:
        self._server, self._dispatcher = server, dispatcher
        self._on_block, self._rig_time_at = on_block, rig_time_at
        self._numbers = itertools.count(1)
        self._acquisitions: dict[int, tuple[str, AcquisitionJob]] = {}
        self._lock = threading.Lock()

    def run(self, commands: list[CommandRequest], *, stop_on_error: bool) -> LocalJob[RunProgress, ResultList]:
        """Return the work of running a list of commands.

        Raises:
            UsageError: There are none, or too many.
        """
        if not 0 < len(commands) <= MAX_COMMANDS:
            raise UsageError(f"{len(commands)} commands: a list has 1 to {MAX_COMMANDS}", count=len(commands))
        listed = CommandList(commands, self._dispatcher.submit, stop_on_error=stop_on_error)

        def work(report: Callable[[RunProgress], None], cancelled: Callable[[], bool]) -> ResultList:
            done = listed.run(report, cancelled)
            size = sum(one.value.nbytes for _, one in done if isinstance(one, Outcome) and is_array(one.value))
            if size > MAX_RESULT_BYTES:
                raise TooLargeError(
                    f"all commands ran, but the arrays that they returned have {size} bytes, and one reply holds "
                    f"{MAX_RESULT_BYTES}; they are on the bus, and in a recording",
                    size_bytes=size,
                    limit_bytes=MAX_RESULT_BYTES,
                )
            return [self._result(commands[number], one) for number, one in done]

        return LocalJob(work)

    def _result(self, request: CommandRequest, done: Done) -> CommandResult:
        if isinstance(done, Outcome):
            return result_of(done, self._rig_time_at)
        return CommandResult(
            command_id="",
            instrument=request.name,
            verb=request.verb,
            error=done.message,
            error_type=type(done).__name__,
        )

    def acquire(self, request: CommandRequest, *, window: int, publish: bool) -> AcquisitionJob:
        """Return the work of a continuous acquisition."""
        number = next(self._numbers)

        def begin() -> AbstractContextManager[Acquisition]:
            return self._server.acquire(
                request.name,
                request.verb,
                request.params,
                credits=CREDITS,
                timeout_ms=request.timeout_ms,
            )

        def on_block(block: BlockMade, cancelled: Callable[[], bool]) -> None:
            self._on_block(_outcome(request, block), publish, cancelled)

        def make_report(block: BlockMade) -> Block:
            array = array_of(block.value) if is_array(block.value) else None
            return Block(
                acquisition=number,
                command_id=block.command_id,
                instrument=request.name,
                verb=request.verb,
                number=block.number,
                value=None if array else block.value,
                array=array,
                timestamp=self._rig_time_at(block.made_s),
            )

        def on_end() -> None:
            with self._lock:
                self._acquisitions.pop(number, None)

        job = AcquisitionJob(begin, window=window, on_block=on_block, make_report=make_report, on_end=on_end)
        with self._lock:
            self._acquisitions[number] = request.name, job
        return job

    def grant(self, acquisition: int, blocks: int) -> None:
        """Pass on that a caller has room; an acquisition that has ended needs none."""
        with self._lock:
            found = self._acquisitions.get(acquisition)
        if found is not None:
            found[1].grant(blocks)

    def running(self, name: str) -> int:
        """Return how many acquisitions of an instrument run."""
        with self._lock:
            return sum(of == name for of, _ in self._acquisitions.values())

    def cancel(self, name: str) -> None:
        """End the acquisitions of an instrument."""
        with self._lock:
            jobs = [job for of, job in self._acquisitions.values() if of == name]
        for job in jobs:
            job.cancel()

    def close(self) -> None:
        """End all acquisitions."""
        with self._lock:
            jobs = [job for _, job in self._acquisitions.values()]
        for job in jobs:
            job.cancel()


def _outcome(request: CommandRequest, block: BlockMade) -> Outcome:
    """Return a block in the form of a result: that is how it goes on the bus and into a recording."""
    command = Command(id=block.command_id, instrument_name=request.name, verb=request.verb, params=request.params)
    response = CommandResponse(
        command_id=block.command_id, instrument_name=request.name, success=True, return_value=block.value
    )
    return Outcome(request, command, response, None, block.made_s, 0.0, block.number)
