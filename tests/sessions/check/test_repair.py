from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.clock import RigClock, monotonic_s
from labwire.errors import CancelledError, DeviceError, NotFoundError, StateError
from labwire.operations.recordable import StreamDescription
from labwire.operations.recording import RepairProgress
from labwire.sessions.check.repair import repair_session
from labwire.sessions.check.verify import verify_session
from labwire.sessions.config import RecorderConfig
from labwire.sessions.folder import list_sessions
from labwire.sessions.manifest import read_manifest, write_manifest
from labwire.sessions.record.recording import SessionRecorder
from tests.sessions.logs import read_messages
from tests.sessions.making import datum, jpeg, picture_parts, wait_for
from tests.sessions.strict_player import check_folder, load_data, load_info, load_video


def record(root: Path, *, copy_to: Path | None = None, **config: Any) -> Path:
    """Record a session; copy its folder just before the end, when everything is flushed and nothing is closed."""
    clock = RigClock.create()
    clock.set_now(1000.0)
    recorder = SessionRecorder(RecorderConfig(root=str(root), sync_s=0.0, flush_s=0.02, **config), clock)
    folder = Path(recorder.start("pilot").rec_path)
    for number in range(40):
        now_s = monotonic_s()
        recorder.put(datum("pupil.0", clock.at(now_s), number=number), now_s)
        recorder.put(datum("notify.x", clock.at(now_s), subject="x"), now_s)
        recorder.put([b"logging.info", b"\x80"], now_s)
        if number < 10:
            recorder.put(picture_parts("frame.world", clock.at(now_s), jpeg(number)), now_s)
        if number == 20:
            before = clock.offset_s
            clock.set_now(5.0)
            recorder.clock_changed(before, clock.offset_s, now_s)
    if copy_to is not None:
        expected = 9 if config.get("pictures") == [] else 10
        wait_for(lambda: recorder.counters()["bus"].written == 130)
        wait_for(lambda: recorder.counters().get("pictures", recorder.counters()["bus"]).written >= expected)
        wait_for(lambda: is_flushed(folder))
        shutil.copytree(folder, copy_to, ignore=shutil.ignore_patterns("*.part"))  # the recorder goes on writing
    recorder.stop()
    clock.close()
    return folder


def is_flushed(folder: Path) -> bool:
    pldata = folder / "pupil.pldata"
    return b"number\x27" in (folder / "bus.mcap").read_bytes() and (
        not pldata.exists() or b"number\x27" in pldata.read_bytes()
    )


@pytest.fixture(scope="module")
def killed_original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("session")
    copy = folder / "copy" / "pilot" / "000"
    record(folder / "recordings", copy_to=copy)
    return copy


@pytest.fixture
def killed(killed_original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(killed_original, tmp_path / "pilot" / "000"))


def test_a_killed_session_becomes_whole(killed: Path) -> None:
    (row,) = list_sessions(killed.parents[1])
    assert row.state == "broken"

    repaired = repair_session(killed)

    assert repaired.messages == 130
    assert len(read_messages(killed / "bus.mcap")) == 130
    check_folder(killed)
    assert len(load_data(killed, "pupil")) == len(load_data(killed, "notify")) == 40
    assert len(load_video(killed, "world")[0]) == 10
    assert load_info(killed)["duration_s"] > 0
    manifest = read_manifest(killed)
    assert (manifest.state, manifest.ended) == ("repaired", "")
    assert manifest.counters["bus"].written == 130
    assert manifest.counters["player"].written == 80
    assert manifest.counters["pictures"].written == 10
    assert len(manifest.clock_changes) == 1
    assert manifest.repairs == repaired.changes
    assert {"pupil.pldata", "notify.pldata"} <= set(manifest.streams["player"].files)
    assert not [path.name for path in killed.iterdir() if path.name.startswith(".") or path.suffix == ".part"]
    (row,) = list_sessions(killed.parents[1])
    assert (row.name, row.state, row.messages) == ("pilot/000", "repaired", 130)


def test_the_manifest_names_files_that_were_begun_after_it_was_written(killed: Path) -> None:
    before = read_manifest(killed)
    early = {
        name: msgspec.structs.replace(stream, files=stream.files[:1] if name == "player" else [])
        for name, stream in before.streams.items()
    }
    write_manifest(killed, msgspec.structs.replace(before, streams=early))
    repair_session(killed)
    after = {name: set(stream.files) for name, stream in read_manifest(killed).streams.items()}
    assert {"pupil.pldata", "notify.pldata"} <= after["player"]
    assert after["pictures"] == {"world.mp4", "world_timestamps.npy"}
    assert after["bus"] == set()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_second_repair_has_nothing_to_do(killed: Path) -> None:
    repair_session(killed)
    before = contents(killed)
    again = repair_session(killed)
    assert (again.changes, again.messages) == ([], 130)
    assert contents(killed) == before


def test_a_complete_session_is_left_alone(tmp_path: Path) -> None:
    folder = record(tmp_path)
    before = contents(folder)
    repaired = repair_session(folder)
    assert (repaired.changes, repaired.messages) == ([], 130)
    assert contents(folder) == before


