"""Workers that are not ours: started by somebody else, or lying."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from labwire.errors import (
    CommandFailedError,
    ConfigError,
    DeadlineError,
    PeerGoneError,
    ProtocolError,
    RefusedError,
    StateError,
    UsageError,
)
from labwire.instruments.status import State
from labwire.instruments.supervision import incarnation
from tests.instruments.server_kit import config, serving, unique, wait_until

DMM1, EXT1 = unique("DMM1"), unique("EXT1")
WORKER = Path(__file__).with_name("foreign_worker.py")


@contextmanager
def foreign(name: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, WORKER, name, "boost", *arguments])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture(params=["socket", "boost"])
def lying(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Workers of labwire's that are nothing like it; returns the kind of queue."""
    monkeypatch.setattr(incarnation, "WORKER_COMMAND", (sys.executable, str(WORKER)))
    return request.param


def test_an_external_worker_is_waited_for() -> None:
    with serving() as (server, events):
        server.add(EXT1, config(external=True, queue="boost"))
        assert server.status(EXT1).state is State.WAITING
        with pytest.raises(StateError, match="waits for its worker"):
            server.call(EXT1, "ECHO", {"value": 1})
        with foreign(EXT1) as worker:
            assert events.wait_for("started")["pid"] == worker.pid
            assert server.call(EXT1, "ECHO", {"value": [1, "x"]}) == [1, "x"]
            assert list(server.map(EXT1, "ECHO", [{"value": n} for n in range(200)])) == list(range(200))
            assert [server.submit(EXT1, "ECHO", {"value": n}).result() for n in range(20)] == list(range(20))
            with pytest.raises(CommandFailedError, match="no verb NONSENSE"):
                server.call(EXT1, "NONSENSE")
            assert server.ping(EXT1) > 0
            assert server.describe(EXT1).verbs == []
            for refused in (lambda: server.acquire(EXT1, "ECHO"), lambda: server.barrier([EXT1])):
                with pytest.raises(UsageError, match="one of our own"):
                    refused()
            assert server.status(EXT1).pid == worker.pid
            server.stop(EXT1)
            assert worker.wait(20) == 0
        events.wait_for("stopped")
        assert events.kinds() == ["started", "stopped"]


def test_the_death_of_an_external_worker_is_noticed_at_once() -> None:
    with serving() as (server, events):
        server.add(EXT1, config(external=True, queue="boost", heartbeat_timeout_s=3600))
        with foreign(EXT1) as worker:
            events.wait_for("started")
            future = server.submit(EXT1, "SILENT", timeout_ms=60_000)
            wait_until(lambda: server.status(EXT1).waiting == 1)
            worker.kill()
            with pytest.raises(PeerGoneError, match=f"process {worker.pid} has ended"):
                future.result()
        wait_until(lambda: server.status(EXT1).state is State.WAITING)
        with foreign(EXT1):
            events.wait_for("restarted")
            assert server.call(EXT1, "ECHO", {"value": 1}) == 1


def test_an_external_worker_may_make_the_queues() -> None:
    with foreign(EXT1, "create") as worker, serving() as (server, events):
        wait_until(lambda: (Path(f"/dev/shm/instrument_{EXT1}_resp")).exists())
        server.add(EXT1, config(external=True, queue="boost"))
        events.wait_for("started")
        assert server.call(EXT1, "ECHO", {"value": 1}) == 1
        server.stop(EXT1)
        assert worker.wait(20) == 0


def test_an_external_worker_may_replace_the_queues() -> None:
    with serving() as (server, events):
        server.add(EXT1, config(external=True, queue="boost"))
        with foreign(EXT1, "create"):
            events.wait_for("started")
            assert server.call(EXT1, "ECHO", {"value": 1}) == 1
        wait_until(lambda: server.status(EXT1).state is State.WAITING)  # and what the dead one left is ours again


def test_a_socket_cannot_be_external() -> None:
    with serving() as (server, _), pytest.raises(ConfigError, match="use boost"):
        server.add(EXT1, config(external=True, queue="socket"))


def test_lies_are_no_success(lying: str) -> None:
    with serving() as (server, events):
        server.add(DMM1, config(queue=lying))
        for verb, error in [
            ("WRONG_ID", ProtocolError),
            ("BAD_JSON", ProtocolError),
            ("NOT_SUCCESS", ProtocolError),
            ("A_BLOCK", ProtocolError),
            ("ERROR", ProtocolError),
        ]:
            with pytest.raises(error):
                server.call(DMM1, verb)
            with pytest.raises(error):
                server.submit(DMM1, verb).result()
        assert server.call(DMM1, "TWICE") == 1
        assert server.call(DMM1, "ECHO", {"value": 1}) == 1
        status = server.status(DMM1)
        assert status.state is State.READY
        assert status.protocol_errors >= 9
        assert status.restarts == 0
        assert events.of("protocol_error")


