"""The inlet: Remote, PULL and delayed notifications on one thread with one way into the backbone.

Source: ipc-backbone, "Pupil Remote" and "Delivery guarantees". One XPUB joins the XSUB by inproc; it does not filter
and, with NODROP, would rather wait than drop. A confirmation is sent only after a fence, published behind the message,
came out at the subscribers' side: one pipe is first in, first out, so the message came out before it.
"""

from __future__ import annotations

import itertools
import math
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import zmq

from labwire.bus.backbone import MONITOR_INPROC, XPUB_INPROC, XSUB_INPROC, bind
from labwire.bus.delays import DelayQueue
from labwire.clock import RigClock
from labwire.errors import LabwireError
from labwire.names import NOTIFY
from labwire.wire import remote_command as remote
from labwire.wire.bus_message import decode_payload, encode_message, encode_payload
from labwire.wire.remote_command import Ask, Forward, Notify, Refuse, ReplyStyle, SetTime

FENCE_TOPIC = b"bus.fence"
FENCE_LIMIT_S = 1.0
"""How long a confirmation waits for its fence before the reply says that it cannot confirm."""
HASTY_SUBSCRIBER_S = 0.020
"""How long a Remote message waits for a reader that has connected but not subscribed yet."""
_DELAYED = b"delayed_notify"
_CANCEL = b"delayed_notify.cancel"
_STOP_INPROC = "inproc://inlet-stop"
_BATCH = 256  # messages taken from one socket before the others get their turn
_EVENT = struct.Struct("=Hi")


class InletPorts(NamedTuple):
    """Ports that the Remote tells when asked."""

    pub_port: int
    sub_port: int
    rpc_port: int


@dataclass
class InletCounters:
    """What the inlet has done since it started."""

    remote_requests: int = 0
    remote_refused: int = 0
    """Requests that were not understood."""
    forwarded: int = 0
    unconfirmed: int = 0
    """Messages whose fence did not come back in time."""
    pushed: int = 0
    malformed: int = 0
    """Delayed notifications that could not be read, and multipart mistakes on the push port."""
    delayed_pending: int = 0
    readers_connected: int = 0
    faults: int = 0
    """Our own mistakes while serving; each is logged."""


@dataclass
class InletEvents:
    """What the inlet reports, on its own thread; keep these short."""

    on_warning: Callable[[str], None] = field(default=lambda text: None)
    on_fault: Callable[[BaseException], None] = field(default=lambda error: None)


