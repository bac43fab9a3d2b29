"""A moment of fuzzing the reader of image messages in every run, more under ``scripts/test --soak``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.wire.image_golden import BYTES

HERE = Path(__file__).parent


def test_nothing_breaks_the_reader_of_image_messages(
    tmp_path: Path, seed: int, soak: Callable[[int, int], int]
) -> None:
    pytest.importorskip("atheris", reason="no fuzzer for this system: pip install atheris")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number, data in enumerate(BYTES.values()):
        (corpus / str(number)).write_bytes(data)
    options = [
        f"-runs={soak(30_000, 3_000_000)}",
        f"-seed={seed % 2**31 + 1}",
        "-max_len=4096",
        "-print_final_stats=1",
    ]
    run = subprocess.run(
        [sys.executable, str(HERE / "fuzz_image.py"), *options, f"-artifact_prefix={tmp_path}/", str(corpus)],
        cwd=HERE.parents[1],
        env={"PYTHONPATH": "src", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=soak(50, 1700),
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "stat::number_of_executed_units" in run.stderr
