"""What every test of the command line gets: a state folder of its own, and none of the shell's settings."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what a failing command writes out of the user's folders."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "own-state"))
    for name in ("LABWIRE_HOST", "LABWIRE_PORT"):
        monkeypatch.delenv(name, raising=False)
