"""The benchmark of sessions runs from end to end and shows a figure for everything that it promises to measure."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT_S = 55.0
FIGURE = re.compile(r"-?[\d,]+(?:\.\d+)?")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What one short run has written."""
    for name in ("matplotlib", "mcap", "pyarrow"):
        pytest.importorskip(name, reason="pip install labwire[demo,export]")
    folder = tmp_path_factory.mktemp("benchmark")
    command = [sys.executable, "-m", "benchmarks.sessions", "--quick", "--out", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "sessions.txt").read_text() in done.stdout
    assert (folder / "sessions.png").stat().st_size > 0
    return (folder / "sessions.txt").read_text()


def test_every_table_has_all_rows(text: str) -> None:
    from benchmarks.sessions.__main__ import MESSAGES, PICTURES, READS, REPLAYS

    for name in (*MESSAGES, *PICTURES, *READS, *REPLAYS):
        (row,) = [line for line in text.splitlines() if re.match(re.escape(name) + r"  +[\d-]", line)]
        figures = [float(figure.replace(",", "")) for figure in FIGURE.findall(row[len(name) :])]
        assert len(figures) >= 4
        assert 0 <= figures[0] <= figures[1] <= figures[2]
        assert figures[2] > 0
