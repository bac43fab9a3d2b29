"""The leak checks find what they are there to find."""

from __future__ import annotations

import itertools
import mmap
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

import pytest
import zmq

from tests import leaks
from tests.leaks import Snapshot

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "GRACE_S", 0.05)


def test_nothing_left_gives_nothing() -> None:
    assert Snapshot.take().wait_for_leaks_to_end() == []


def test_thread_is_found_and_an_ending_one_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    before, stop = Snapshot.take(), threading.Event()
    thread = threading.Thread(target=stop.wait, name="forgotten", daemon=True)
    thread.start()
    assert before.wait_for_leaks_to_end() == ["thread 'forgotten' (daemon)"]
    monkeypatch.setattr(leaks, "GRACE_S", 30.0)
    stop.set()
    assert before.wait_for_leaks_to_end() == []
    thread.join()


def test_orphan_process_is_found() -> None:
    before = Snapshot.take()
    # The child starts a grandchild and ends: the grandchild is nobody's child that we know, and still ours.
    # It says itself who it is: before that it may be one that has not taken over its environment yet.
    say = "import os; print(os.getpid(), flush=True); input()"
    start = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {say!r}], stdin=0)"
    with subprocess.Popen(
        [sys.executable, "-Wignore", "-c", start], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout
        grandchild = child.stdout.readline().strip()
        child.wait()
        found = before.wait_for_leaks_to_end()
    assert any(line.startswith(f"process {grandchild}: ") for line in found), found


def test_socket_is_found() -> None:
    before = Snapshot.take()
    with socket.socket():
        [line] = before.wait_for_leaks_to_end()
    assert "socket:" in line


def test_zmq_context_is_found() -> None:
    before = Snapshot.take()
    with zmq.Context() as context, context.socket(zmq.PUB):
        while before.native_threads.issuperset(leaks.zmq_threads()):
            pass  # a thread has its name only after its first moment
        found = before.wait_for_leaks_to_end()
    assert any("ZeroMQ context" in line for line in found), found


def test_shared_memory_is_found() -> None:
    before = Snapshot.take()
    segment = Path("/dev/shm") / f"labwire-{uuid.uuid4().hex}"
    segment.write_bytes(bytes(mmap.PAGESIZE))
    try:
        assert f"shared memory {segment}" in before.wait_for_leaks_to_end()
    finally:
        segment.unlink()


def test_segments_that_others_make_and_remove_are_no_leaks(monkeypatch: pytest.MonkeyPatch) -> None:
    before, numbers = Snapshot.take(), itertools.count()
    monkeypatch.setattr(leaks, "GRACE_S", 30.0)
    monkeypatch.setattr(leaks, "_segments", lambda: before.segments | {f"instrument_X{next(numbers)}_req"})
    assert before.wait_for_leaks_to_end() == []


def test_files_of_another_program_are_no_segments() -> None:
    before = Snapshot.take()
    with tempfile.TemporaryDirectory(prefix="labwire-benchmark-", dir="/dev/shm") as folder:
        (Path(folder) / "images").write_bytes(b"x")
        assert before.wait_for_leaks_to_end() == []


def test_memfd_is_found() -> None:
    before = Snapshot.take()
    fd = os.memfd_create("labwire-test")
    try:
        assert any("memfd:labwire-test" in line for line in before.wait_for_leaks_to_end())
    finally:
        os.close(fd)


LEAVING = """
import subprocess, sys
from tests.leaks import mark_children
guard = mark_children()
left = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
print(left.pid, flush=True)
sys.stdin.read()
"""


def cmdline(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:  # it has just ended
        return b""


def test_a_run_that_is_killed_leaves_no_process() -> None:
    command = [sys.executable, "-Wignore", "-c", LEAVING]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdout
        left = Path("/proc") / run.stdout.readline().decode().strip()
        assert left.exists()
        run.kill()
    until = time.monotonic() + 20
    while b"input()" in cmdline(left):
        assert time.monotonic() < until, "the guard does not end it"
        time.sleep(0.01)


def test_what_is_left_at_the_end_of_a_run_is_ended_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "GRACE_S", 0.1)
    monkeypatch.setenv("LABWIRE_TEST_RUN", uuid.uuid4().hex)
    assert leaks.end_what_is_left() == []
    command = [sys.executable, "-c", "print('here', flush=True); input()"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, start_new_session=True) as left:
        assert left.stdout
        assert left.stdout.readline(), "a process that has just been made does not bear the mark yet"
        [line] = leaks.end_what_is_left()
        assert line.startswith(f"process {left.pid}: ")
        assert left.wait() == -signal.SIGKILL
