"""The benchmark of instruments runs from end to end and shows a figure for everything that it promises to measure."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.instruments import calls, limits, peers, remote, report

ROOT = Path(__file__).parents[2]
LIMIT_S = 120.0
FIGURE = re.compile(r"-?[\d,]+(?:\.\d+)?")
KINDS = ("boost", "socket")
TABLES = {
    "round trip in µs": [limits.SOCKET, *map(calls.call, KINDS), *map(calls.threads_call, KINDS)],
    "commands/s ": [name for kind in KINDS for name in report.rates(kind)],
    "in ms": [name for kind in KINDS for name in report.times(kind)],
    "µs, commands/s": [remote.QUIET, remote.BUSY, remote.REACHED],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what one short run has written."""
    pytest.importorskip("matplotlib", reason="the plot needs it: pip install labwire[demo]")
    folder = tmp_path_factory.mktemp("benchmark")
    command = [sys.executable, "-m", "benchmarks.instruments", "--quick", "--out", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "instruments.txt").read_text() in done.stdout
    assert (folder / "instruments.png").stat().st_size > 0
    return folder


@pytest.mark.parametrize("title", TABLES)
def test_every_table_has_all_rows(folder: Path, title: str) -> None:
    text = (folder / "instruments.txt").read_text()
    found = next(table for table in text.split("\n\n") if table.strip().startswith(title))
    _, rule, *rows = found.strip().splitlines()
    width = len(rule.partition("  ")[0])
    figures = {row[:width].rstrip(): FIGURE.findall(row[width:]) for row in rows}
    assert set(TABLES[title]) <= set(figures)
    for name, row in figures.items():
        assert len(row) > 3, name
        assert 0 < float(row[0].replace(",", "")) <= float(row[2].replace(",", ""))


def test_what_could_not_be_measured_is_said(folder: Path) -> None:
    text = (folder / "instruments.txt").read_text()
    rows = [("posix", calls.call("posix")), (limits.BOOST, limits.BOOST), *((name, name) for name in peers.NAMES)]
    for what, shown in rows:
        assert shown in text or f"not measured: {what}: " in text
