"""Commands and answers over one pair of queues, and who receives for whom.

No thread of its own stands between a caller and the queue: the first caller that waits *leads*, which means it receives
for all; the others *follow*, asleep until the leader has their answer or hands the role on. Where nobody's thread waits
(futures, heartbeats), a standby thread leads (`labwire.instruments.standby`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from labwire.errors import DeadlineError, LabwireError, PeerGoneError, ProtocolError, QueueFullError
from labwire.instruments.calls import Answer, Call, closed_bell, ring
from labwire.instruments.ledger import Hooks, Ledger
from labwire.instruments.queues.contract import DEPTH, SEND_TIMEOUT_S, SLICE_S, QueuePair
from labwire.instruments.status import Counts
from labwire.wire.instrument_message import (
    CommandResponse,
    Message,
    MessageType,
    Profile,
    decode_error,
    decode_message,
)

DEATH_GRACE_S = 2.0
"""How long a caller waits to be told why its worker has died."""
_SHOWN_BYTES = 60
_SOMEBODY = -1
_LAST_LOOKS = 3  # a queue may say once that it was woken, and once that its peer is gone, before it gives its last

_log = logging.getLogger(__name__)
_traffic = logging.getLogger("labwire.instruments.traffic")


class Exchange:
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
        self.instrument, self.pair, self.profile = instrument, pair, profile
        self.ledger = Ledger(instrument, extras=extras, counts=counts, hooks=hooks)
        self.standby_bell = closed_bell()
        self.buried = threading.Event()
        """Set when the worker is dead and every call has its answer or error."""
        self.learned = threading.Event()
        """Set when the worker has told what it can do, or does not tell."""
        self.death: str | None = None
        self.ready = False
        self.last_sign_s: float | None = None
        """When it last sent anything."""
        self.last_look_s = time.monotonic()
        """When its queue was last found empty: silence counts up to here, not up to now."""
        self.next_deadline_s = 0.0
        """When the standby looks at the deadlines of unattended calls again."""
        self._lost = self._burying = False
        self._hooks = hooks
        self._lock = threading.Lock()
        self._leader = 0
        """The thread that receives; 0 if there is none."""
        self._followers: dict[int, Call] = {}
        self._send, self._receive = pair.requests.send, pair.responses.receive
        if log_traffic:
            self._log_traffic()

    # --- callers

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

    def attend(self, call: Call) -> None:
        """Return when a call has an answer, is past its deadline, or the worker is dead and all has been said."""
        me = threading.get_ident()
        with self._lock:
            open_ = not self._lost and self.death is None
            nested = open_ and self._leader == me  # called from a callback of the thread that receives
            leads = open_ and not self._leader
            if leads:
                self._leader = me
            elif not nested:
                call.wake = closed_bell()
                self._followers[call.number] = call
        if leads:
            self._lead(call)
        elif nested:
            self._receive_until(call)
        else:
            self._follow(call)
        if call.answer is None and (self._lost or self.death is not None) and self._leader != me:
            self.buried.wait(DEATH_GRACE_S)

    def help_out(self, call: Call) -> None:
        """If called on the thread that receives, by a callback: receive until a call has its answer."""
        if self._leader == threading.get_ident():
            self._receive_until(call)
            if call.answer is None and call.expired(time.monotonic()) and (error := self.ledger.time_out(call)):
                call.deliver(error)

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

    def died(self) -> PeerGoneError:
        """Return the error of whatever waits for a worker that has died."""
        why = self.death or "its end of the queue is gone"
        return PeerGoneError(f"Worker died: {self.instrument}: {why}", instrument=self.instrument, why=why)

    # --- leader and followers

    def _lead(self, call: Call) -> None:
        try:
            self._receive_until(call)
        finally:
            self.hand_on()

    def _receive_until(self, call: Call) -> None:
        try:
            while call.answer is None and self.death is None:
                left_s = call.deadline_s - time.monotonic()
                if left_s <= 0:
                    return
                self.receive(left_s if left_s < SLICE_S else SLICE_S)  # noqa: FURB136 (faster)
        except PeerGoneError as error:
            self.lose(str(error))

    def _follow(self, call: Call) -> None:
        assert call.wake
        try:
            while call.answer is None and not call.leads:
                left_s = call.deadline_s - time.monotonic()
                if left_s <= 0:
                    break
                call.wake.acquire(timeout=left_s)
        except BaseException:
            if self._leave_followers(call):
                self.hand_on()
            raise
        if self._leave_followers(call):
            self._lead(call)

    def _leave_followers(self, call: Call) -> bool:
        """Return whether the role was handed to the one who leaves."""
        with self._lock:
            self._followers.pop(call.number, None)
            leads, call.leads = call.leads, False
            if leads:
                self._leader = threading.get_ident()
            return leads

    def try_lead(self) -> bool:
        """Take the role for a standby, if it is free."""
        with self._lock:
            if self._leader or self._lost:
                return False
            self._leader = threading.get_ident()
            return True

    def hand_on(self) -> None:
        """Give the role to a follower without an answer; if there is none, it is free."""
        with self._lock:
            self._leader = 0
            while self._followers and self.death is None and not self._lost:
                call = self._followers.pop(next(iter(self._followers)))
                if call.answer is None and call.wake is not None:
                    call.leads = True
                    self._leader = _SOMEBODY
                    ring(call.wake)
                    return
        if self.ledger.unattended or self.death is not None:
            ring(self.standby_bell)

    @property
    def leading(self) -> bool:
        """Whether somebody receives."""
        return self._leader != 0

    def lose(self, why: str, *, fatal: bool = False) -> None:
        """Note that the worker's end is gone; nobody receives any more until the supervisor has buried it.

        Args:
            why: In words.
            fatal: It has said itself that it is about to die, so that there is nothing to wait for.
        """
        self._lost = True
        self._hooks.on_lost(why, fatal)

    # --- what is received; only ever by the one who leads

    def receive(self, timeout_s: float) -> bool:
        """Take one message and act on it; False if none came.

        Raises:
            PeerGoneError: The worker's end of the queue is gone.
        """
        data = self._receive(timeout_s)
        if data is None:
            self.last_look_s = time.monotonic()
            return False
        try:
            message = decode_message(data, self.profile)
            self.last_sign_s = time.monotonic()
            if message.type is MessageType.RESPONSE:
                self.ledger.take_response(message)
            else:
                self._take_other(message)
        except ProtocolError as error:
            self.ledger.counts.protocol_errors += 1
            self._hooks.report("protocol_error", {"error": str(error), "begins_with": repr(data[:_SHOWN_BYTES])})
        return True

    def _take_other(self, message: Message) -> None:
        kind = message.type
        if kind is MessageType.HEARTBEAT:
            if not self.ready:
                self.ready = True
                ring(self.standby_bell)
        elif kind is MessageType.ERROR:
            error = decode_error(message.payload)
            if error.fatal:
                self.lose(f"{error.error_message} (error code {error.error_code})", fatal=True)
            else:
                self.ledger.take_error(message.id, error)
        elif kind is not MessageType.SYNC_ACK:
            raise ProtocolError(f"a worker never sends {kind.value}")

    # --- the end

    def forget(self, response: CommandResponse) -> None:
        """Free what a response holds that nobody will look at."""
        self._hooks.release_waveform(response)

    def forget_answer(self, call: Call) -> None:
        """Free what the answer of a call holds that nobody will look at."""
        if isinstance(call.answer, CommandResponse):
            self.forget(call.answer)

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
