"""How soon a line is seen: from the moment it is handed to the backend until another process has parsed it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.common import Case
from labwire.file_backend.backend import FileBackend
from labwire.file_backend.config import FileIpcOptions

OURS = "labwire's backend to a labwire reader"
BUFFERED = "a buffer of 8192 bytes to a labwire reader"
NAMES = (OURS, BUFFERED)
RATE_HZ = 5.0
"""Of core metrics."""

_FILL = "y" * 110  # makes a line as long as the spec's example of core metrics
_READER = """
import sys, time
from labwire.file_backend import follow
print("ready", flush=True)
for record in follow(sys.argv[1], settle_s=0):
    if "n" in record.payload:
        print(record.payload["n"], time.monotonic_ns(), flush=True)
"""


def cases(folder: Path, count: int, buffered_count: int, speed_up: float) -> list[Case]:
    """Return the cases: milliseconds of so many lines.

    Args:
        folder: Where to write.
        count: Lines of the backend.
        buffered_count: Lines of the buffer, which shows 47 at a time.
        speed_up: How much faster than in life they follow each other; what the buffer takes is multiplied by it.
    """
    here = folder / "visible"

    def ours() -> list[float]:
        here.mkdir()
        with FileBackend(FileIpcOptions(base_directory=str(here))) as backend:
            return _seen(here, count, speed_up, lambda n: backend.metrics("core_metrics", n, {"n": n, "x": _FILL}))

    def buffered() -> list[float]:
        here.mkdir()
        with (here / "core_metrics.jsonl").open("wb", buffering=8192) as file:
            text = '{"type":"core_metrics","timestamp":%d,"payload":{"n":%d,"x":"%s"}}\n'
            late_ms = _seen(here, buffered_count, speed_up, lambda n: file.write((text % (n, n, _FILL)).encode()))
        return [value * speed_up for value in late_ms]

    return [Case(OURS, ours), Case(BUFFERED, buffered)]


def _seen(folder: Path, count: int, speed_up: float, write: Callable[[int], object]) -> list[float]:
    reader = subprocess.Popen([sys.executable, "-c", _READER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert reader.stdout
    reader.stdout.readline()
    time.sleep(0.2)  # it watches from now on
    written_ns: list[int] = []
    for n in range(count):
        written_ns.append(time.monotonic_ns())
        write(n)
        time.sleep(1 / RATE_HZ / speed_up)
    time.sleep(0.3)
    reader.terminate()
    lines = [line.split() for line in reader.stdout]
    reader.wait()
    reader.stdout.close()
    shutil.rmtree(folder, ignore_errors=True)
    return [(int(seen_ns) - written_ns[int(n)]) / 1e6 for n, seen_ns in lines]
