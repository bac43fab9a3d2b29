"""The inlet: Remote, PULL and delayed notifications on one thread with one way into the backbone.

Source: ipc-backbone, "Pupil Remote". What is confirmed has come out at the subscribers' side: `labwire.bus.entry`.
"""

from __future__ import annotations

import math
import os
import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import zmq

from labwire.bus.backbone import XPUB_INPROC, bind
from labwire.bus.delays import DelayQueue
from labwire.bus.entry import FENCE_LIMIT_S, Entry, can_read
from labwire.bus.far_peer import notice_loss
from labwire.bus.parts import parts_of
from labwire.bus.peer_watch import PeerWatch
from labwire.clock import RigClock
from labwire.errors import LabwireError
from labwire.names import NOTIFY
from labwire.wire import remote_command as remote
from labwire.wire.bus_message import decode_payload, encode_message, encode_payload
from labwire.wire.remote_command import Ask, Forward, Notify, Refuse, ReplyStyle, SetTime

_DELAYED = b"delayed_notify"
_CANCEL = b"delayed_notify.cancel"
_MAX_DELAYED_UNREAD = 20_000  # messages on their way to the delay queue
_BATCH = 256  # messages taken from one socket before the others get their turn
_MAX_EVENTS = 8  # more than there are descriptors; by default epoll makes room for a thousand at every turn
_NOBLOCK = int(zmq.NOBLOCK)


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
    """Delayed notifications that could not be read."""
    delayed_pending: int = 0
    faults: int = 0
    """Our own mistakes while serving; each is reported."""


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
        peers: Tells who was cut; None if nobody wants to know.

    Raises:
        PortTakenError: A port is in use.
    """

    def __init__(  # noqa: PLR0913 - each is one word in the call
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
        peers: PeerWatch | None = None,
    ) -> None:
        self.counters = InletCounters()
        self._clock, self._version = clock, version
        self._replies: ReplyStyle = replies
        self._events = events or InletEvents()
        self._delays = DelayQueue()
        self._rep, self._pull = context.socket(zmq.REP), context.socket(zmq.PULL)
        self._rep.linger = self._pull.linger = 0
        for listener in (self._rep, self._pull):
            notice_loss(listener)
        self._rep.maxmsgsize = self._pull.maxmsgsize = max_message_bytes
        try:
            self.remote_port = bind(self._rep, host, remote_port, "--remote-port or [remote] port", peers)
            self.push_port = bind(self._pull, host, push_port, "[bus] push_port", peers)
        except LabwireError:
            self._rep.close()
            self._pull.close()
            raise
        self.entry = Entry(context)
        self._delayed = context.socket(zmq.SUB)
        self._delayed.linger = 0
        self._delayed.rcvhwm = _MAX_DELAYED_UNREAD
        self._delayed.subscribe(_DELAYED)
        self._delayed.connect(XPUB_INPROC)
        self._stop_read, self._stop_write = os.pipe()
        self._running = True
        self._thread = threading.Thread(target=self._run, name="inlet", daemon=True)

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
        os.close(self._stop_write)  # its other end can be read now
        if self._thread.is_alive():
            self._thread.join(timeout=2)
        os.close(self._stop_read)
        for socket in (self._rep, self._pull, self._delayed):
            socket.close()
        self.entry.close()

    def _run(self) -> None:
        # Six sockets: libzmq's own poller would ask each of them twice at every turn, which a Remote request feels.
        # The descriptor of a ZeroMQ socket tells only that something has happened since the socket was last used, so
        # whoever uses a socket must go on until nothing is left in it, or note it as unfinished.
        serve = self._servants()
        by_fd = {cast("int", socket.getsockopt(zmq.FD)): callback for socket, callback in serve.items()}
        by_fd[self._stop_read] = self._end
        self._unfinished = set(serve)
        with select.epoll() as poller:
            for fd in by_fd:
                poller.register(fd, select.EPOLLIN)
            while self._running:
                try:
                    for fd, _ in poller.poll(self._fire_due(), _MAX_EVENTS):
                        by_fd[fd]()
                    if self._unfinished:
                        unfinished, self._unfinished = self._unfinished, set[zmq.Socket[Any]]()
                        for socket in unfinished:
                            serve[socket]()
                except zmq.ContextTerminated:
                    return
                except Exception as error:  # never let an input end this thread; a mistake of ours is reported
                    self.counters.faults += 1
                    self._unfinished = set(serve)
                    self._events.on_fault(error)

    def _servants(self) -> dict[zmq.Socket[Any], Callable[[], None]]:
        return {
            self._rep: self._serve_remote,
            self._pull: self._serve_push,
            self._delayed: self._serve_delayed,
            **dict.fromkeys(self.entry.sockets, self.entry.look),
        }

    def _end(self) -> None:
        self._running = False

    def _messages(self, socket: zmq.Socket[Any]) -> Iterator[list[bytes]]:
        for _ in range(_BATCH):
            try:
                frame = socket.recv(_NOBLOCK, copy=False)
            except zmq.Again:
                return
            yield parts_of(socket, frame)
            if not can_read(socket):  # costs a fraction of the exception
                return
        self._unfinished.add(socket)

    # --- Remote

    def _serve_remote(self) -> None:
        rep = self._rep
        for _ in range(_BATCH):
            try:
                frame = rep.recv(_NOBLOCK, copy=False)
            except zmq.Again:
                return
            self.counters.remote_requests += 1
            reply = b"Internal error; see the log."  # REP must answer, whatever happens in between
            try:
                if frame.bytes == remote.TIME and not frame.more:  # who sets a clock by it feels each microsecond
                    reply = repr(self._clock.now()).encode()
                else:
                    reply = self._answer(parts_of(rep, frame))
            finally:
                rep.send(reply)
            if not can_read(rep):
                return
        self._unfinished.add(rep)

    def _answer(self, parts: list[bytes]) -> bytes:
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
                return self._confirm(forwarded, remote.forwarded_reply(topic, self._replies))
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
        self.entry.publish([topic.encode(), encode_payload(payload)])
        return remote.TIMESYNC.encode()

    def _confirm(self, parts: Sequence[bytes], reply: str) -> bytes:
        if not self.entry.confirm(parts):
            self.counters.unconfirmed += 1
            return remote.NOT_CONFIRMED.format(FENCE_LIMIT_S).encode()
        if parts[0].startswith(_DELAYED):
            self._serve_delayed()  # what is taken back with this message does not fire any more
        return reply.encode()

    # --- push port, delayed notifications

    def _serve_push(self) -> None:
        for parts in self._messages(self._pull):
            self.counters.pushed += 1
            self.entry.publish(parts)

    def _serve_delayed(self) -> None:
        for parts in self._messages(self._delayed):
            try:
                if parts[0] == _CANCEL and "delay" not in (payload := decode_payload(parts[1])):
                    self._delays.cancel(str(payload.get("subject")))
                else:
                    self._delays.add(parts, time.monotonic())
            except (LabwireError, IndexError) as error:
                self.counters.malformed += 1
                self._events.on_warning(f"delayed notification refused: {error}")
        self.counters.delayed_pending = len(self._delays)

    def _fire_due(self) -> float | None:
        """Publish what is due; return for how many seconds there is nothing to do, None for as long as no peer asks."""
        if not self._delays and not self._unfinished:
            return None
        while (due_s := self._delays.next_due_s()) <= (now_s := time.monotonic()):
            due = self._delays.take_due(now_s)
            self.counters.delayed_pending = len(self._delays)
            for parts in due:
                self.entry.publish(parts)
        if self._unfinished:
            return 0.0
        return None if math.isinf(due_s) else due_s - now_s  # epoll rounds up to milliseconds
