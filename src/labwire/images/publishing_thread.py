"""What the preview and the metadata stream share: a PUB socket, and a thread that sends over it when it is time."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final

import zmq

from labwire.clock import monotonic_s
from labwire.errors import ConfigError, LabwireError
from labwire.images.pushers.push_lane import bind
from labwire.images.stream_address import SCHEME
from labwire.wire.cbor_values import Buffer

_log = logging.getLogger(__name__)

_LINGER_MS: Final = 1000
_JOIN_S: Final = 5.0
_FAILED_S: Final = 1.0


class PublishingThread(ABC):
    """Sends what there is, when it is due; whoever hands something over never waits for a reader.

    Args:
        address: Where to bind.
        options: Socket options, set before.
        name: Of the thread.

    Raises:
        PortTakenError: Somebody else listens there.
        ConfigError: The address is none, or none of this computer's.
    """

    def __init__(self, address: str, options: dict[int, int], name: str) -> None:
        if not address.startswith((SCHEME, "ipc://")):
            raise ConfigError(f"{address!r} is not an address: write tcp://IP:PORT, or tcp://IP:* for any free port")
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket: zmq.Socket[Any] = self._context.socket(zmq.PUB)
        for option, value in options.items():
            self._socket.setsockopt(option, value)
        self._socket.linger = _LINGER_MS
        try:
            self.address = bind(self._socket, address)
            """Where readers connect, with the real port."""
        except LabwireError:
            self._context.term()
            raise
        self.sent = 0
        """Messages that went out, to whoever is there."""
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    @abstractmethod
    def _next_s(self) -> float | None:
        """Tell, under the lock, when something is due; None: when somebody wakes the thread."""

    @abstractmethod
    def _take(self, now_s: float) -> list[Sequence[Buffer]]:
        """Return, not under the lock, the messages that are due."""

    def _wake(self) -> None:
        """Have the thread look again; under the lock."""
        self._changed.notify()

    def close(self) -> None:
        """Send what waits, and close the socket. Safe to call twice."""
        with self._changed:
            closed, self._closing = self._closing, True
            self._changed.notify()
        if closed:
            return
        self._thread.join(_JOIN_S)
        if self._thread.is_alive():
            _log.error("the thread of %s did not end", self.address)
            return
        self._context.term()

    def _serve(self) -> None:
        try:
            while self._wait():
                try:
                    self._send_due()
                except Exception:  # the stream goes on with what comes next
                    _log.exception("publishing at %s failed in a way that was not foreseen", self.address)
                    threading.Event().wait(_FAILED_S)
            self._send_due()
        finally:
            self._socket.close()

    def _wait(self) -> bool:
        with self._changed:
            while not self._closing:
                due_s = self._next_s()
                wait_s = None if due_s is None else due_s - monotonic_s()
                if wait_s is not None and wait_s <= 0:
                    return True
                self._changed.wait(wait_s)
            return False

    def _send_due(self) -> None:
        for pieces in self._take(monotonic_s()):
            self._socket.send(b"".join(pieces), copy=False)  # a PUB socket never waits
            self.sent += 1