class Inlet:
    """Serves the Remote port and the push port, and fires delayed notifications.

    Args:
        context: The backbone's context.
        clock: The rig's clock, which ``t`` reads and ``T`` sets.
        host: Address to listen on.
        remote_port: Port of the Remote, 0 for any.
        push_port: Port of the push side, 0 for any.
        replies: Wording of the confirmations.
        version: Answer to ``v``.
        max_message_bytes: A peer that sends a larger part is cut by ZeroMQ.
        events: What to report, and to whom.

    Raises:
        PortTakenError: A port is in use.
    """

    def __init__(
        self,
        context: zmq.Context[Any],
        clock: RigClock,
        *,
        host: str,
        remote_port: int,
        push_port: int,
        replies: ReplyStyle,
        version: str,
        max_message_bytes: int,
        events: InletEvents | None = None,
    ) -> None:
        self.counters = InletCounters()
        self._clock, self._version = clock, version
        self._replies: ReplyStyle = replies
        self._events = events or InletEvents()
        self._delays = DelayQueue()
        self._newcomers: deque[float] = deque()
        self._nonces = itertools.count(1)
        self._rep = context.socket(zmq.REP)
        self._pull = context.socket(zmq.PULL)
        self._out = context.socket(zmq.XPUB)
        self._back = context.socket(zmq.SUB)
        self._readers = context.socket(zmq.PAIR)
        self._stop_end = context.socket(zmq.PAIR)
        self._stop = context.socket(zmq.PAIR)
        for socket in self._sockets:
            socket.linger = 0
        self._rep.maxmsgsize = self._pull.maxmsgsize = max_message_bytes
        try:
            self.remote_port = bind(self._rep, host, remote_port, "--remote-port or [remote] port")
            self.push_port = bind(self._pull, host, push_port, "[bus] push_port")
        except LabwireError:
            self._close_sockets()
            raise
        self._join_backbone()
        self._stop_end.bind(_STOP_INPROC)
        self._stop.connect(_STOP_INPROC)
        self._thread = threading.Thread(target=self._run, name="inlet", daemon=True)

    @property
    def _sockets(self) -> tuple[zmq.Socket[Any], ...]:
        return self._rep, self._pull, self._out, self._back, self._readers, self._stop_end, self._stop

    def _join_backbone(self) -> None:
        self._out.setsockopt(zmq.XPUB_NODROP, 1)
        self._out.setsockopt(zmq.XPUB_VERBOSE, 1)
        self._out.sndtimeo = int(FENCE_LIMIT_S * 1000)
        self._out.connect(XSUB_INPROC)
        self._back.rcvhwm = (
            0  # the fence must come through; everything on this socket is ours or a delayed notification
        )
        self._back.subscribe(FENCE_TOPIC)
        self._back.subscribe(_DELAYED)
        self._back.connect(XPUB_INPROC)
        self._readers.connect(MONITOR_INPROC)

    def start(self, ports: InletPorts) -> None:
        """Start serving; `ports` is what the Remote tells when asked."""
        self._answers = {
            "PUB_PORT": str(ports.pub_port).encode(),
            "SUB_PORT": str(ports.sub_port).encode(),
            "RPC_PORT": str(ports.rpc_port).encode(),
            "PUSH_PORT": str(self.push_port).encode(),
            "version": self._version.encode(),
        }
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and close the ports."""
        if self._thread.is_alive():
            self._stop.send(b"")
            self._thread.join(timeout=2)
        self._close_sockets()

    def _close_sockets(self) -> None:
        for socket in self._sockets:
            socket.close()

    def _run(self) -> None:
        serve = {
            self._rep: self._serve_remote,
            self._pull: self._serve_push,
            self._back: self._serve_back,
            self._readers: self._see_readers,
            self._out: self._see_subscriptions,
        }
        poller = zmq.Poller()
        for socket in (*serve, self._stop_end):
            poller.register(socket, zmq.POLLIN)
        while True:
            try:
                ready = dict(poller.poll(self._timeout_ms()))
                if self._stop_end in ready:
                    return
                for socket in ready:
                    serve[socket]()
                self._fire_due()
            except zmq.ContextTerminated:
                return
            except Exception as error:  # never let an input end this thread; a mistake of ours is reported and counted
                self.counters.faults += 1
                self._events.on_fault(error)

    def _timeout_ms(self) -> int:
        due_s = self._delays.next_due_s()
        if math.isinf(due_s):
            return -1
        return max(0, math.ceil((due_s - time.monotonic()) * 1000))

    # --- Remote

    def _serve_remote(self) -> None:
        for _ in range(_BATCH):
            try:
                parts = self._rep.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            reply = b"Internal error; see the log."  # REP must answer, whatever happens in between
            try:
                reply = self._answer(parts)
            finally:
                self._rep.send(reply)

    def _answer(self, parts: list[bytes]) -> bytes:
        self.counters.remote_requests += 1
        match remote.parse_request(parts):
            case Ask("time"):
                return repr(self._clock.now()).encode()
            case Ask(what):
                return self._answers[what]
            case SetTime(value):
                return self._set_time(value)
            case Notify(subject, payload):
                topic = NOTIFY + subject
                sent = encode_message(topic, {"subject": subject, **payload, "topic": topic})
                return self._confirm([bytes(part) for part in sent], remote.OK)
            case Forward(forwarded, topic):
                self.counters.forwarded += 1
                return self._confirm(list(forwarded), remote.forwarded_reply(topic, self._replies))
            case Refuse(reply):
                self.counters.remote_refused += 1
                return reply.encode()

    def _set_time(self, value: float) -> bytes:
        before_s = self._clock.offset_s
        try:
            self._clock.set_now(value)
        except LabwireError as error:
            self.counters.remote_refused += 1
            return error.message.encode()
        topic = NOTIFY + "clock.changed"
        payload = {
            "subject": "clock.changed",
            "topic": topic,
            "offset_before_s": before_s,
            "offset_after_s": self._clock.offset_s,
            "monotonic_s": time.monotonic(),
            "timestamp": self._clock.now(),
        }
        self._publish([topic.encode(), encode_payload(payload)])
        return remote.TIMESYNC.encode()

    def _confirm(self, parts: list[bytes], reply: str) -> bytes:
        self._await_newcomers()
        nonce = encode_payload({"nonce": next(self._nonces)})
        if self._publish(parts) and self._publish([FENCE_TOPIC, nonce]) and self._await_fence(nonce):
            return reply.encode()
        self.counters.unconfirmed += 1
        return remote.NOT_CONFIRMED.format(FENCE_LIMIT_S).encode()

    def _await_fence(self, nonce: bytes) -> bool:
        deadline = time.monotonic() + FENCE_LIMIT_S
        while (left_ms := int((deadline - time.monotonic()) * 1000)) > 0:
            if self._back.poll(left_ms):
                parts = self._back.recv_multipart()
                if parts == [FENCE_TOPIC, nonce]:
                    return True
                self._take_back(parts)
        return False

    def _await_newcomers(self) -> None:
        """Give a reader that has connected but not subscribed yet a moment: scripts subscribe and ask at once."""
        self._see_readers()
        self._see_subscriptions()
        while self._newcomers:
            left_s = self._newcomers[0] + HASTY_SUBSCRIBER_S - time.monotonic()
            if left_s <= 0:
                self._newcomers.popleft()
                continue
            self._out.poll(math.ceil(left_s * 1000))
            self._see_subscriptions()

    # --- readers and their subscriptions

    def _see_readers(self) -> None:
        while True:
            try:
                event, _ = self._readers.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            if _EVENT.unpack(event)[0] == zmq.EVENT_ACCEPTED:
                self.counters.readers_connected += 1
                self._newcomers.append(time.monotonic())
            else:
                self.counters.readers_connected -= 1

    def _see_subscriptions(self) -> None:
        while True:
            try:
                self._out.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            if self._newcomers:
                self._newcomers.popleft()

    # --- push port, delayed notifications

    def _serve_push(self) -> None:
        for _ in range(_BATCH):
            try:
                parts = self._pull.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self.counters.pushed += 1
            self._publish(parts)

    def _serve_back(self) -> None:
        for _ in range(_BATCH):
            try:
                self._take_back(self._back.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return

    def _take_back(self, parts: list[bytes]) -> None:
        if parts[0].startswith(FENCE_TOPIC):
            return  # a fence that came too late, or somebody else's
        try:
            if parts[0] == _CANCEL and "delay" not in (payload := decode_payload(parts[1])):
                self._delays.cancel(str(payload.get("subject")))
            else:
                self._delays.add(parts, time.monotonic())
        except (LabwireError, IndexError) as error:
            self.counters.malformed += 1
            self._events.on_warning(f"delayed notification refused: {error}")
        self.counters.delayed_pending = len(self._delays)

    def _fire_due(self) -> None:
        for parts in self._delays.take_due(time.monotonic()):
            self._publish(parts)
        self.counters.delayed_pending = len(self._delays)

    def _publish(self, parts: list[bytes]) -> bool:
        try:
            self._out.send_multipart(parts)
        except zmq.Again:
            return False  # the proxy has stood still for FENCE_LIMIT_S
        return True
