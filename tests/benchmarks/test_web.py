"""The benchmark of the live path runs from end to end and shows a figure for everything that it promises to measure."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.benchmarks.quick import quick_run


@pytest.mark.timeout(180)
def test_a_short_run_has_a_figure_for_everything(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="pip install labwire[web]")
    text = quick_run("web", tmp_path)
    for name in ("dashboard, 1", "bare echo, 1", "dashboard, 8", "bare echo, 8"):
        [line] = [line for line in text.splitlines() if line.startswith(name)]
        assert len(re.findall(r"(?<=\s)\d+\.\d+", line)) == 6, line
