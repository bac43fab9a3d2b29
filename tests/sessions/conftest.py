from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from labwire.testing import wait_until
from tests.sessions.lab import Lab
from tests.sessions.making import open_fds


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setattr("labwire.sessions.record.guard._TICK_S", 0.05)
    before = open_fds()
    lab = Lab(tmp_path / "recordings")
    yield lab
    lab.close()
    # Fewer are none of ours: of an earlier test, which the garbage collector has closed meanwhile.
    wait_until(lambda: open_fds() <= before, "all that it opened is closed")
