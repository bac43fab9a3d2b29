"""What no server can be faster than: a bare echo over the same kind of queue, without JSON, ids or any bookkeeping.

As a program, ``python -m benchmarks.instruments.limits FD`` sends back what comes over a socket.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "tests" / "interop" / "boost_peer.cpp"
BOOST = "limit: C++ Boost echo, 8208 bytes"
SOCKET = "limit: raw SEQPACKET echo, 256 bytes"
_NAME = "BenchmarkLimit"
_BYTES = 256
_MOST_BYTES = 9000
_LIMIT_S = 60.0


class BoostEcho:
    """Two C++ programs with Boost's own message queues, built here; `missing` says why if they cannot be."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="labwire-benchmark-")
        self._program = Path(self._folder.name) / "boost_peer"
        self.missing = self._build()

    def _build(self) -> str:
        if not SOURCE.exists():
            return f"there is no {SOURCE}"
        if shutil.which("g++") is None:
            return "no C++ compiler"
        command = ["g++", "-std=c++17", "-O2", str(SOURCE), "-o", str(self._program), "-pthread", "-lrt"]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        if built.returncode == 0:
            return ""
        first = next((line for line in built.stderr.splitlines() if "error" in line), "it cannot be built")
        return f"{first}; apt install libboost-dev"

    def samples(self, count: int) -> list[float]:
        """Return the times of round trips, in µs."""
        echo = subprocess.Popen([self._program, "limit-echo", _NAME, "create"])
        try:
            told = subprocess.run(
                [self._program, "limit", _NAME, "open", str(count)],
                capture_output=True,
                text=True,
                timeout=_LIMIT_S,
                check=True,
            )
            echo.wait(_LIMIT_S)
        finally:
            echo.kill()
            echo.wait()
        return [float(line) for line in told.stdout.split()]

    def close(self) -> None:
        """Remove the program."""
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SocketEcho:
    """Another Python process that sends back what comes over a SEQPACKET socket."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())], pass_fds=[theirs.fileno()], cwd=ROOT
        )
        theirs.close()

    def samples(self, count: int) -> list[float]:
        """Return the times of round trips, in µs."""
        ours, message = self._socket, b"x" * _BYTES
        samples: list[float] = []
        for number in range(-100, count):
            start_s = time.perf_counter()
            ours.send(message)
            ours.recv(_MOST_BYTES)
            if number >= 0:
                samples.append((time.perf_counter() - start_s) * 1e6)
        return samples

    def close(self) -> None:
        """End the process."""
        self._socket.close()
        self._process.wait(_LIMIT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _echo(fd: int) -> None:
    with socket.socket(fileno=fd) as ours:
        while message := ours.recv(_MOST_BYTES):
            ours.send(message)


if __name__ == "__main__":
    _echo(int(sys.argv[1]))
