"""The benchmark of the bus runs from end to end and shows a figure for everything that it promises to measure."""

from __future__ import annotations

import re

import pytest

from benchmarks.bus import processor, report, throughput
from tests.benchmarks.quick import ROOT, quick_run, table_in

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
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What one short run has written."""
    return quick_run("bus", tmp_path_factory.mktemp("benchmark"))


@pytest.mark.parametrize("title", TABLES)
def test_every_table_has_all_rows(text: str, title: str) -> None:
    table = table_in(text, title)
    assert list(table) == TABLES[title]
    for figures in table.values():
        assert len(figures) > LEAST_MEDIAN_AND_MOST
        assert figures[:LEAST_MEDIAN_AND_MOST] == sorted(figures[:LEAST_MEDIAN_AND_MOST])
        assert figures[0] > 0 or title.startswith("%")


def test_it_says_on_what_and_with_what_it_was_measured(text: str) -> None:
    machine, versions, settings = text.splitlines()[:3]
    assert re.match(r"machine: +\d+ cores \(.+\), .+, load \d", machine)
    assert "pyzmq" in versions
    assert "rounds 1, quick True" in settings


def test_confirmations_were_counted(text: str) -> None:
    assert "confirmations: 50 confirmed, overtaken 0, missed 0" in text


def test_the_performance_page_shows_these_tables() -> None:
    page = (ROOT / "docs" / "explanation" / "performance.md").read_text()
    for names in TABLES.values():
        for name in names:
            assert re.search(rf"^{re.escape(name)}  ", page, re.MULTILINE), f"no row for {name!r}"
