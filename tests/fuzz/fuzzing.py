"""Runs one of the fuzzers beside this file: a moment in every run, more under ``scripts/test --soak``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

HERE = Path(__file__).parent
_SOAK_LIMIT_S = 1700
_LIMIT_S = 50


class Fuzzing:
    """What the fixture ``fuzz`` gives.

    Args:
        folder: For the corpus, and for an input that breaks something.
        seed: Of the run.
        soak: The normal or the long count.
    """

    def __init__(self, folder: Path, seed: int, soak: Callable[[int, int], int]) -> None:
        self._folder, self._seed, self._soak = folder, seed, soak

    def run(self, name: str, inputs: Mapping[str, bytes], *, runs: int, soak_runs: int, max_bytes: int) -> None:
        """Run a fuzzer; it ends with an error at the first input that breaks something, and says which.

        Args:
            name: Of its file, without ``.py``.
            inputs: What it begins with, by name.
            runs: How many inputs in a normal run.
            soak_runs: How many in a soak run.
            max_bytes: Length of the longest input.
        """
        pytest.importorskip("atheris", reason="no fuzzer for this system: pip install atheris")
        corpus = self._folder / "corpus"
        corpus.mkdir()
        for input_name, data in inputs.items():
            (corpus / input_name).write_bytes(data)
        options = [
            f"-runs={self._soak(runs, soak_runs)}",
            f"-seed={self._seed % 2**31 + 1}",
            f"-max_len={max_bytes}",
            "-print_final_stats=1",
            f"-artifact_prefix={self._folder}/",
        ]
        run = subprocess.run(
            [sys.executable, str(HERE / f"{name}.py"), *options, str(corpus)],
            cwd=HERE.parents[1],
            env={"PYTHONPATH": "src", "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=self._soak(_LIMIT_S, _SOAK_LIMIT_S),
            check=False,
        )
        assert run.returncode == 0, run.stdout + run.stderr
        assert "stat::number_of_executed_units" in run.stderr
