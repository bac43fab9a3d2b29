"""The server over one kind of queue: everything that it offers, once."""

from __future__ import annotations

import signal

import pytest

from labwire.errors import CommandFailedError, DeadlineError, PeerGoneError
from labwire.instruments.status import State
from tests.instruments.server_kit import arrays_left, config, kill, serving, unique


def everything_once(queue: str, profile: str) -> None:
    """Do it.

    Raises:
        ResourceError: This machine forbids that kind of queue.
    """
    import numpy as np

    name = unique("DMM1")
    with serving() as (server, events):
        server.add(name, config(queue=queue, profile=profile))
        assert server.call(name, "MEASURE_VOLTAGE", {"range": 2.0, "samples": 3}) == 6.0
        assert server.submit(name, "ECHO", {"value": [1, None, "x"]}).result() == [1, None, "x"]
        assert list(server.map(name, "ECHO", [{"value": n} for n in range(500)])) == list(range(500))
        assert (server.call(name, "ARRAY", {"points": 50_000}) == np.arange(50_000)).all()
        with server.acquire(name, "BLOCKS", {"points": 10}) as blocks:
            assert [next(blocks)[0] for _ in range(20)] == list(range(20))
        with pytest.raises(CommandFailedError):
            server.call(name, "FAIL")
        with pytest.raises(DeadlineError):
            server.call(name, "SLEEP", {"duration_s": 0.1}, timeout_ms=20)
        assert server.barrier([name]).waited_s >= 0
        assert server.ping(name) > 0
        assert [state.kind for state in server.queue_states(name)] == [queue, queue]
        future = server.submit(name, "SLEEP", {"duration_s": 60}, timeout_ms=60_000)
        kill(server, name, signal.SIGKILL)
        with pytest.raises(PeerGoneError):
            future.result()
        assert server.call(name, "ECHO", {"value": "x" * 20_000}) == "x" * 20_000
        server.stop(name)
        assert server.status(name).state is State.STOPPED
        assert server.status(name).protocol_errors == 0
    assert not arrays_left()
    assert events.kinds().count("died") == 1
