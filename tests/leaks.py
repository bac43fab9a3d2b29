"""What a process holds that a test may leave behind: threads, child processes, sockets, shared memory.

As a program, ``python tests/leaks.py MARK`` is the guard of a test run: when the run has ended, in whatever way, it
ends the processes that the run started and left.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

GRACE_S = 20.0
"""How long an ending thread, process or socket is waited for."""

_STEP_S = 0.01
_MARK = "LABWIRE_TEST_RUN"
_PROC = Path("/proc")
_SHM = Path("/dev/shm")
# Of all that the machine keeps there: queues, waveforms, and what Python and glibc would make for us.
_OUR_SEGMENTS = ("instrument_", "labwire", "psm_", "sem.")
_HELD = ("socket:", "/memfd:", "anon_inode:[pidfd]", "/dev/shm/")
# Made once by the interpreter on first use and kept until it exits.
_KEPT_BY_PYTHON = (b"multiprocessing.resource_tracker", b"multiprocessing.forkserver")


def mark_children() -> subprocess.Popen[bytes]:
    """Put a mark of this run into the environment that every child, grandchild and orphan inherits.

    Returns:
        The guard: it ends what bears the mark when its standard input closes, so also when this process is killed.
    """
    mark = uuid.uuid4().hex
    unmarked = {key: value for key, value in os.environ.items() if key != _MARK}
    command = [sys.executable, "-I", __file__, mark]
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, env=unmarked, start_new_session=True)
    os.environ[_MARK] = mark
    return guard


def end_what_is_left() -> list[str]:
    """End the processes that this run started and that are still there after the grace; return a line for each."""
    mark = os.environ[_MARK]
    until = time.monotonic() + GRACE_S
    while (left := marked_processes(mark)) and time.monotonic() < until:
        time.sleep(_STEP_S)
    _kill_marked(mark)
    return [f"process {pid}: {command}" for pid, command in left.items()]


def marked_processes(mark: str) -> dict[str, str]:
    """Return number and command of each process that bears a mark."""
    found = {pid: _command_of_marked(pid, mark) for pid in _pids() if pid != str(os.getpid())}
    return {pid: command for pid, command in found.items() if command}


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
            native_threads=frozenset(_native_threads()),
            pids=frozenset(_pids()),
            descriptors=frozenset(_descriptors()),
            segments=_segments(),
        )

    def wait_for_leaks_to_end(self) -> list[str]:
        """Return one line per thing that is new since this snapshot and still there after the grace."""
        until = time.monotonic() + GRACE_S
        segments = self._new_segments()
        leaks = [*self._leaks(), *segments]
        if leaks:
            gc.collect()  # a socket held only by a reference cycle is not a leak
        while leaks and time.monotonic() < until:
            time.sleep(_STEP_S)
            # Those of the whole machine: tests beside these make some all the time, but none of them stays.
            segments = [line for line in self._new_segments() if line in segments]
            leaks = [*self._leaks(), *segments]
        return leaks

    def _leaks(self) -> Iterator[str]:
        for thread in threading.enumerate():
            if id(thread) not in self.threads:
                yield f"thread {thread.name!r}{' (daemon)' if thread.daemon else ''}"
        if extra := frozenset(zmq_threads()) - self.native_threads:
            yield f"a ZeroMQ context that was not terminated ({len(extra)} background threads)"
        for pid in frozenset(_pids()) - self.pids:
            if command := _command_of_marked(pid, os.environ[_MARK]):
                yield f"process {pid}: {command}"
        for descriptor in sorted(frozenset(_descriptors()) - self.descriptors):
            yield f"open descriptor {descriptor}"

    def _new_segments(self) -> list[str]:
        new = _segments() - self.segments
        strangers = _mapped_by_strangers() if new else frozenset[str]()
        return [f"shared memory {_SHM / name}" for name in sorted(new - strangers)]


def _segments() -> frozenset[str]:
    if not _SHM.is_dir():
        return frozenset()
    with os.scandir(_SHM) as entries:  # a folder is what another program stores there, such as a benchmark of ours
        ours = [entry for entry in entries if entry.name.startswith(_OUR_SEGMENTS)]
        return frozenset(entry.name for entry in ours if not entry.is_dir(follow_symlinks=False))


def _native_threads() -> list[str]:
    # All of them: a thread of libzmq's that has just begun does not bear its name yet.
    return os.listdir("/proc/self/task") if sys.platform == "linux" else []


def zmq_threads() -> Iterator[str]:
    """Yield the numbers of libzmq's own threads in this process."""
    for task in _native_threads():
        if _read(_PROC / "self/task" / task / "comm").startswith(b"ZMQbg"):
            yield task


def _mapped_by_strangers() -> frozenset[str]:
    """Return what processes outside of this run have mapped: the machine may do something else as well."""
    mark = os.environ[_MARK]
    folder = f"{_SHM}/".encode()
    strangers = (pid for pid in _pids() if pid != str(os.getpid()) and not _command_of_marked(pid, mark))
    lines = (line for pid in strangers for line in _read(_PROC / pid / "maps").splitlines() if folder in line)
    return frozenset(line.partition(folder)[2].decode(errors="replace") for line in lines)


def _pids() -> Iterator[str]:
    return (name for name in os.listdir(_PROC) if name.isdigit()) if _PROC.is_dir() else iter(())


def _command_of_marked(pid: str, mark: str) -> str:
    # A zombie has an empty environment, so it does not count: Popen itself warns about a child that was not waited for.
    if f"{_MARK}={mark}".encode() not in _read(_PROC / pid / "environ").split(b"\0"):
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


def _kill_marked(mark: str) -> None:
    until = time.monotonic() + GRACE_S  # again, as one that ends may have started another
    while (left := marked_processes(mark)) and time.monotonic() < until:
        for pid in left:
            try:
                os.kill(int(pid), signal.SIGKILL)
            except OSError:  # it has just ended
                pass
        time.sleep(_STEP_S)


if __name__ == "__main__":
    sys.stdin.buffer.read()
    _kill_marked(sys.argv[1])
