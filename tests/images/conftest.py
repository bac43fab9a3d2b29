"""What the tests of image streams share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import zmq

from tests.images.tcp_bench import TcpBench

_LARGE = bytes(1 << 17)  # pyzmq copies what is smaller


@pytest.fixture(scope="session", autouse=True)
def pyzmq_collector() -> None:
    """Send without a copy once: pyzmq then starts a thread of its own, which stays and is nobody's leak."""
    context: zmq.Context[Any] = zmq.Context()
    with context.socket(zmq.PAIR) as left, context.socket(zmq.PAIR) as right:
        left.bind("inproc://warm-up")
        right.connect("inproc://warm-up")
        left.send(_LARGE, copy=False)
        right.recv()
    context.term()


@pytest.fixture
def bench() -> Iterator[TcpBench]:
    """A TCP image stream, closed at the end together with its writers."""
    with ExitStack() as stack:
        yield TcpBench(stack)
