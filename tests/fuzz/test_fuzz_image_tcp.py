"""A moment of fuzzing of the TCP image stream in every run, more under ``scripts/test --soak``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz.fuzzing import Fuzzing
from tests.wire.tcp_peers import RUN, ack, frame

VECTORS = Path(__file__).parents[1] / "vectors"


def conversations() -> Iterator[bytes]:
    """Give what each side may hear, as inputs of `fuzz_image_tcp`: four bytes of choices, then a stream."""
    start, end, image = (
        frame(1, b"start", run_number=RUN),
        frame(4, b"end", run_number=RUN),
        frame(2, b"x", run_number=RUN),
    )
    heard_by_writer = [start + image + end, start + frame(3, b"c", run_number=RUN) + image + frame(6, run_number=RUN)]
    data_acks = b"".join(ack(2, image=number, done=number + 1) for number in range(5))
    failed = ack(2, image=0, flags=2, code=5, text="full")
    heard_by_sender = [
        ack(1) + data_acks + ack(4, done=5),
        ack(1) + failed + ack(4, flags=0, code=5),
        ack(1, flags=0, code=1),
    ]
    for choices in (b"\xff\xff\xff\0", b"\x3f\0\0\0", b"\x3f\x55\x55\0"):
        for stream in (*heard_by_writer, *heard_by_sender):
            yield choices + stream + frame(7) + frame(9, b"unknown")
    for line in (VECTORS / "tcp_frame.jsonl").read_text().splitlines():
        yield b"\x3f\0\0\0" + bytes.fromhex(json.loads(line)["header"])
    yield b'\xff\0\0\0{"run_number":7,"run_name":"x","socket_number":1,"processed_images":2,"ok":true}'


def test_nothing_breaks_the_image_stream(fuzz: Fuzzing) -> None:
    inputs = {str(number): data for number, data in enumerate(conversations())}
    fuzz.run("fuzz_image_tcp", inputs, runs=6_000, soak_runs=1_000_000, max_bytes=2048)
