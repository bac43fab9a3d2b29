"""A moment of fuzzing of the instrument protocol in every run, more under ``scripts/test --soak``."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from labwire.wire.instrument_message import PROFILES, Message, MessageType, encode_message

HERE = Path(__file__).parent
VECTORS = HERE.parent / "vectors" / "instrument_message.jsonl"


def make_corpus(folder: Path) -> None:
    names = list(PROFILES)
    for number, line in enumerate(VECTORS.read_text().splitlines()):
        vector = json.loads(line)
        profile = bytes([names.index(vector["profile"])])
        (folder / f"recorded-{number}").write_bytes(profile + bytes.fromhex(vector["bytes"]))
    batch = b'[{"verb":"V"},{"command_id":"a-1","success":true}]'
    for number, payload in enumerate((batch, b"\0z" + zlib.compress(batch))):
        data = encode_message(Message(MessageType.COMMAND, 1, payload))
        (folder / f"extra-{number}").write_bytes(b"\0" + data)


def test_nothing_breaks_the_parsers_of_the_instruments(
    tmp_path: Path, seed: int, soak: Callable[[int, int], int]
) -> None:
    pytest.importorskip("atheris", reason="no fuzzer for this system: pip install atheris")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    make_corpus(corpus)
    options = [
        f"-runs={soak(100_000, 3_000_000)}",
        f"-seed={seed % 2**31 + 1}",
        "-max_len=9000",
        "-print_final_stats=1",
    ]
    run = subprocess.run(
        [sys.executable, str(HERE / "fuzz_instrument.py"), *options, f"-artifact_prefix={tmp_path}/", str(corpus)],
        cwd=HERE.parents[1],
        env={"PYTHONPATH": "src", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=soak(50, 1700),
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "stat::number_of_executed_units" in run.stderr
