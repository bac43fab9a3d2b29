"""The benchmark of image streams runs from end to end and shows a figure for everything that it promises to measure."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.images import report

ROOT = Path(__file__).parents[2]
LIMIT_S = 120.0
FIGURE = re.compile(r"-?[\d,]+(?:\.\d+)?")
SIZES = [name for mib in report.SIZES_MIB for name in (report.discard(mib), report.raw_zeromq(mib))]
STORED = [
    *(report.TMPFS, report.STORED_TMPFS, report.PLAIN_TMPFS),
    *(report.DISK, report.STORED_DISK, report.PLAIN_DISK),
]
TABLES = {
    "GB/s": [*SIZES, *STORED, report.H5PY],
    "images/s": [report.SMALL, report.SMALL_TMPFS],
    "hand-over to receipt, ms": [report.PREVIEW],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what one short run has written."""
    pytest.importorskip("matplotlib", reason="the plot needs it: pip install labwire[demo]")
    folder = tmp_path_factory.mktemp("benchmark")
    command = [sys.executable, "-m", "benchmarks.images", "--quick", "--out", str(folder), "--disk", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "images.txt").read_text() in done.stdout
    assert (folder / "images.png").stat().st_size > 0
    return folder


@pytest.mark.parametrize("title", TABLES)
def test_every_table_has_all_rows(folder: Path, title: str) -> None:
    text = (folder / "images.txt").read_text()
    found = next(table for table in text.split("\n\n") if table.strip().startswith(title))
    _, rule, *rows = found.strip().splitlines()
    width = len(rule.partition("  ")[0])
    figures = {row[:width].rstrip(): FIGURE.findall(row[width:]) for row in rows}
    assert set(TABLES[title]) <= set(figures)
    for name, row in figures.items():
        assert len(row) > 3, name
        assert 0 < float(row[0].replace(",", "")) <= float(row[2].replace(",", ""))


def test_the_c_pair_is_there_or_why_it_is_not(folder: Path) -> None:
    text = (folder / "images.txt").read_text()
    assert "not measured: the C pair: " in text or all(report.c_pair(mib) in text for mib in report.SIZES_MIB)
