"""Old sessions go by a rule; what was not verified never does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from labwire.errors import UsageError
from labwire.operations.session_check import Pruned
from labwire.sessions.check.prune import prune_sessions
from labwire.sessions.check.verify import verify_session
from labwire.sessions.config import RetentionConfig
from labwire.sessions.folder import list_sessions
from tests.sessions.recorded import record_session

NOW_US = 1_800_000_000_000_000
DAY_US = 86_400_000_000


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record_session(tmp_path_factory.mktemp("original"))[0]


@pytest.fixture
def root(original: Path, tmp_path: Path) -> Path:
    """Four sessions that are 40, 30, 20 and 10 days old; all but the second are verified."""
    for number, age in enumerate((40, 30, 20, 10)):
        folder = tmp_path / "pilot" / f"{number:03d}"
        shutil.copytree(original, folder)
        manifest = json.loads((folder / "session.json").read_text())
        manifest["start_epoch_us"] = NOW_US - age * DAY_US
        (folder / "session.json").write_text(json.dumps(manifest))
        if number != 1:
            verify_session(folder)
    return tmp_path


def prune(root: Path, *, dry_run: bool = False, **rule: Any) -> dict[str, bool]:
    rows: list[Pruned] = []
    prune_sessions(
        root,
        RetentionConfig(**rule),
        now_epoch_us=NOW_US,
        dry_run=dry_run,
        on_session=rows.append,
    )
    return {row.name: row.removed for row in rows}


def left(root: Path) -> list[str]:
    return sorted(row.name for row in list_sessions(root))


def test_old_sessions_go_but_never_an_unverified_one(root: Path) -> None:
    assert prune(root, max_age_days=15) == {"pilot/000": True, "pilot/001": False, "pilot/002": True}
    assert left(root) == ["pilot/001", "pilot/003"]
    assert not (root / "pilot" / "000").exists()


def test_the_newest_stay(root: Path) -> None:
    assert prune(root, max_age_days=1, keep=3) == {"pilot/000": True}
    assert prune(root, max_age_days=1, keep=1) == {"pilot/001": False, "pilot/002": True}
    assert prune(root, max_age_days=1, keep=0) == {"pilot/001": False, "pilot/003": True}


def test_as_many_go_as_the_size_asks_for(root: Path) -> None:
    size = list_sessions(root)[0].size_bytes
    assert prune(root, max_bytes=round(2.5 * size)) == {"pilot/000": True, "pilot/001": False, "pilot/002": True}
    assert prune(root, max_bytes=10 * size) == {}


def test_a_dry_run_removes_nothing(root: Path) -> None:
    assert prune(root, max_age_days=15, dry_run=True)["pilot/000"]
    assert len(left(root)) == 4


def test_what_is_not_whole_or_has_changed_stays(root: Path) -> None:
    (root / "pilot" / "000" / "world.mp4").write_bytes(b"")
    (root / "pilot" / "001" / "pupil.pldata").write_bytes(b"")
    verify_session(root / "pilot" / "001")
    manifest = root / "pilot" / "002" / "session.json"
    manifest.write_text(manifest.read_text().replace('"complete"', '"broken"'))
    assert set(prune(root, max_age_days=1, keep=1).values()) == {False}
    assert len(left(root)) == 4


def test_a_removal_that_was_interrupted_is_finished(root: Path) -> None:
    (root / "pilot" / "000").rename(root / "pilot" / "000.pruned")
    assert left(root) == ["pilot/001", "pilot/002", "pilot/003"]
    prune(root, max_age_days=1000)
    assert not (root / "pilot" / "000.pruned").exists()


def test_a_rule_without_a_limit_is_refused(root: Path) -> None:
    with pytest.raises(UsageError):
        prune(root)
