"""Run by test_file_kills.py in a process of its own, to be killed: write lines and frames as fast as they go."""

from __future__ import annotations

import sys
from pathlib import Path

from labwire.file_backend.backend import FileBackend
from labwire.file_backend.config import FileIpcOptions
from labwire.file_backend.jsonl_tail import read_tail
from labwire.picture import Picture
from labwire.wire.envelope import decode_envelope

LENGTHS = (20, 500, 9_000, 90_000)


def main(folder: Path, pictures: list[bytes]) -> None:
    """Go on from the newest number in the folder; tell what has been written, until somebody kills this."""
    options = FileIpcOptions(base_directory=str(folder), truncate_on_init=False, max_frame_count=8)
    with FileBackend(options, policy="block") as backend:
        with (folder / "core_metrics.jsonl").open("rb") as file:
            last = read_tail(file.fileno()).last_line
        number = decode_envelope(last).payload["number"] + 1 if last else 0
        start = number
        while True:
            for _ in range(10):
                text = "x" * LENGTHS[number % 4]
                backend.metrics("core_metrics", 1000 + number, {"number": number, "text": text})
                number += 1
            data = pictures[number // 10 % 2]
            picture = Picture(
                index=number, monotonic_s=0, epoch_us=10**15 + number, width=64, height=48, format="jpeg", data=data
            )
            backend.put(picture)
            print(start + backend.counters().core_metrics.written, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(path).read_bytes() for path in sys.argv[2:]])
