"""What a process holds that a test may leave behind: threads, child processes, sockets, shared memory."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

GRACE_S = 2.0
"""How long an ending thread, process or socket is waited for."""

_STEP_S = 0.01
_MARK = "LABWIRE_TEST_RUN"
_PROC = Path("/proc")
_SHM = Path("/dev/shm")
_HELD = ("socket:", "/memfd:", "anon_inode:[pidfd]", "/dev/shm/")
# Made once by the interpreter on first use and kept until it exits.
_KEPT_BY_PYTHON = (b"multiprocessing.resource_tracker", b"multiprocessing.forkserver")


def mark_children() -> None:
    """Put a mark of this run into the environment that every child, grandchild and orphan inherits."""
    os.environ[_MARK] = uuid.uuid4().hex


class Snapshot(NamedTuple):
    """What this process, and the machine, hold at one moment."""

    threads: frozenset[int]
    native_threads: frozenset[str]
    pids: frozenset[str]
    descriptors: frozenset[str]
    segments: frozenset[str]

    @classmethod
    def take(cls) -> Snapshot:
        """Look now."""
        return cls(
            threads=frozenset(id(thread) for thread in threading.enumerate()),
            native_threads=frozenset(zmq_threads()),
            pids=frozenset(_pids()),
            descriptors=frozenset(_descriptors()),
            segments=frozenset(os.listdir(_SHM)) if _SHM.is_dir() else frozenset(),
        )

    def wait_for_leaks_to_end(self) -> list[str]:
        """Return one line per thing that is new since this snapshot and still there after the grace."""
        until = time.monotonic() + GRACE_S
        leaks = list(self._leaks())
        if leaks:
            gc.collect()  # a socket held only by a reference cycle is not a leak
        while leaks and time.monotonic() < until:
            time.sleep(_STEP_S)
            leaks = list(self._leaks())
        return leaks

    def _leaks(self) -> Iterator[str]:
        for thread in threading.enumerate():
            if id(thread) not in self.threads:
                yield f"thread {thread.name!r}{' (daemon)' if thread.daemon else ''}"
        if extra := frozenset(zmq_threads()) - self.native_threads:
            yield f"a ZeroMQ context that was not terminated ({len(extra)} background threads)"
        for pid in frozenset(_pids()) - self.pids:
            if command := _command_of_our_child(pid):
                yield f"process {pid}: {command}"
        for descriptor in sorted(frozenset(_descriptors()) - self.descriptors):
            yield f"open descriptor {descriptor}"
        if _SHM.is_dir():
            for name in sorted(frozenset(os.listdir(_SHM)) - self.segments):
                yield f"shared memory {_SHM / name}"


def zmq_threads() -> Iterator[str]:
    """Yield the numbers of libzmq's own threads in this process."""
    if sys.platform != "linux":
        return
    for task in os.listdir("/proc/self/task"):
        if _read(_PROC / "self/task" / task / "comm").startswith(b"ZMQbg"):
            yield task


def _pids() -> Iterator[str]:
    return (name for name in os.listdir(_PROC) if name.isdigit()) if _PROC.is_dir() else iter(())


def _command_of_our_child(pid: str) -> str:
    # A zombie has an empty environment, so it does not count: Popen itself warns about a child that was not waited for.
    mark = f"{_MARK}={os.environ[_MARK]}".encode()
    if mark not in _read(_PROC / pid / "environ").split(b"\0"):
        return ""
    command = _read(_PROC / pid / "cmdline")
    if any(kept in command for kept in _KEPT_BY_PYTHON):
        return ""
    return command.replace(b"\0", b" ").decode(errors="replace").strip() or "?"


def _descriptors() -> Iterator[str]:
    if sys.platform != "linux":
        return
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:  # the descriptor that listed the folder, or closed meanwhile
            continue
        if target.startswith(_HELD):
            yield f"{fd}: {target}"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # ended meanwhile, or somebody else's
        return b""
