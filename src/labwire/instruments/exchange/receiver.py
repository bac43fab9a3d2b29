"""Who receives for whom, from the queue of a worker's responses.

No thread of its own stands between a caller and the queue: the first caller that waits *leads*, which means it receives
for all; the others *follow*, asleep until the leader has their answer or hands the role on. Where nobody's thread waits
(futures, heartbeats), a standby thread leads (`labwire.instruments.exchange.standby`).
"""

from __future__ import annotations

import threading
import time

from labwire.errors import PeerGoneError, ProtocolError
from labwire.instruments.exchange.calls import Call, closed_bell, ring
from labwire.instruments.exchange.ledger import Hooks, Ledger
from labwire.instruments.queues.contract import SLICE_S, QueuePair
from labwire.instruments.status import Counts
from labwire.wire.instrument_message import Message, MessageType, Profile, decode_error, decode_message

DEATH_GRACE_S = 2.0
"""How long a caller waits to be told why its worker has died."""
_SHOWN_BYTES = 60
_SOMEBODY = -1


class Receiver:
    """The receiving half of `labwire.instruments.exchange.exchange.Exchange`.

    Args:
        instrument: Its name.
        pair: Its queues, of this incarnation alone.
        profile: Layout of the messages.
        extras: The worker is our own: it may send batches, blocks and compressed payloads.
        counts: Where to count.
        hooks: Whom to tell.
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
        self._lost = False
        self._hooks = hooks
        self._lock = threading.Lock()
        self._leader = 0
        """The thread that receives; 0 if there is none."""
        self._followers: dict[int, Call] = {}
        self._receive = pair.responses.receive

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
