"""A peer on another computer that goes without a word; tests/network pulls the cable."""

from __future__ import annotations

from typing import Any

import pytest
import zmq

from labwire.bus.far_peer import UNSENT_LIMIT_MS, notice_loss


@pytest.mark.parametrize(
    ("url", "limit_ms"),
    [
        ("", 0),
        ("tcp://127.0.0.1:50020", 0),
        ("inproc://rpc", 0),
        ("tcp://192.168.1.7:50020", UNSENT_LIMIT_MS),
        ("tcp://lab-3:50020", UNSENT_LIMIT_MS),
    ],
)
def test_silence_is_asked_about_and_only_far_peers_must_take_what_is_sent(url: str, limit_ms: int) -> None:
    context: zmq.Context[Any] = zmq.Context()
    with context, context.socket(zmq.DEALER) as socket:
        notice_loss(socket, url)
        assert socket.tcp_keepalive == 1
        assert socket.getsockopt(zmq.TCP_MAXRT) == limit_ms