def test_garbage_by_the_thousand_harms_nobody(lying: str, seed: int) -> None:
    with serving() as (server, events):
        server.add(DMM1, config(queue=lying))
        futures = [
            server.submit(DMM1, "GARBAGE", {"seed": seed + number, "count": 500}, timeout_ms=30_000)
            for number in range(4)
        ]
        after = [server.submit(DMM1, "ECHO", {"value": number}, timeout_ms=30_000) for number in range(30)]
        for future in futures:
            try:
                assert future.result() == "true"
            except ProtocolError:
                pass  # garbage that pretended to be its answer
        for number, future in enumerate(after):
            try:
                assert future.result() == number
            except ProtocolError:
                pass
        assert server.call(DMM1, "ECHO", {"value": "still there"}) == "still there"
        status = server.status(DMM1)
        assert status.protocol_errors >= 1000
        assert status.restarts == 0
        assert 0 < len(events.of("protocol_error")) < 1000  # counted all, told some


def test_a_fatal_error_is_a_death(lying: str) -> None:
    with serving() as (server, events):
        server.add(DMM1, config(queue=lying))
        pid = server.status(DMM1).pid
        with pytest.raises(PeerGoneError, match="Plugin crashed: segmentation fault"):
            server.call(DMM1, "FATAL", timeout_ms=60_000)
        assert server.call(DMM1, "PID") != pid
        assert "Plugin crashed" in events.wait_for("died")["why"]


def test_silence_is_a_death(lying: str) -> None:
    with serving() as (server, _):
        server.add(DMM1, config(queue=lying, heartbeat_timeout_s=2.0))
        with pytest.raises(PeerGoneError, match="no heartbeat"):
            server.call(DMM1, "SILENT", timeout_ms=60_000)
        assert server.call(DMM1, "ECHO", {"value": 1}) == 1


def test_what_was_answered_before_a_death_is_not_lost(lying: str) -> None:
    with serving() as (server, _):
        server.add(DMM1, config(queue=lying))
        for _ in range(5):
            first = server.submit(DMM1, "HALF")
            try:
                # The next worker answers, if this was sent so late.
                assert server.submit(DMM1, "ECHO", {"value": 2}).result() == 2
            except PeerGoneError:
                pass
            assert first.result() == "whole"
            wait_until(lambda: server.status(DMM1).state is State.READY)


def test_names_removed_under_a_running_pair_do_not_matter() -> None:
    with serving() as (server, _):
        server.add(DMM1, config(queue="boost"))
        for name in (f"instrument_{DMM1}_req", f"instrument_{DMM1}_resp"):
            Path("/dev/shm", name).unlink()
        assert list(server.map(DMM1, "ECHO", [{"value": n} for n in range(300)])) == list(range(300))
        with pytest.raises(PeerGoneError):
            server.call(DMM1, "CRASH")
        assert server.call(DMM1, "ECHO", {"value": 1}) == 1


def test_a_name_that_somebody_serves_is_refused() -> None:
    with serving() as (first, _), serving() as (second, _):
        first.add(DMM1, config(queue="boost"))
        with pytest.raises(RefusedError, match=f"served already, by process {os.getpid()}") as caught:
            second.add(DMM1, config(queue="boost"))
        assert caught.value.data["pid"] == os.getpid()
        assert second.names() == []
        assert first.call(DMM1, "ECHO", {"value": 1}) == 1
        first.remove(DMM1)
        second.add(DMM1, config(queue="boost"))
        assert second.call(DMM1, "ECHO", {"value": 1}) == 1


def test_what_a_dead_server_left_is_removed() -> None:
    left = [Path(f"/dev/shm/instrument_{DMM1}_req"), Path(f"/dev/shm/labwire_1_{DMM1}_1_0")]
    for path in left:
        path.write_bytes(b"\0" * 100)
    with serving() as (server, _):
        server.add(DMM1, config(queue="boost"))
        assert server.call(DMM1, "ECHO", {"value": 1}) == 1
    assert not any(path.exists() for path in left)


def test_a_stopped_foreign_worker_is_no_death_before_its_heartbeats_are_missed() -> None:
    with serving() as (server, events):
        server.add(EXT1, config(external=True, queue="boost", heartbeat_timeout_s=2.0))
        with foreign(EXT1) as worker:
            events.wait_for("started")
            worker.send_signal(signal.SIGSTOP)
            with pytest.raises(DeadlineError):
                server.call(EXT1, "ECHO", {"value": 1}, timeout_ms=100)
            died = events.wait_for("died")
            assert "no heartbeat" in died["why"]
            assert died["external"] is True, "nobody here starts it again"
