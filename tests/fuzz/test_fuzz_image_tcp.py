"""A moment of fuzzing of the TCP image stream in every run, more under ``scripts/test --soak``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.wire.tcp_peers import RUN, ack, frame

HERE = Path(__file__).parent
VECTORS = HERE.parent / "vectors"


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


def test_nothing_breaks_the_image_stream(tmp_path: Path, seed: int, soak: Callable[[int, int], int]) -> None:
    pytest.importorskip("atheris", reason="no fuzzer for this system: pip install atheris")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number, data in enumerate(conversations()):
        (corpus / str(number)).write_bytes(data)
    options = [
        f"-runs={soak(6_000, 1_000_000)}",
        f"-seed={seed % 2**31 + 1}",
        "-max_len=2048",
        "-print_final_stats=1",
    ]
    run = subprocess.run(
        [sys.executable, str(HERE / "fuzz_image_tcp.py"), *options, f"-artifact_prefix={tmp_path}/", str(corpus)],
        cwd=HERE.parents[1],
        env={"PYTHONPATH": "src", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=soak(50, 1700),
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "stat::number_of_executed_units" in run.stderr
