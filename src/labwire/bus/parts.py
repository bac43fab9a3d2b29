"""Sends and reads the parts of a message at the least cost.

This runs for every part of a stream. pyzmq's own `send` looks for what only draft sockets know and costs twice what the
call below it does; its `send_multipart` looks at every part first and costs six times as much.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import zmq
import zmq.backend

from labwire.wire.bus_message import Part

# Plain integers: pyzmq's enumerations cost a microsecond where they are combined.
_MORE = int(zmq.SNDMORE)
_NOBLOCK = int(zmq.NOBLOCK)

SendPart: TypeAlias = Callable[[zmq.Socket[Any], Part, int], object]

send_part: SendPart = zmq.backend.Socket.send
"""Sends one part, given the socket and ZeroMQ's flags as a plain integer; ``zmq.Again`` if there is no room."""


def send_parts(socket: zmq.Socket[Any], parts: Sequence[bytes]) -> None:
    """Send a message of at least one part; waits as long as the socket does.

    Raises:
        zmq.Again: There was no room in time; nothing was sent.
    """
    last = len(parts) - 1
    for number, part in enumerate(parts):
        send_part(socket, part, _MORE if number < last else 0)


def parts_of(socket: zmq.Socket[Any], frame: zmq.Frame) -> list[bytes]:
    """Return a message that begins with a frame; a frame knows whether more follow, asking the socket takes longer."""
    parts = [frame.bytes]
    while frame.more:
        frame = socket.recv(_NOBLOCK, copy=False)
        parts.append(frame.bytes)
    return parts
