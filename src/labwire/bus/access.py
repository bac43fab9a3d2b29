"""Who may connect: an address list, asked by ZeroMQ before every handshake (ZAP, ZeroMQ RFC 27)."""

from __future__ import annotations

import ipaddress
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import zmq

_ZAP = "inproc://zeromq.zap.01"
_DOMAIN = b"labwire"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


LOOPBACK = ("127.0.0.0/8", "::1/128")


def parse_networks(networks: Sequence[str]) -> list[Network]:
    """Parse ``192.168.1.0/24`` and the like; an address alone is a network of one.

    Raises:
        ValueError: One of them is not a network.
    """
    return [ipaddress.ip_network(entry, strict=False) for entry in networks]


class AccessGuard:
    """Refuses strangers on every ZeroMQ listener of a context; peers inside the list need nothing special.

    Args:
        context: The context whose sockets are guarded; `protect` each of them before it binds.
        allow: Networks that may connect.
        on_refused: Called on the guard's thread with the address of each stranger.
        always: Networks that may connect besides; by default this computer.
    """

    def __init__(
        self,
        context: zmq.Context[Any],
        allow: Sequence[str],
        on_refused: Callable[[str], None] = lambda _: None,
        *,
        always: Sequence[str] = LOOPBACK,
    ) -> None:
        self._networks = parse_networks([*always, *allow])
        self._on_refused = on_refused
        self.refused = 0
        self._socket = context.socket(zmq.REP)
        self._socket.linger = 0
        self._socket.bind(_ZAP)
        self._thread = threading.Thread(target=self._serve, name="access guard", daemon=True)
        self._thread.start()

    @staticmethod
    def protect(socket: zmq.Socket[Any]) -> None:
        """Have the guard asked for every connection to this socket."""
        socket.zap_domain = _DOMAIN

    def allows(self, address: str) -> bool:
        """Tell whether a peer address may connect."""
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(ip in network for network in self._networks)

    def _serve(self) -> None:
        while True:
            try:
                request = self._socket.recv_multipart()
            except zmq.ContextTerminated:
                self._socket.close()
                return
            version, number, address = request[0], request[1], request[3].decode("ascii", "replace")
            allowed = self.allows(address)
            status = [b"200", b"OK", b"", b""] if allowed else [b"400", b"address not in [network] allow", b"", b""]
            self._socket.send_multipart([version, number, *status])
            if not allowed:
                self.refused += 1
                self._tell(address)

    def _tell(self, address: str) -> None:
        try:
            self._on_refused(address)
        except Exception:  # without this thread nobody could connect any more
            logging.getLogger(__name__).exception("refused %s, and telling so failed", address)

    def join(self) -> None:
        """Wait for the guard's thread; call after the context was told to end."""
        self._thread.join(timeout=2)
