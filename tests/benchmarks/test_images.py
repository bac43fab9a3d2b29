"""The benchmark of image streams runs from end to end and shows a figure for everything that it promises to measure."""

from __future__ import annotations

import pytest

from benchmarks.images import report
from tests.benchmarks.quick import quick_run, table_in

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
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What one short run has written."""
    folder = tmp_path_factory.mktemp("benchmark")
    return quick_run("images", folder, "--disk", str(folder))


@pytest.mark.parametrize("title", TABLES)
def test_every_table_has_all_rows(text: str, title: str) -> None:
    figures = table_in(text, title)
    assert set(TABLES[title]) <= set(figures)
    for name, row in figures.items():
        assert len(row) > 3, name
        assert 0 < row[0] <= row[2]


def test_the_c_pair_is_there_or_why_it_is_not(text: str) -> None:
    assert "not measured: the C pair: " in text or all(report.c_pair(mib) in text for mib in report.SIZES_MIB)
