"""A moment of fuzzing in every run, more under ``scripts/test --soak``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

HERE = Path(__file__).parent
VECTORS = HERE.parent / "vectors"


HELLO = b"\xaa\xa1\x01\x02\x00\x01\x09tcp://a:1\x00\x00\x00\x01\x00\x00\x00\x01g\x01\x01n\x00\x00\x00\x01\x01k\x00\x00\x00\x01v"


def join(parts: Sequence[bytes]) -> bytes:
    """Make an input of `fuzz_wire` of parts; long ones are cut, but for the last."""
    short = [bytes([len(part[:254])]) + part[:254] for part in parts[:-1]]
    return b"".join([*short, b"\xff" + parts[-1]])


def test_nothing_breaks_the_parsers_of_the_bus(tmp_path: Path, seed: int, soak: Callable[[int, int], int]) -> None:
    pytest.importorskip("atheris", reason="no fuzzer for this system: pip install atheris")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name in ("bus_message", "remote_command"):
        for number, line in enumerate((VECTORS / f"{name}.jsonl").read_text().splitlines()):
            parts = [bytes.fromhex(part) for part in json.loads(line)["parts"]]
            (corpus / f"{name}-{number}").write_bytes(join(parts))
    (corpus / "zre-hello").write_bytes(join([HELLO]))
    (corpus / "zre-shout").write_bytes(join([b"\xaa\xa1\x03\x02\x00\x02\x01g", b"4.5", b"50123"]))
    options = [
        f"-runs={soak(25_000, 3_000_000)}",
        f"-seed={seed % 2**31 + 1}",
        "-max_len=4096",
        "-print_final_stats=1",
    ]
    run = subprocess.run(
        [sys.executable, str(HERE / "fuzz_wire.py"), *options, f"-artifact_prefix={tmp_path}/", str(corpus)],
        cwd=HERE.parents[1],
        env={"PYTHONPATH": "src", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=soak(50, 1700),
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "stat::number_of_executed_units" in run.stderr
