"""The time service, and who asks it."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from labwire.errors import DeadlineError, PeerGoneError, ProtocolError
from labwire.testing.waiting import wait_until
from labwire.time_sync import ask_master as asking
from labwire.time_sync.ask_master import ask_master
from labwire.time_sync.time_service import MAX_CONNECTIONS, TimeService
from labwire.wire.time_sync import decode_time


@pytest.fixture
def service() -> Iterator[TimeService]:
    with TimeService(lambda: time.monotonic() + 77.0) as service:
        yield service


def connection_to(service: TimeService) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), 10)


def test_the_offset_is_found(service: TimeService) -> None:
    found = ask_master("127.0.0.1", service.port)
    assert abs(found.offset_s - 77.0) <= found.uncertainty_s + 1e-9
    assert found.uncertainty_s < 0.5


def test_it_answers_sync_and_nothing_else(service: TimeService) -> None:
    with connection_to(service) as asker:
        asker.sendall(b"time")
        asker.settimeout(0.05)
        with pytest.raises(TimeoutError):
            asker.recv(8)
        asker.settimeout(10)
        for _ in range(3):
            asker.sendall(b"sync")
            assert decode_time(asker.recv(8)) > 77


def test_strangers_and_crowds_are_refused() -> None:
    with TimeService(time.monotonic, allows=lambda _: False) as closed, connection_to(closed) as asker:
        assert asker.recv(1) == b""
        assert closed.refused == 1
    with TimeService(time.monotonic) as service, contextlib.ExitStack() as crowd:
        for _ in range(MAX_CONNECTIONS):
            asker = crowd.enter_context(connection_to(service))
            asker.sendall(b"sync")
            assert len(asker.recv(8)) == 8
        with connection_to(service) as asker:
            assert asker.recv(1) == b""
        asker = crowd.pop_all()
        asker.close()
        wait_until(lambda: ask_once(service), "room for another one")


def ask_once(service: TimeService) -> bool:
    try:
        return bool(ask_master("127.0.0.1", service.port, count=1))
    except (PeerGoneError, DeadlineError):
        return False


def test_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(PeerGoneError):
        ask_master("127.0.0.1", port)


def test_somebody_else_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(DeadlineError):
        ask_master("127.0.0.1", server.getsockname()[1])
    with TimeService(lambda: float("inf")) as service, pytest.raises(ProtocolError):
        ask_master("127.0.0.1", service.port)
