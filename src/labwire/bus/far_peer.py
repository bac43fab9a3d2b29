"""Notice that a peer on another computer has gone without a word: a cable was pulled, a computer lost its power.

TCP itself says nothing then: whoever only listens would listen for ever, and whoever sends would try for a quarter of
an hour. ZeroMQ connects again by itself as soon as the loss is noticed.
"""

from __future__ import annotations

import contextlib
from typing import Any

import zmq

IDLE_S, ASK_EVERY_S, ASKED = 2, 1, 3
"""A connection that has been silent for 2 s is asked once a second; after 3 questions without an answer it is lost."""
UNSENT_LIMIT_MS = 5000
"""A connection over which nothing has got through for so long is lost."""


_HERE = ("tcp://127.", "tcp://localhost", "inproc:", "ipc:")


def notice_loss(socket: zmq.Socket[Any], url: str = "") -> None:
    """Have a socket notice within about 5 s that a peer is gone; call before it connects or binds.

    Args:
        socket: The socket.
        url: Where it is going to connect. On this computer, a peer that takes nothing is only busy; on another one,
            what does not get through for `UNSENT_LIMIT_MS` counts as a loss too. Empty for a socket that binds.
    """
    with contextlib.suppress(zmq.ZMQError):  # a system that cannot say so for one connection
        socket.tcp_keepalive = 1
        socket.tcp_keepalive_idle, socket.tcp_keepalive_intvl, socket.tcp_keepalive_cnt = IDLE_S, ASK_EVERY_S, ASKED
        if url and not url.startswith(_HERE):
            socket.setsockopt(zmq.TCP_MAXRT, UNSENT_LIMIT_MS)
