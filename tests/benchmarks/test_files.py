"""The benchmark of files runs from end to end and shows a figure for everything that it promises to measure."""

from __future__ import annotations

from pathlib import Path

from benchmarks.files import frames, lines, report, visible
from tests.benchmarks.quick import quick_run


def test_every_row_has_a_figure(tmp_path: Path) -> None:
    rows = quick_run("files", tmp_path).splitlines()
    for name in (*report._line_names(), *frames.NAMES, *visible.NAMES):
        [*_, row] = [row for row in rows if row.startswith(f"{name} ")]
        figures = row.removeprefix(name).split()
        assert float(figures[0].replace(",", "")) > 0, row
    assert set(lines.AGAINST) <= set(report._line_names())
