from __future__ import annotations

import fcntl
import os
import re
import shutil
import threading
import time
from pathlib import Path

import msgspec
import pytest

from labwire.errors import DeviceError, InvalidNameError, NotFoundError, ProtocolError
from labwire.operations.recordable import StreamCounters
from labwire.sessions import manifest
from labwire.sessions.folder import create_session_folder, find_interrupted, find_session, free_bytes, list_sessions
from tests.sessions.making import session_in


def make(root: Path, name: str) -> str:
    folder, _ = create_session_folder(root, name)
    assert folder.is_dir()
    return folder.relative_to(root.resolve()).as_posix()


def test_sessions_are_numbered_with_the_first_free_number(tmp_path: Path) -> None:
    root = tmp_path / "not yet" / "there"
    assert [make(root, "pilot") for _ in range(3)] == ["pilot/000", "pilot/001", "pilot/002"]
    (root / "pilot/001").rmdir()
    assert [make(root, "pilot") for _ in range(2)] == ["pilot/001", "pilot/003"]
    assert make(root, "my session") == "my session/000"
    assert make(root, "day 1/left eye") == "day 1/left eye/000"


def test_the_number_of_a_session_that_was_removed_is_not_given_again(tmp_path: Path) -> None:
    for _ in range(3):
        (tmp_path / make(tmp_path, "pilot") / "session.json").touch()
    shutil.rmtree(tmp_path / "pilot" / "000")
    assert make(tmp_path, "pilot") == "pilot/003"


def test_no_name_gives_the_date(tmp_path: Path) -> None:
    folder, name = create_session_folder(tmp_path, "")
    assert re.fullmatch(r"\d{4}_\d\d_\d\d", name)
    assert folder == tmp_path.resolve() / name / "000"


@pytest.mark.parametrize(
    "name", ["..", "../x", "/etc", "a/../b", "a//b", ".", "a/.", "~/x\0", "C:\\x", " ", "a/ ", "x" * 200, "con", "a\nb"]
)
def test_names_that_could_leave_the_root_are_refused(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    with pytest.raises(InvalidNameError):
        create_session_folder(root, name)
    assert not root.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_link_out_of_the_root_is_refused(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "a").mkdir(parents=True)
    outside.mkdir()
    (root / "link").symlink_to(outside)
    (root / "a" / "link").symlink_to("../../outside")
    for name in ("link", "link/deeper", "a/link"):
        with pytest.raises(InvalidNameError, match="leads out"):
            create_session_folder(root, name)
    assert list(outside.iterdir()) == []
    (root / "b").symlink_to(root / "a")
    assert make(root, "b") == "a/000" or (root / "a/000").is_dir()


def test_a_session_does_not_lie_inside_another(tmp_path: Path) -> None:
    folder, _ = create_session_folder(tmp_path, "pilot")
    manifest.write_manifest(folder, manifest.manifest_of(session_in(folder), {}))
    with pytest.raises(InvalidNameError, match="inside the session pilot/000"):
        create_session_folder(tmp_path, "pilot/000")


def test_a_root_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceError, match="file"):
        create_session_folder(tmp_path / "file", "x")


def test_many_at_once_get_different_folders(tmp_path: Path) -> None:
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.append(make(tmp_path, "race"))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [f"race/{number:03d}" for number in range(16)]


def add_session(root: Path, name: str, *, start_epoch_us: int = 0, **changes: object) -> Path:
    folder, _ = create_session_folder(root, name)
    known = manifest.manifest_of(session_in(folder), {})
    manifest.write_manifest(folder, msgspec.structs.replace(known, start_epoch_us=start_epoch_us, **changes))
    return folder


