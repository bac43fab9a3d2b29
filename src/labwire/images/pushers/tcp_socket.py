"""The sockets of the TCP image stream: the port, a writer's, and one that is refused."""

from __future__ import annotations

import errno
import logging
import socket
from typing import Final

from labwire.errors import ConfigError, PortTakenError
from labwire.images.stream_address import parse_tcp_address

_log = logging.getLogger(__name__)

KERNEL_KEEPALIVE: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""Seconds of silence, seconds between probes, probes: image-stream, "Keepalive", a second safety net."""
_BACKLOG: Final = 128


def listen(address: str) -> socket.socket:
    """Listen at an address; accepting does not block.

    Raises:
        PortTakenError: Somebody else listens there.
        ConfigError: The address is none, or none of this computer's.
    """
    host, port = parse_tcp_address(address)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        what = "give the IP address of one of this computer's interfaces"
        raise ConfigError(f"{address}: {error.strerror}: {what}") from error
    family, kind, protocol, _, where = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(where)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            what = "somebody else listens there; * as port takes a free one"
            raise PortTakenError(f"{address} is taken: {what}") from error
        raise ConfigError(f"cannot listen at {address}: {error.strerror}") from error
    sock.setblocking(False)
    return sock


def prepare(sock: socket.socket, send_buffer_bytes: int | None) -> None:
    """Set a writer's socket up: blocking, without Nagle's delay, with the kernel's keepalive.

    Args:
        sock: As it was accepted.
        send_buffer_bytes: SO_SNDBUF; None: the system adapts it.
    """
    sock.setblocking(True)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KERNEL_KEEPALIVE.items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    if send_buffer_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)


def warn_if_clamped(send_buffer_bytes: int) -> None:
    """Log if the system gives a socket less than that."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
        got = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2  # Linux doubles it, for its own book-keeping
    if got < send_buffer_bytes:
        _log.warning(
            "send_buffer_size of %d bytes was clamped to %d: sysctl net.core.wmem_max raises the system's limit",
            send_buffer_bytes,
            got,
        )


def refuse(sock: socket.socket, last_words: list[memoryview]) -> None:
    """Close the socket of a peer that is not let in, with the reason as far as it goes out at once."""
    try:
        sock.sendmsg(last_words, [], socket.MSG_DONTWAIT)
        sock.shutdown(socket.SHUT_WR)
    except OSError:  # it is gone already
        pass
    finally:
        sock.close()
