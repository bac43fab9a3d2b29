"""Processes that a test starts: all of them end with the test, children of children too, also when it fails."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import IO

LIMIT_S = 20.0
"""How long a process may take to end."""

_PROC = Path("/proc")


@contextlib.contextmanager
def running_process(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    stdout: int | IO[bytes] = subprocess.PIPE,
    stderr: int | IO[bytes] = subprocess.PIPE,
) -> Generator[subprocess.Popen[bytes]]:
    """Run a program beside a block; at its end, end by force what is left of it and of all that it started.

    >>> with running_process([sys.executable, "-m", "labwire", "sub", "pupil."]) as process:  # doctest: +SKIP
    ...     process.stdout.readline()

    Args:
        command: Program and arguments.
        env: Its environment; None means this process's.
        cwd: Where it runs; None means here.
        stdin: As for `subprocess.Popen`.
        stdout: As for `subprocess.Popen`.
        stderr: As for `subprocess.Popen`.
    """
    # A session of its own: a rig's actors have process groups of their own, but all are of one session.
    process = subprocess.Popen(
        command, env=env, cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True
    )
    try:
        yield process
    finally:
        end_by_force(process)


def end_by_force(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that leads a session, and all others of that session, and close its pipes."""
    if process.poll() is None:
        process.kill()
    process.wait(LIMIT_S)
    for row in left_behind(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(row.partition(":")[0]), signal.SIGKILL)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe and not pipe.closed:
            with contextlib.suppress(OSError):  # what was not yet written has no reader any more
                pipe.close()


def left_behind(session: int) -> list[str]:
    """Return number and command of each process of a session that is still there, without the one that leads it.

    Args:
        session: Process number of the one that leads it. Linux only; elsewhere nothing is found.
    """
    found: list[str] = []
    for entry in _PROC.iterdir() if _PROC.is_dir() else ():
        if entry.name.isdigit() and int(entry.name) not in {session, os.getpid()}:
            with contextlib.suppress(OSError, ValueError, IndexError):  # it has ended meanwhile
                state, _, _, of_session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(of_session) == session and state != "Z":
                    found.append(f"{entry.name}: {(entry / 'cmdline').read_bytes().replace(bytes(1), b' ').decode()}")
    return found
