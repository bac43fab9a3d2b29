"""Commands and answers over one pair of queues: sending, waiting, and the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from labwire.errors import DeadlineError, LabwireError, PeerGoneError, ProtocolError, QueueFullError
from labwire.instruments.exchange.calls import Answer, Call, closed_bell, ring
from labwire.instruments.exchange.ledger import Hooks
from labwire.instruments.exchange.receiver import DEATH_GRACE_S, Receiver
from labwire.instruments.queues.contract import DEPTH, SEND_TIMEOUT_S, QueuePair
from labwire.instruments.status import Counts
from labwire.wire.instrument_message import CommandResponse, Profile, decode_message

_LAST_LOOKS = 3  # a queue may say once that it was woken, and once that its peer is gone, before it gives its last

_log = logging.getLogger(__name__)
_traffic = logging.getLogger("labwire.instruments.traffic")


class Exchange(Receiver):
    """Both queues of one worker incarnation, with all calls that wait for an answer.

    Args:
        instrument: Its name.
        pair: Its queues, of this incarnation alone.
        profile: Layout of the messages.
        extras: The worker is our own: it may send batches, blocks and compressed payloads.
        counts: Where to count.
        hooks: Whom to tell.
        log_traffic: Log every message (instrument-ipc, "Debugging": INSTRUMENT_IPC_DEBUG).
    """

    def __init__(
        self,
        instrument: str,
        pair: QueuePair,
        profile: Profile,
        *,
        extras: bool,
        counts: Counts,
        hooks: Hooks,
        log_traffic: bool = False,
    ) -> None:
        super().__init__(instrument, pair, profile, extras=extras, counts=counts, hooks=hooks)
        self._burying = False
        self._send = pair.requests.send
        if log_traffic:
            self._log_traffic()

    def send(self, call: Call, message: bytes, priority: int = 0) -> None:
        """Put a command into the queue; from now on its answer is waited for.

        Raises:
            DeadlineError: The queue stayed full; data ``queue_full``.
            PeerGoneError: The worker has died.
        """
        try:
            self.register(call)
            self.put(message, priority, call.deadline_s - call.sent_s)
        except LabwireError:
            self.ledger.pop(call.number)
            raise
        except BaseException:  # Ctrl-C: it may have been sent
            self.ledger.abandon(call)
            raise
        if call.unattended and not self._leader:
            ring(self.standby_bell)

    def send_batch(self, calls: Sequence[Call], message: bytes, priority: int) -> None:
        """Put several commands into the queue as one message.

        Raises:
            DeadlineError: The queue stayed full; data ``queue_full``.
            PeerGoneError: The worker has died.
        """
        try:
            for call in calls:
                self.register(call)
            self.put(message, priority, calls[0].deadline_s - calls[0].sent_s)
        except LabwireError:
            for call in calls:
                self.ledger.pop(call.number)
            raise
        except BaseException:
            for call in calls:
                self.ledger.abandon(call)
            raise

    def register(self, call: Call) -> None:
        """Wait for the answer of a command that is about to be sent.

        Raises:
            PeerGoneError: The worker has died.
        """
        call.sent_s = time.monotonic()
        self.ledger.pending[call.number] = call
        if call.unattended:
            self.ledger.unattended[call.number] = call
            if call.deadline_s < self.next_deadline_s:
                self.next_deadline_s = call.deadline_s
                self.pair.responses.wake()  # who receives there would look too late
        if self.death is not None:  # only now: whoever buries first sets it, then looks at what is pending
            raise self.died()

    def put(self, message: bytes, priority: int, timeout_s: float = SEND_TIMEOUT_S) -> None:
        """Put a message into the queue, waiting at most 1 s for room (instrument-ipc, "Queue Timeout").

        Raises:
            DeadlineError: The queue stayed full; data ``queue_full``.
            PeerGoneError: The worker has died.
        """
        try:
            self._send(message, timeout_s if timeout_s < SEND_TIMEOUT_S else SEND_TIMEOUT_S, priority)  # noqa: FURB136 (faster)
        except QueueFullError as error:
            if self.death is not None:
                raise self.died() from error
            waiting = len(self.ledger.pending)
            self._hooks.report("queue_full", {"depth": DEPTH, "waiting": waiting})
            raise DeadlineError(
                f"{self.instrument}: the request queue stayed full ({error}); its worker is stuck or slow",
                instrument=self.instrument,
                queue_full=True,
                waiting=waiting,
            ) from error
        except PeerGoneError as error:
            self.lose(str(error))
            self.buried.wait(DEATH_GRACE_S)
            raise self.died() from error

    def wait(self, call: Call) -> CommandResponse:
        """Wait for the answer of a call, receiving for others meanwhile if nobody else does.

        Raises:
            DeadlineError: None came in time; one that comes later is dropped.
            PeerGoneError: The worker has died.
            ProtocolError: The worker answered with garbage.
        """
        try:
            if call.answer is None:
                self.attend(call)
        except BaseException:
            if not self.ledger.abandon(call):
                self.forget_answer(call)
            raise
        answer = call.answer or self._give_up(call)
        if isinstance(answer, CommandResponse):
            return answer
        raise answer

    def forget(self, response: CommandResponse) -> None:
        """Free what a response holds that nobody will look at."""
        self._hooks.release_waveform(response)

    def forget_answer(self, call: Call) -> None:
        """Free what the answer of a call holds that nobody will look at."""
        if isinstance(call.answer, CommandResponse):
            self.forget(call.answer)

    def _give_up(self, call: Call) -> Answer:
        """Return the error of a call without an answer, or the answer that has come after all."""
        if self.death is not None or self._lost:
            if self.ledger.abandon(call):
                return self.died()
        elif (error := self.ledger.time_out(call)) is not None:
            return error
        call.wake = closed_bell()  # somebody has its answer in hand
        if call.answer is None:
            call.wake.acquire(timeout=DEATH_GRACE_S)
        return call.answer or self.died()

    # --- the end

    def die(self, why: str) -> None:
        """Note that the worker is dead: no call waits any longer. From any thread; `bury` must follow."""
        self.death = why
        self.learned.set()
        self.pair.responses.wake()
        ring(self.standby_bell)

    def bury(self) -> int:
        """Take what the worker answered before it died, fail everything else; return how many calls failed.

        Threads that wait are told at once, futures by `deliver_deferred`.
        """
        self._burying = True
        self.ledger.deferred = []
        looks = _LAST_LOOKS
        try:
            for _ in range(2 * DEPTH):
                looks -= not self.receive(0)
                if not looks:
                    break
        except Exception:  # read to its end; or what lies in a dead worker's queue is of no use
            _log.debug("%s: the end of a dead worker's queue", self.instrument, exc_info=True)
        return self.ledger.fail(tuple(self.ledger.pending), self.died)

    def deliver_deferred(self) -> None:
        """Give the futures of a dead worker their answers and errors; what that sets off may call instruments again."""
        for call, answer in self.ledger.deferred or ():
            call.deliver(answer)

    def fail_callers(self) -> None:
        """Fail the calls that threads wait for, unless `bury` is at it; those of futures may run somebody's code."""
        if self._burying:
            return
        pending = tuple(self.ledger.pending.items())
        self.ledger.fail((number for number, call in pending if not call.unattended), self.died)

    def _log_traffic(self) -> None:
        send, receive = self._send, self._receive

        def logged_send(message: bytes, timeout_s: float, priority: int = 0) -> None:
            send(message, timeout_s, priority)
            _traffic.info("%s < %s", self.instrument, describe(message, self.profile))

        def logged_receive(timeout_s: float) -> bytes | None:
            data = receive(timeout_s)
            if data is not None:
                _traffic.info("%s > %s", self.instrument, describe(data, self.profile))
            return data

        self._send, self._receive = logged_send, logged_receive


def describe(data: bytes, profile: Profile) -> str:
    """Return a message as a line of text."""
    try:
        message = decode_message(data, profile)
    except ProtocolError as error:
        return f"garbage: {error}"
    return f"{message.type.value} id={message.id} {message.payload.decode('utf-8', 'backslashreplace')}"
