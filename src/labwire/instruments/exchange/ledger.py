"""Which commands wait for an answer, which are late, and whether the worker is stuck: the books of one exchange."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias

from msgspec import UNSET

from labwire.errors import DeadlineError, LabwireError, ProtocolError
from labwire.instruments.exchange.calls import Answer, Call
from labwire.instruments.status import Counts
from labwire.wire.instrument_extras import decode_responses, unpack_payload
from labwire.wire.instrument_message import (
    Command,
    CommandResponse,
    Message,
    WorkerError,
    counter_of,
    decode_response,
)

MAX_LATE = 10_000
"""Commands past their timeout whose answers are still recognised as late."""

Report: TypeAlias = Callable[[str, dict[str, Any]], None]
OnResult: TypeAlias = Callable[[Command, CommandResponse, float, float], None]


class Hooks(NamedTuple):
    """What an exchange tells to whom."""

    report: Report
    """An event for people: kind and data."""
    on_lost: Callable[[str, bool], None]
    """The worker's end of the queue is gone, or (True) it has said that it is about to die; why. At least once."""
    release_waveform: Callable[[CommandResponse], None]
    """Nobody will look at this response: free the memory of its array."""
    on_result: OnResult | None = None


class Ledger:
    """All commands of one worker incarnation that are not done with.

    Whoever receives, alone, calls what begins with ``take_``; the rest is for any thread.

    Args:
        instrument: Its name.
        extras: The worker is our own: it may send batches, blocks and compressed payloads.
        counts: Where to count.
        hooks: Whom to tell.
    """

    def __init__(self, instrument: str, *, extras: bool, counts: Counts, hooks: Hooks) -> None:
        self.instrument, self.counts = instrument, counts
        self.pending: dict[int, Call] = {}
        self.unattended: dict[int, Call] = {}
        """Those of `pending` that nobody's thread waits for."""
        self.late: dict[int, float] = {}
        """Deadlines of those that timed out and were not answered since."""
        self.answered = 0
        """Commands answered, not counting our own."""
        self.stuck_since_s: float | None = None
        self.deferred: list[tuple[Call, Answer]] | None = None
        """If not None: answers of futures, kept here because what they set off may wait for the next worker."""
        self._last_answered = 0
        self._lock = threading.Lock()  # for what more than one thread counts
        self._extras, self._hooks = extras, hooks

    def pop(self, number: int) -> Call | None:
        """Stop waiting for an answer; None if it has come, or was given up. One thread gets the call, others None."""
        call = self.pending.pop(number, None)
        if call is not None and call.unattended:
            self.unattended.pop(number, None)
        return call

    def abandon(self, call: Call) -> bool:
        """Give a call up: an answer that still comes is late. False if it has its answer already."""
        self.late[call.number] = call.deadline_s  # first, so that the answer is never taken for garbage
        if self.pop(call.number) is None:
            self.late.pop(call.number, None)
            return False
        if len(self.late) > MAX_LATE:
            self.late.pop(next(iter(self.late)), None)
        return True

    def time_out(self, call: Call) -> DeadlineError | None:
        """Give a call up that is past its deadline; None if it has its answer after all."""
        if not self.abandon(call):
            return None
        with self._lock:
            self.counts.timed_out += 1
        self.check_stuck()
        command = call.command
        return DeadlineError(
            f"{self.instrument} {command.verb} was not answered within {command.timeout_ms} ms; "
            "the worker goes on with it, and its answer will be dropped",
            instrument=self.instrument,
            verb=command.verb,
            timeout_ms=command.timeout_ms,
            command_id=command.id,
        )

    def fail(self, numbers: Iterable[int], error: Callable[[], LabwireError]) -> int:
        """Fail calls, each with an error of its own; return how many still waited."""
        failed = 0
        for number in numbers:
            if (call := self.pop(number)) is not None:
                failed += 1
                self._deliver(call, error())
        with self._lock:
            self.counts.failed += failed
        return failed

    # --- what was received

    def take_response(self, message: Message) -> None:
        """Give a RESPONSE to whom it belongs.

        Raises:
            ProtocolError: It is garbage, or nobody waits for it. A call that it pretends to answer has failed.
        """
        payload = message.payload
        try:
            if payload.startswith(b"{") or not self._extras:
                self._match(message.id, decode_response(payload))
            else:
                for response in decode_responses(unpack_payload(payload)):
                    self._match(message.id, response)
        except ProtocolError as error:
            if (call := self.pop(message.id)) is not None:  # it was answered, but nobody will ever know what
                self.counts.failed += 1
                self._deliver(call, error)
            raise

    def take_error(self, number: int, error: WorkerError) -> None:
        """Fail the command that an ERROR names.

        Raises:
            ProtocolError: It names none that waits.
        """
        call = self.pop(number)
        if call is None:
            self.late.pop(number, None)
            raise ProtocolError(f"its worker reports: {error.error_message}")
        self._count(call, success=False)
        text = f"{self.instrument} {call.command.verb}: its worker reports: {error.error_message}"
        self._deliver(call, ProtocolError(text, instrument=self.instrument, error_code=error.error_code))

    def _match(self, number: int, response: CommandResponse) -> None:
        call = self.pending.get(number)
        if self._extras and (call is None or response.command_id != call.command.id):
            number = counter_of(response.command_id) or 0  # the header holds the first id of a batch of commands
            call = self.pending.get(number)
        if call is None:
            self._take_late(number, response)
            return
        if response.command_id != call.command.id:
            raise ProtocolError(f"a RESPONSE with id {number} says that it answers {response.command_id[:80]!r}")
        if response.block is not UNSET:
            if not (self._extras and call.deliver_block(response)):
                raise ProtocolError(f"{call.command.verb} was answered with a block of a continuous acquisition")
            return
        if self.pop(number) is None:
            self._take_late(number, response)
            return
        self._count(call, success=response.success)
        if self._hooks.on_result is not None and not call.command.verb.startswith("@"):
            self._hooks.on_result(call.command, response, call.sent_s, time.monotonic())
        self._deliver(call, response)

    def _deliver(self, call: Call, answer: Answer) -> None:
        if self.deferred is not None and call.unattended:
            self.deferred.append((call, answer))
        else:
            call.deliver(answer)

    def _count(self, call: Call, *, success: bool) -> None:
        self._last_answered = call.number
        if self.stuck_since_s is not None:
            self._unstick()
        if call.command.verb.startswith("@"):
            return
        self.answered += 1
        if success:
            self.counts.ok += 1
        else:
            self.counts.failed += 1

    def _take_late(self, number: int, response: CommandResponse) -> None:
        deadline_s = self.late.get(number)
        if self._extras:
            self._hooks.release_waveform(response)
        if deadline_s is None:
            raise ProtocolError(
                f"a RESPONSE with id {number} answers {response.command_id[:80]!r}: nobody waits for it"
            )
        if response.block is UNSET:
            self.late.pop(number, None)
        self._last_answered = max(number, self._last_answered)
        self.counts.late += 1
        late_s = max(0.0, time.monotonic() - deadline_s)
        self._hooks.report("late_response", {"command_id": response.command_id, "late_s": late_s})
        if self.stuck_since_s is not None:
            self._unstick()

    # --- stuck

    def check_stuck(self) -> None:
        """Mark the worker as stuck if the oldest command that it has not answered is past its timeout."""
        if self.stuck_since_s is not None or not self.late:
            return
        late = [number for number in tuple(self.late) if number > self._last_answered]
        if late and not any(number < late[0] for number in tuple(self.pending)):
            self.stuck_since_s = self.late.get(late[0])
            self._hooks.report("stuck", {"command_id": f"{self.instrument}-{late[0]}"})

    def _unstick(self) -> None:
        self.stuck_since_s = None
        self._hooks.report("unstuck", {})
