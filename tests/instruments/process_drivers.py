"""Drivers that the tests run in worker processes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from labwire.instruments.driver import Driver, Waveform
from labwire.instruments.worker import heartbeat
from labwire.strict import Strict


class Noter(Driver):
    """Writes into a file what happens to it."""

    class Config(Strict):
        """Options."""

        notes: str
        orphan_limit_s: float = 5.0

    options: Config

    def open(self) -> None:
        heartbeat.ORPHAN_LIMIT_S = self.options.orphan_limit_s
        self._note("open")
        print("printed by the driver")
        self.log.warning("logged by the driver: %d", 42)

    def close(self) -> None:
        self._note("close")

    def sleep(self, seconds: float) -> float:
        self._note("sleep")
        try:
            time.sleep(seconds)
        finally:
            self._note("end of sleep")
        return seconds

    def hang_in_c(self) -> None:
        """Wait where no signal and no exception gets through."""
        import ctypes

        self._note("hang")
        libc = ctypes.CDLL(None)
        while True:
            libc.pause()

    def waveform(self, points: int) -> Waveform:
        import numpy as np

        return np.zeros(points)

    def facts(self) -> dict[str, Any]:
        """Tell what this process may do."""
        import resource

        status = Path("/proc/self/status").read_text()
        return {
            "no_new_privs": status.partition("NoNewPrivs:")[2].split()[0],
            "memory": resource.getrlimit(resource.RLIMIT_AS),
            "files": resource.getrlimit(resource.RLIMIT_NOFILE),
            "cpu": resource.getrlimit(resource.RLIMIT_CPU),
        }

    def read_input(self) -> str:
        """Do what a driver should not: read standard input."""
        import sys

        return sys.stdin.read()

    def start_child(self) -> int:
        """Start a program that goes on, as some vendors' libraries do."""
        import subprocess

        return subprocess.Popen(["sleep", "60"], close_fds=False).pid

    def burn(self) -> None:
        """Use up processor time."""
        while True:
            pass

    def open_files(self) -> None:
        """Open files until no more can be opened."""
        held = [open("/dev/null") for _ in range(100_000)]  # noqa: SIM115, PTH123
        self.log.info("%d", len(held))

    def take_memory(self, megabytes: int) -> int:
        """Take memory for a moment."""
        return len(bytearray(megabytes << 20))

    def _note(self, text: str) -> None:
        with Path(self.options.notes).open("a") as file:
            file.write(text + "\n")