@pytest.mark.parametrize("name", ["pupil_timestamps.npy", "world_timestamps.npy", "bus.mcap", "info.player.json"])
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_complete_session_that_was_damaged_later_is_mended(tmp_path: Path, name: str, damage: str) -> None:
    folder = record(tmp_path)
    if damage == "missing":
        (folder / name).unlink()
    else:
        os.truncate(folder / name, (folder / name).stat().st_size - 5)
    repaired = repair_session(folder)
    assert any(name.removesuffix("_timestamps.npy") in change for change in repaired.changes)
    check_folder(folder)
    read_messages(folder / "bus.mcap")
    assert repair_session(folder).changes == []


def test_without_a_manifest_the_log_tells(killed: Path) -> None:
    before = read_manifest(killed)
    (killed / "session.json").unlink()
    repair_session(killed)
    after = read_manifest(killed)
    assert after.uuid == before.uuid
    assert after.start == before.start
    assert len(after.clock_changes) == 1
    check_folder(killed)


def test_without_log_and_with_a_broken_manifest_the_rest_is_saved(killed: Path) -> None:
    (killed / "bus.mcap").unlink()
    (killed / "session.json").write_text("{")
    repaired = repair_session(killed)
    assert repaired.messages == 0
    assert read_manifest(killed).name == "pilot"
    assert len(load_data(killed, "pupil")) == 40
    check_folder(killed)


@given(st.data())
def test_a_session_cut_anywhere_becomes_whole(
    killed_original: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("cut") / "000"
    shutil.copytree(killed_original, folder)
    for path in sorted(folder.iterdir()):
        if data.draw(st.booleans(), label=path.name):
            os.truncate(path, data.draw(st.integers(0, path.stat().st_size), label="size"))

    repair_session(folder)

    read_messages(folder / "bus.mcap")
    check_folder(folder)
    assert repair_session(folder).changes == []


def test_progress_is_told(killed: Path) -> None:
    progress: list[RepairProgress] = []
    repair_session(killed, report=progress.append)
    steps = list(dict.fromkeys(one.step for one in progress))
    assert steps == ["bus.mcap", "notify.pldata", "pupil.pldata", "world.mp4"]
    assert all(one.done_bytes <= one.total_bytes for one in progress)


def test_a_cancelled_repair_can_be_done_again(killed: Path) -> None:
    for after in range(1, 6):
        asked = iter(range(100))
        with pytest.raises(CancelledError, match="another one finishes it"):
            repair_session(killed, cancelled=lambda asked=asked, after=after: next(asked) >= after)
    assert read_manifest(killed).state == "recording"
    assert repair_session(killed).messages == 130
    check_folder(killed)


def test_a_running_session_is_refused(tmp_path: Path, soak: Callable[[int, int], int]) -> None:
    clock = RigClock.create()
    recorder = SessionRecorder(RecorderConfig(root=str(tmp_path), sync_s=0.0), clock)
    recorder.start("x")
    (row,) = recorder.list()
    assert row.state == "recording"
    with pytest.raises(StateError, match="stop the recording"):
        recorder.repair("x/000").result()
    recorder.stop()
    assert recorder.repair("x/000").result().changes == []
    with pytest.raises(NotFoundError):
        recorder.repair("x/001")
    clock.close()


def test_a_folder_that_is_no_session_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        repair_session(tmp_path)


def test_a_session_without_player_and_pictures(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    record(tmp_path / "recordings", copy_to=copy, player_folder=False, pictures=[])
    assert repair_session(copy).messages == 130
    assert {path.name for path in copy.iterdir()} == {"bus.mcap", "session.json"}
    assert repair_session(copy).changes == []


def test_other_peoples_files_in_the_folder_are_left_alone(killed: Path) -> None:
    (killed / "notes.txt").write_text("mine")
    (killed / "video.mp4").write_bytes(b"\0\0\0\x18ftypmp42 somebody else's")
    (killed / "link.mp4").symlink_to(killed / "notes.txt")
    repair_session(killed)
    assert (killed / "notes.txt").read_text() == "mine"
    assert (killed / "video.mp4").read_bytes().endswith(b"somebody else's")
    assert msgspec.json.decode((killed / "session.json").read_bytes())["state"] == "repaired"


def test_what_killed_writers_left_under_way_is_finished_too(killed: Path, tmp_path: Path) -> None:
    repair_session(killed)
    images = tmp_path / "images"
    known = read_manifest(killed)
    streams = {**known.streams, "disk1": StreamDescription("disk1", [], about={"folder": str(images)})}
    write_manifest(killed, msgspec.structs.replace(known, streams=streams))

    repaired = repair_session(killed, repair_images=lambda folder: [f"{folder}: mended"])

    assert repaired.changes == [f"{images}: mended"]


def test_images_that_cannot_be_finished_keep_no_session_from_being_repaired(killed: Path, tmp_path: Path) -> None:
    def fail(folder: Path) -> list[str]:
        raise DeviceError(f"cannot write in {folder}")

    known = read_manifest(killed)
    about = {"disk1": {"folder": str(tmp_path)}, "foreign": {"folder": 5}, "strange": {"folder": ["a"]}}
    streams = {name: StreamDescription(name, [], about=told) for name, told in about.items()}
    write_manifest(killed, msgspec.structs.replace(known, streams={**known.streams, **streams}))

    repaired = repair_session(killed, repair_images=fail)

    assert repaired.changes[-1] == f"images in {tmp_path} could not be looked at: cannot write in {tmp_path}"
    assert read_manifest(killed).state == "repaired"
    assert verify_session(killed).whole
