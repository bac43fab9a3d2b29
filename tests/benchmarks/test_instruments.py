"""The benchmark of instruments runs from end to end and shows a figure for everything that it promises to measure."""

from __future__ import annotations

import pytest

from benchmarks.instruments import calls, limits, peers, remote, report
from tests.benchmarks.quick import quick_run, table_in

KINDS = ("boost", "socket")
TABLES = {
    "round trip in µs": [limits.SOCKET, *map(calls.call, KINDS), *map(calls.threads_call, KINDS)],
    "commands/s ": [name for kind in KINDS for name in report.rates(kind)],
    "in ms": [name for kind in KINDS for name in report.times(kind)],
    "µs, commands/s": [remote.QUIET, remote.BUSY, remote.REACHED],
}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What one short run has written."""
    return quick_run("instruments", tmp_path_factory.mktemp("benchmark"))


@pytest.mark.parametrize("title", TABLES)
def test_every_table_has_all_rows(text: str, title: str) -> None:
    figures = table_in(text, title)
    assert set(TABLES[title]) <= set(figures)
    for name, row in figures.items():
        assert len(row) > 3, name
        assert 0 < row[0] <= row[2]


def test_what_could_not_be_measured_is_said(text: str) -> None:
    rows = [("posix", calls.call("posix")), (limits.BOOST, limits.BOOST), *((name, name) for name in peers.NAMES)]
    for what, shown in rows:
        assert shown in text or f"not measured: {what}: " in text
