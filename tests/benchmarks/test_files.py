"""The benchmark of files runs from end to end and shows a figure for everything that it promises to measure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.files import frames, lines, report, visible

ROOT = Path(__file__).parents[2]
LIMIT_S = 100.0


def test_every_row_has_a_figure(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the plot needs it: pip install labwire[demo]")
    command = [sys.executable, "-m", "benchmarks.files", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "files.txt").read_text()
    assert text in done.stdout
    assert (tmp_path / "files.png").stat().st_size > 0
    rows = text.splitlines()
    for name in (*report._line_names(), *frames.NAMES, *visible.NAMES):
        [*_, row] = [row for row in rows if row.startswith(f"{name} ")]
        figures = row.removeprefix(name).split()
        assert float(figures[0].replace(",", "")) > 0, row
    assert set(lines.AGAINST) <= set(report._line_names())
