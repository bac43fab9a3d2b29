"""Who is connected to the sockets of the ZeroMQ image stream, and what writers report of a run.

Source: image-stream, "Writer notification socket".
"""

from __future__ import annotations

import ipaddress
import logging
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import zmq

from labwire.errors import ConfigError
from labwire.images.pusher import OnEvent
from labwire.images.pushers.push_lane import PushLane, bind
from labwire.images.stream_address import SCHEME, parse_tcp_address
from labwire.images.waker import Waker
from labwire.wire.writer_note import MAX_NOTE_BYTES, NoteBook, NoteVerdict

_log = logging.getLogger(__name__)

_EVENT: Final = struct.Struct("=Hi")  # number and value of an event: zmq_socket_monitor(3)
_FAILED: Final = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
_WATCHED: Final = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | _FAILED
_JOIN_S: Final = 5.0
_MAX_REPORTED: Final = 16  # notes that are refused, in a run; more are only counted


class _Lane:
    """How many readers one socket has."""

    def __init__(self, context: zmq.Context[Any], lane: PushLane) -> None:
        address = f"inproc://labwire-lane-{lane.number}"
        self.lane = lane
        self.monitor = context.socket(zmq.PAIR)
        self.monitor.linger = 0
        self.monitor.rcvhwm = 0  # a full monitor would hold up the I/O thread of the whole context
        lane.socket.monitor(address, _WATCHED)
        self.monitor.connect(address)
        self.readers = 0
        self._failed = 0

    def read(self) -> list[str]:
        """Take what is new; return the kinds of events."""
        kinds: list[str] = []
        while self.monitor.poll(0):
            event, _ = _EVENT.unpack_from(self.monitor.recv())
            self.monitor.recv()
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self.readers += 1
                kinds.append("writer_connected" if self.readers == 1 else "second_reader")
            elif event & _FAILED:
                self._failed += 1  # its break follows
            elif self._failed:
                self._failed -= 1
            elif self.readers:
                self.readers -= 1
                kinds.append("writer_lost")
        return kinds


class LaneWatch:
    """A thread that listens to the sockets' monitors and to the writers' notes.

    Args:
        context: Of the stream.
        lanes: Its sockets; not started yet.
        notification_address: Where to listen for notes; None: nowhere.
        on_event: Told ``writer_connected``, ``second_reader``, ``writer_lost`` and ``note_refused``.

    Raises:
        PortTakenError: Somebody else listens there.
        ConfigError: The address is no real interface.
    """

    def __init__(
        self,
        context: zmq.Context[Any],
        lanes: Sequence[PushLane],
        notification_address: str | None,
        on_event: OnEvent | None,
    ) -> None:
        self.notification_address: str | None = None
        """With the real port."""
        self._notes: zmq.Socket[Any] | None = None
        if notification_address is not None:
            check_notification_address(notification_address)
            notes = self._notes = context.socket(zmq.PULL)
            notes.linger = 0
            notes.setsockopt(zmq.MAXMSGSIZE, MAX_NOTE_BYTES)
            self.notification_address = bind(notes, notification_address)
        self._lanes = [_Lane(context, lane) for lane in lanes]
        self._on_event = on_event
        self._changed = threading.Condition()
        self._book: NoteBook | None = None
        self.stray_notes = 0
        """Notes that came when no run was waiting for any."""
        self._waker = Waker()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="labwire-image-notes", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def readers(self) -> tuple[int, ...]:
        """For each socket, how many readers are connected."""
        return tuple(lane.readers for lane in self._lanes)

    def use(self, book: NoteBook | None) -> None:
        """Put the notes that come from now on into this book."""
        with self._changed:
            self._book = book

    def wait_for(self, true: Callable[[], bool], timeout_s: float | None) -> bool:
        """Wait until something is true of the readers or the book; return whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: true() or self._closing, timeout_s) and true()

    def notify(self) -> None:
        """Have those look again who wait."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """End the thread and its sockets; the lanes' sockets must be closed already."""
        self._closing = True
        self.notify()
        self._waker.wake()
        self._thread.join(_JOIN_S)
        for lane in self._lanes:
            lane.monitor.close()
        if self._notes is not None:
            self._notes.close()
        self._waker.close()

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._waker.fileno(), zmq.POLLIN)
        for lane in self._lanes:
            poller.register(lane.monitor, zmq.POLLIN)
        if self._notes is not None:
            poller.register(self._notes, zmq.POLLIN)
        while not self._closing:
            try:
                poller.poll()
                self._waker.clear()
                self._take()
            except zmq.ContextTerminated:
                return
            except Exception:
                _log.exception("watching the image sockets failed in a way that was not foreseen")

    def _take(self) -> None:
        events: list[tuple[str, dict[str, Any]]] = []
        with self._changed:
            for lane in self._lanes:
                about = {"socket_number": lane.lane.number, "address": lane.lane.address}
                events += [(kind, about) for kind in lane.read()]
            if self._notes is not None and self._notes.poll(0):
                events += self._take_note(self._notes)
            self._changed.notify_all()
        self._report(events)

    def _report(self, events: list[tuple[str, dict[str, Any]]]) -> None:
        if self._on_event is None:
            return
        for kind, data in events:
            try:
                self._on_event(kind, data)
            except Exception:  # a listener must not end the thread
                _log.exception("telling of %s %r failed", kind, data)

    def _take_note(self, socket: zmq.Socket[Any]) -> list[tuple[str, dict[str, Any]]]:
        first, *more = socket.recv_multipart()
        book = self._book
        if book is None:
            self.stray_notes += 1
            return [("note_refused", {"reason": "no run waits for a note"})] if self.stray_notes == 1 else []
        verdict = book.add(b"" if more else first)  # a note has one part
        refused = sum(book.counts.values()) - book.counts[NoteVerdict.TAKEN]
        if verdict is NoteVerdict.TAKEN or refused > _MAX_REPORTED:
            return []
        return [("note_refused", {"verdict": verdict.value, "reason": book.last_refused})]


def check_notification_address(address: str) -> None:
    """Check that writers can use an address as it stands.

    Raises:
        ConfigError: It is no address, or one that means all interfaces.
    """
    if not address.startswith(SCHEME):
        if address.startswith("ipc://"):
            return
        raise ConfigError(f"writer_notification_socket: {address!r} is not an address: write tcp://IP:*")
    host, _ = parse_tcp_address(address)
    try:
        everywhere = ipaddress.ip_address(host).is_unspecified
    except ValueError:
        everywhere = False
    if everywhere:
        raise ConfigError(
            f"writer_notification_socket cannot be {address}: START tells writers this address, and nobody can connect "
            "to one that means all interfaces; give the IP address that they reach, such as tcp://192.168.0.1:*"
        )
