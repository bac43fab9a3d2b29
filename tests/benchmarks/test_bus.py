"""The benchmark of the bus runs from end to end and shows a figure for everything that it promises to measure."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.bus import processor, report, throughput

ROOT = Path(__file__).parents[2]
LIMIT_S = 120.0
FIGURE = re.compile(r"-?[\d,]+(?:\.\d+)?")
TABLES = {
    **{f"latency in µs{spacing}": report.latency_names() for spacing in report.SPACINGS},
    "messages/s at each of 1 subscriber ": [road.name for road in throughput.ROADS],
    "messages/s at each of 4 subscribers": [road.name for road in throughput.ROADS],
    "% of a core in the middle": [
        processor.case_name(middle, rate_hz) for rate_hz in processor.RATES_HZ for middle in processor.MIDDLES
    ],
}
LEAST_MEDIAN_AND_MOST = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what one short run has written."""
    pytest.importorskip("matplotlib", reason="the plot needs it: pip install labwire[demo]")
    folder = tmp_path_factory.mktemp("benchmark")
    command = [sys.executable, "-m", "benchmarks.bus", "--quick", "--out", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "bus.txt").read_text() in done.stdout
    return folder


@pytest.mark.parametrize("title", TABLES)
def test_every_table_has_all_rows(folder: Path, title: str) -> None:
    text = (folder / "bus.txt").read_text()
    head, *rows = next(table for table in text.split("\n\n") if title in table).strip().splitlines()
    width = len(rows[0].partition("  ")[0])  # the line below the head is as long as the longest name
    names = [row[:width].rstrip() for row in rows[1:]]
    assert head.startswith(title)
    assert names == TABLES[title]
    for row in rows[1:]:
        figures = [float(figure.replace(",", "")) for figure in FIGURE.findall(row[width:])]
        assert len(figures) > LEAST_MEDIAN_AND_MOST
        assert figures[:LEAST_MEDIAN_AND_MOST] == sorted(figures[:LEAST_MEDIAN_AND_MOST])
        assert figures[0] > 0 or title.startswith("%")


def test_it_says_on_what_and_with_what_it_was_measured(folder: Path) -> None:
    machine, versions, settings = (folder / "bus.txt").read_text().splitlines()[:3]
    assert re.match(r"machine: +\d+ cores \(.+\), .+, load \d", machine)
    assert "pyzmq" in versions
    assert "rounds 1, quick True" in settings


def test_confirmations_were_counted(folder: Path) -> None:
    assert "confirmations: 50 confirmed, overtaken 0, missed 0" in (folder / "bus.txt").read_text()


def test_there_is_a_plot(folder: Path) -> None:
    assert (folder / "bus.png").read_bytes().startswith(b"\x89PNG")


def test_the_performance_page_shows_these_tables() -> None:
    page = (ROOT / "docs" / "explanation" / "performance.md").read_text()
    for names in TABLES.values():
        for name in names:
            assert re.search(rf"^{re.escape(name)}  ", page, re.MULTILINE), f"no row for {name!r}"
