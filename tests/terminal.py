"""A terminal for a program under test: what it shows, what is typed, and the moment when its window is closed."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from labwire.testing.processes import end_by_force

LIMIT_S = 20.0


class Terminal:
    """A program and the terminal that it was started from."""

    def __init__(self, process: subprocess.Popen[bytes], master: int, env: dict[str, str]) -> None:
        self.process, self.env, self._master = process, env, master
        self.shown = b""

    def wait_for(self, *texts: str) -> None:
        """Wait until these texts have been shown, one after the other."""
        deadline, at = time.monotonic() + LIMIT_S, 0
        for text in map(str.encode, texts):
            while (found := self.shown.find(text, at)) < 0:
                assert time.monotonic() < deadline, f"{text!r} was not shown:\n{self.shown.decode()}"
                assert self._read(), f"it ended:\n{self.shown.decode()}"
            at = found + len(text)

    def type(self, text: str) -> None:
        """Type."""
        os.write(self._master, text.encode())

    def close(self) -> None:
        """Close the window: the system hangs up on whoever was started from it."""
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def end(self) -> int:
        """Read until the program has ended; return its exit status."""
        while self._master >= 0 and self._read():
            pass
        return self.process.wait(LIMIT_S)

    def _read(self) -> bool:
        if not select.select([self._master], [], [], LIMIT_S)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # how a terminal says that nobody is left
            return False
        self.shown += data
        return bool(data)


@contextmanager
def on_a_terminal(command: Sequence[str], *, env: dict[str, str], cwd: Path) -> Iterator[Terminal]:
    """Run a program as a shell does in a new window: the terminal is its own, and closing it hangs up on it."""
    master, slave = pty.openpty()
    try:
        process = subprocess.Popen(
            command,
            env={**env, "TERM": "xterm"},
            cwd=cwd,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - this process has one thread here
        )
    finally:
        os.close(slave)
    terminal = Terminal(process, master, env)
    try:
        yield terminal
    finally:
        end_by_force(process)
        terminal.close()
