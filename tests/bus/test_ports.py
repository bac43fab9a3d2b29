"""Who holds a port, and how far behind a reader is."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from labwire.bus import ports
from labwire.bus.ports import connections, owner_of
from tests.bus.fake_hub import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the system tells of ports under /proc on Linux only")


def test_the_owner_of_a_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        owner = owner_of(server.getsockname()[1])
        assert owner is not None
        assert owner.pid == os.getpid()
        assert "python" in owner.command
        assert str(owner).endswith(f"(pid {os.getpid()})")


def test_the_owner_in_another_process_is_named() -> None:
    code = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        owner = owner_of(int(process.stdout.readline()))
        assert owner is not None
        assert owner.pid == process.pid
        process.communicate(b"\n")


def test_a_free_port_has_no_owner() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert owner_of(port) is None


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_reader_that_does_not_read_is_seen_to_be_behind(family: socket.AddressFamily) -> None:
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    try:
        server = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"no {host} here")
    with server, socket.socket(family) as reader:
        port = server.getsockname()[1]
        reader.connect((host, port))
        writer, _ = server.accept()
        with writer:
            writer.setblocking(False)
            (row,) = connections(port)
            shown = f"[{host}]" if ":" in host else host
            assert row.unsent_bytes == 0
            assert row.peer.rpartition(":")[2] == str(reader.getsockname()[1])
            if family == socket.AF_INET:
                assert row.peer.startswith(shown)
            fill(writer)
            wait_until(lambda: next(connections(port)).unsent_bytes > 0, "unsent bytes")


def fill(writer: socket.socket) -> None:
    try:
        while True:
            writer.send(bytes(65536))
    except BlockingIOError:
        pass


def test_a_system_that_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_TABLES", ("/nowhere",))
    assert list(connections(80)) == []
    assert owner_of(80) is None


def test_a_process_that_ends_meanwhile_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def readlink(path: object) -> str:
        raise FileNotFoundError(str(path))

    with socket.create_server(("127.0.0.1", 0)) as server:
        with monkeypatch.context() as patch:
            patch.setattr(os, "readlink", readlink)
            assert owner_of(server.getsockname()[1]) is None
        assert owner_of(server.getsockname()[1]) is not None
