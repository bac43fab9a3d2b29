"""Tells a peer that was cut from one that left: ZeroMQ ends both connections without a word."""

from __future__ import annotations

import itertools
import os
import socket as net
import struct
from collections.abc import Callable
from typing import Any

import zmq

_EVENT = struct.Struct("=Hi")  # number and value of a monitor's event; the value is the connection's descriptor
_EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED
_ESTABLISHED = 1  # tcpi_state, the first byte of struct tcp_info: include/net/tcp_states.h
_numbers = itertools.count()


class PeerWatch:
    """Watches listeners. A connection that ended while the peer's side was still open was cut by us.

    ZeroMQ cuts a peer that sends what is not ZeroMQ, or a part above the limit, and says nothing to either side. So a
    second descriptor of each connection is kept, which outlives ZeroMQ's own and knows whether the peer had left. Of a
    connection that ended before `look` saw its beginning nothing can be known, and nothing is told.
    All methods belong to one thread, except that `add` may be called before that thread runs.

    Args:
        context: The context that the listeners belong to.
        on_cut: Called with the address of the peer and the option of the listener.
    """

    def __init__(self, context: zmq.Context[Any], on_cut: Callable[[str, str], None]) -> None:
        self._context = context
        self._on_cut = on_cut
        self.cut = 0
        self.monitors: list[zmq.Socket[Any]] = []
        """Call `look` when one of these can be read."""
        self._listeners: list[zmq.Socket[Any]] = []
        self._options: dict[zmq.Socket[Any], str] = {}
        self._connections: dict[tuple[str, int], int] = {}

    def add(self, listener: zmq.Socket[Any], option: str) -> None:
        """Watch a listener; call before it is bound."""
        address = f"inproc://peer-watch-{next(_numbers)}"
        listener.monitor(address, _EVENTS)
        self._listeners.append(listener)
        monitor = self._context.socket(zmq.PAIR)
        monitor.linger = 0
        monitor.rcvhwm = 0  # a full monitor would hold up the I/O thread of the whole context
        monitor.connect(address)
        self.monitors.append(monitor)
        self._options[monitor] = option

    def look(self) -> None:
        """Take what has happened."""
        for monitor in self.monitors:
            while monitor.getsockopt(zmq.EVENTS) & zmq.POLLIN:  # type: ignore[operator]
                event, fd = _EVENT.unpack(monitor.recv_multipart()[0])
                self._take(self._options[monitor], event, fd)

    def close(self) -> None:
        """Stop watching. Close the listeners before, or the threads that use them must have ended."""
        for listener in self._listeners:
            if not listener.closed:
                listener.disable_monitor()  # before its reader goes, for whom ZeroMQ's I/O thread would wait for ever
        for monitor in self.monitors:
            monitor.close()
        for duplicate in self._connections.values():
            os.close(duplicate)
        self.monitors, self._listeners, self._connections = [], [], {}

    def _take(self, option: str, event: int, fd: int) -> None:
        duplicate = self._connections.pop((option, fd), None)
        if event == zmq.EVENT_ACCEPTED:
            try:
                self._connections[option, fd] = os.dup(fd)
            except OSError:
                pass  # it has gone already
        elif event == zmq.EVENT_DISCONNECTED and duplicate is not None and (peer := _still_open(duplicate)):
            self.cut += 1
            self._on_cut(peer, option)
        if duplicate is not None:
            os.close(duplicate)


def _still_open(fd: int) -> str:
    """Return the peer's address if its side of the connection is open, else nothing."""
    try:
        with net.socket(fileno=os.dup(fd)) as connection:
            if connection.getsockopt(net.IPPROTO_TCP, net.TCP_INFO, 1)[0] != _ESTABLISHED:
                return ""
            host, port = connection.getpeername()[:2]
            return f"{host}:{port}"
    except OSError:
        return ""