def test_sessions_are_listed_newest_first(tmp_path: Path) -> None:
    counters = {"bus": StreamCounters(written=7, gaps=2), "player": StreamCounters(written=3, dropped=1)}
    add_session(tmp_path, "old", start_epoch_us=1, state="complete", ended="stopped", duration_s=2.5, counters=counters)
    newest = add_session(tmp_path, "a/b", start_epoch_us=3, state="repaired", ended="rig_died")
    add_session(tmp_path, "cut off", start_epoch_us=2)
    (newest / "bus.mcap").write_bytes(bytes(1000))
    (tmp_path / "no session").mkdir()
    (tmp_path / "a file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path)
    rows = list_sessions(tmp_path)
    assert [(row.name, row.state, row.ended) for row in rows] == [
        ("a/b/000", "repaired", "rig_died"),
        ("cut off/000", "broken", ""),
        ("old/000", "complete", ""),
    ]
    assert rows[0].size_bytes > 1000
    assert (rows[2].duration_s, rows[2].messages, rows[2].gaps, rows[2].dropped) == (2.5, 7, 2, 1)
    assert list_sessions(tmp_path / "not there") == []


def test_of_what_was_cut_off_the_list_tells_only_what_is_known(tmp_path: Path) -> None:
    began_us = 1_700_000_000_000_000
    counters = {"bus": StreamCounters(written=7)}
    folder = add_session(tmp_path, "cut off", start_epoch_us=began_us, duration_s=0.1, counters=counters)
    log = folder / "bus.mcap"
    log.touch()
    os.utime(log, (began_us / 1e6 + 7.0, began_us / 1e6 + 7.0))
    (row,) = list_sessions(tmp_path)
    assert (row.state, row.messages, row.gaps, row.dropped) == ("broken", None, None, None)
    assert row.duration_s == pytest.approx(7.0, abs=1e-3)
    with log.open("rb") as held:  # another recorder has it
        fcntl.flock(held, fcntl.LOCK_EX)
        (row,) = list_sessions(tmp_path)
    assert (row.state, row.messages, row.duration_s) == ("recording", None, pytest.approx(7.0, abs=1e-3))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": "x"}', b"\xff", b'{"uuid": 3}'])
def test_a_session_whose_manifest_is_broken_is_still_listed(tmp_path: Path, content: bytes) -> None:
    folder = add_session(tmp_path, "x")
    (folder / manifest.FILE_NAME).write_bytes(content)
    with pytest.raises(ProtocolError):
        manifest.read_manifest(folder)
    (row,) = list_sessions(tmp_path)
    assert (row.name, row.state) == ("x/000", "broken")


def test_a_session_is_found_by_the_name_that_the_list_gives(tmp_path: Path) -> None:
    folder = add_session(tmp_path, "day 1/left")
    (row,) = list_sessions(tmp_path)
    assert find_session(tmp_path, row.name) == folder
    for name in ("day 1/left", "day 1", "nobody/000", ""):
        with pytest.raises(NotFoundError):
            find_session(tmp_path, name)
    for name in ("..", "/etc", "../x/000"):
        with pytest.raises(InvalidNameError):
            find_session(tmp_path, name)
    outside = add_session(tmp_path.parent / f"{tmp_path.name} outside", "x")
    (tmp_path / "link").symlink_to(outside)
    with pytest.raises(NotFoundError):
        find_session(tmp_path, "link")


def test_a_manifest_of_a_later_version_is_refused_and_unknown_keys_are_not(tmp_path: Path) -> None:
    folder = add_session(tmp_path, "x")
    content = msgspec.json.decode((folder / manifest.FILE_NAME).read_bytes())
    (folder / manifest.FILE_NAME).write_bytes(msgspec.json.encode({**content, "added later": 1}))
    assert manifest.read_manifest(folder).name == "pilot"
    (folder / manifest.FILE_NAME).write_bytes(msgspec.json.encode({**content, "version": 99}))
    with pytest.raises(ProtocolError, match="newer"):
        manifest.read_manifest(folder)
    with pytest.raises(NotFoundError, match="not a session"):
        manifest.read_manifest(tmp_path)


def test_free_space_is_that_of_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "a" / "b") > 0


def test_only_a_session_that_a_crash_cut_off_just_now_is_one_to_go_on_with(tmp_path: Path) -> None:
    assert find_interrupted(tmp_path, 60.0) is None
    folder, _ = create_session_folder(tmp_path, "pilot")
    started = session_in(folder)
    manifest.write_manifest(folder, manifest.manifest_of(started, {}))
    assert find_interrupted(tmp_path, 60.0) is None  # no log: nothing was recorded
    log = folder / "bus.mcap"
    log.touch()
    ended_s = started.start_epoch_us / 1e6 + 7.0
    os.utime(log, (ended_s, ended_s))
    age_s = time.time() - ended_s
    assert find_interrupted(tmp_path, age_s - 5.0) is None
    found = find_interrupted(tmp_path, age_s + 60.0)
    assert found is not None
    assert (found.name, found.duration_s) == ("pilot/000", pytest.approx(7.0, abs=1e-3))
    with log.open("rb") as held:  # somebody records it
        fcntl.flock(held, fcntl.LOCK_EX)
        assert find_interrupted(tmp_path, age_s + 60.0) is None
