"""The benchmark of sessions runs from end to end and shows a figure for everything that it promises to measure."""

from __future__ import annotations

import re

import pytest

from tests.benchmarks.quick import figures_of, quick_run


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What one short run has written."""
    for name in ("mcap", "pyarrow"):
        pytest.importorskip(name, reason="pip install labwire[demo,export]")
    return quick_run("sessions", tmp_path_factory.mktemp("benchmark"))


def test_every_table_has_all_rows(text: str) -> None:
    from benchmarks.sessions.__main__ import MESSAGES, PICTURES, READS, REPLAYS

    for name in (*MESSAGES, *PICTURES, *READS, *REPLAYS):
        (row,) = [line for line in text.splitlines() if re.match(re.escape(name) + r"  +[\d-]", line)]
        figures = figures_of(row[len(name) :])
        assert len(figures) >= 4
        # Not above 0: on a busy machine a small count shows as 0.0 MB/s.
        assert 0 <= figures[0] <= figures[1] <= figures[2]
