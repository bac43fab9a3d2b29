"""The benchmark of the live path runs from end to end and shows a figure for everything that it promises to measure."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT_S = 120.0


@pytest.mark.timeout(180)
def test_a_short_run_has_a_figure_for_everything(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the plot needs it: pip install labwire[demo]")
    pytest.importorskip("uvicorn", reason="pip install labwire[web]")
    command = [sys.executable, "-m", "benchmarks.web", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "web.txt").read_text()
    assert text in done.stdout
    assert (tmp_path / "web.png").stat().st_size > 0
    for name in ("dashboard, 1", "bare echo, 1", "dashboard, 8", "bare echo, 8"):
        [line] = [line for line in text.splitlines() if line.startswith(name)]
        assert len(re.findall(r"(?<=\s)\d+\.\d+", line)) == 6, line
