"""A worker in C++ with Boost's own queues under labwire's server, in both creation orders, whatever happens to it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from labwire.errors import CommandFailedError, DeadlineError, PeerGoneError
from labwire.instruments.status import State
from tests.instruments.server_kit import config, serving, unique, wait_until
from tests.interop.peers import boost_peer

CPP1 = unique("CPP1")


@contextmanager
def worker(name: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([boost_peer(), "echo-worker", name, *arguments])
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if "create" in arguments:  # a killed creator leaves them; those of the server are the server's
            for queue in ("req", "resp"):
                Path(f"/dev/shm/instrument_{name}_{queue}").unlink(missing_ok=True)


@pytest.mark.parametrize("how", ["open", "create"])
@pytest.mark.parametrize("profile", ["spec", "native"])
@pytest.mark.parametrize("first", ["server", "worker"])
def test_commands(how: str, profile: str, first: str) -> None:
    layout = ["native"] if profile == "native" else []
    boost_peer()
    with serving() as (server, events):
        options = config(external=True, queue="boost", profile=profile)
        if first == "server":
            server.add(CPP1, options)
        with worker(CPP1, how, *layout) as process:
            if first == "worker":
                if how == "create":
                    wait_until(Path(f"/dev/shm/instrument_{CPP1}_resp").exists)
                server.add(CPP1, options)
            events.wait_for("started")
            params = {"range": 10.0, "samples": 100}
            assert server.call(CPP1, "MEASURE_VOLTAGE", params) == params
            response = server.execute(CPP1, "ECHO", {"a": [1, 2], "b": 'a "text"'})
            assert response.return_value == {"a": [1, 2], "b": 'a "text"'}
            assert response.text_response == "from C++"
            assert list(server.map(CPP1, "ECHO", [{"n": n} for n in range(300)])) == [{"n": n} for n in range(300)]
            with pytest.raises(CommandFailedError, match=r"failed as asked \(error code 7\)"):
                server.call(CPP1, "FAIL")
            with pytest.raises(DeadlineError):
                server.call(CPP1, "SILENT", timeout_ms=50)
            assert server.call(CPP1, "SLEEP", {"s": 0.01}) == {"s": 0.01}
            server.stop(CPP1)
            assert process.wait(20) == 0
        assert server.status(CPP1).protocol_errors == 0


@pytest.mark.parametrize("verb", ["CRASH", "FATAL"])
def test_its_death(verb: str) -> None:
    boost_peer()
    with serving() as (server, events):
        server.add(CPP1, config(external=True, queue="boost"))
        for number in (1, 2):
            with worker(CPP1, "open"):
                events.wait_for("started" if number == 1 else "restarted")
                with pytest.raises(PeerGoneError, match=f"Worker died: {CPP1}"):
                    server.call(CPP1, verb, timeout_ms=60_000)
                events.wait_for("died", number)
            wait_until(lambda: server.status(CPP1).state is State.WAITING)
