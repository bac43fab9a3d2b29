"""Lines per second: the backend's own path beside the standard library and beside bytes that are encoded already."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.common import Case
from labwire.file_backend.jsonl_file import JsonlFile, Line
from labwire.wire.envelope import Envelope, encode_envelope

PAYLOAD = {"pulse": {"strict": {"value": 72.5, "confidence": 0.95}}, "breathing": {"strict": {"value": 16.2}}}
BATCH = 64
BUFFER_BYTES = 8192

EACH = "labwire, a lock and a write for each line"
EACH_NO_LOCK = "labwire, a write for each line, no lock"
BATCHED = "labwire, batches of 8 KiB with a lock each"
BATCHED_NO_LOCK = "labwire, batches of 8 KiB, no lock"
LIMIT_EACH = "encoded bytes, a lock and a write for each line"
LIMIT_EACH_NO_LOCK = "encoded bytes, a write for each line, no lock"
LIMIT_BATCHED = "encoded bytes, batches of 8 KiB with a lock each"
LIMIT_BATCHED_NO_LOCK = "encoded bytes, batches of 8 KiB, no lock"
STDLIB = "standard library: json, open, flush for each line"

AGAINST = {
    EACH: LIMIT_EACH,
    EACH_NO_LOCK: LIMIT_EACH_NO_LOCK,
    BATCHED: LIMIT_BATCHED,
    BATCHED_NO_LOCK: LIMIT_BATCHED_NO_LOCK,
}
"""Which limit each case is held against: the same system calls for each line, and nothing to encode."""
AIMED = (EACH,)
"""What an aim is set for: how metrics are written by default. In batches the system's part is next to nothing, and the
figure is that of the encoder."""


def cases(folder: Path, count: int) -> list[Case]:
    """Return the cases; each writes so many lines to a file of its own."""

    def case(name: str, run: Callable[[Path, int], None]) -> Case:
        def measure() -> list[float]:
            here = folder / "lines"
            here.mkdir()
            started_s = time.perf_counter()
            run(here / "core_metrics.jsonl", count)
            elapsed_s = time.perf_counter() - started_s
            shutil.rmtree(here)
            return [count / elapsed_s]

        return Case(name, measure)

    return [
        case(EACH, lambda path, n: _ours(path, n, locking=True, batch=1)),
        case(LIMIT_EACH, lambda path, n: _encoded(path, n, locking=True, batch=1)),
        case(EACH_NO_LOCK, lambda path, n: _ours(path, n, locking=False, batch=1)),
        case(LIMIT_EACH_NO_LOCK, lambda path, n: _encoded(path, n, locking=False, batch=1)),
        case(BATCHED, lambda path, n: _ours(path, n, locking=True, batch=BATCH)),
        case(LIMIT_BATCHED, lambda path, n: _encoded(path, n, locking=True, batch=BATCH)),
        case(BATCHED_NO_LOCK, lambda path, n: _ours(path, n, locking=False, batch=BATCH)),
        case(LIMIT_BATCHED_NO_LOCK, lambda path, n: _encoded(path, n, locking=False, batch=BATCH)),
        case(STDLIB, _stdlib),
    ]


def _ours(path: Path, count: int, *, locking: bool, batch: int) -> None:
    with JsonlFile(path, locking=locking, buffer_bytes=BUFFER_BYTES) as file:
        for start in range(0, count, batch):
            if batch == 1:
                file.append("core_metrics", start, PAYLOAD)
            else:
                file.append_all([Line("core_metrics", n, PAYLOAD) for n in range(start, min(start + batch, count))])


def _encoded(path: Path, count: int, *, locking: bool, batch: int) -> None:
    # What a careful writer must ask the system each time, in the same way: is it still the same file and how long is
    # it, the lock, the write.
    line = encode_envelope(Envelope("core_metrics", 1234567890123456, dict(PAYLOAD)))
    name = str(path)
    fd = os.open(name, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    for start in range(0, count, batch):
        os.stat(name)  # noqa: PTH116
        if locking:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        pieces, size = list[bytes](), 0
        for _ in range(start, min(start + batch, count)):
            if size + len(line) > BUFFER_BYTES:
                os.write(fd, b"".join(pieces))
                pieces, size = [], 0
            pieces.append(line)
            size += len(line)
        os.write(fd, b"".join(pieces))
        if locking:
            fcntl.flock(fd, fcntl.LOCK_UN)
    os.close(fd)


def _stdlib(path: Path, count: int) -> None:
    with path.open("a") as file:
        for n in range(count):
            file.write(json.dumps({"type": "core_metrics", "timestamp": n, "payload": PAYLOAD}) + "\n")
            file.flush()
