"""What the tests of image streams share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.images.tcp_bench import TcpBench


@pytest.fixture
def bench() -> Iterator[TcpBench]:
    """A TCP image stream, closed at the end together with its writers."""
    with ExitStack() as stack:
        yield TcpBench(stack)
