"""A check finds what is missing, and says of what nobody can know."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from labwire.errors import CancelledError, NotFoundError, StateError
from labwire.operations.recordable import StreamDescription
from labwire.operations.recording import RepairProgress, StreamFailure
from labwire.operations.session_check import Gap, Verified
from labwire.sessions import verified_file
from labwire.sessions.check.repair import repair_session
from labwire.sessions.check.verify import verify_session
from labwire.sessions.log.clock_log import ClockLog
from labwire.sessions.manifest import manifest_schema, read_manifest, write_manifest
from labwire.sessions.reading.session_reader import open_session
from tests.sessions.lab import Lab
from tests.sessions.making import START, datum, jpeg, picture_parts
from tests.sessions.recorded import STEP_S, record_session


@pytest.fixture(scope="module")
def good_original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record_session(tmp_path_factory.mktemp("good"))[0]


@pytest.fixture
def good(good_original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good_original, tmp_path / "pilot" / "000"))


def test_a_whole_session_is_lossless(good: Path) -> None:
    reports: list[RepairProgress] = []
    found = verify_session(good, report=reports.append)
    assert (found.whole, found.lossless, found.problems, found.remarks) == (True, True, [], [])
    assert found.verdict.startswith("whole, and nothing that is numbered is missing; not numbered: alone, annotation, ")
    assert (found.messages, found.pictures, found.missing, found.dropped) == (147, 20, 0, 0)
    (scale,) = found.numbered
    assert (scale.topic, scale.messages, scale.first, scale.last) == ("scale", 60, 0, 59)
    assert found.not_observable["pupil.0"] == 60
    assert "scale" not in found.not_observable
    assert {file.kind for file in found.files} == {"log", "data", "video", "info", "other"}
    assert {report.step for report in reports} >= {"bus.mcap", "world.mp4", "pupil.pldata"}


def test_gaps_are_intervals(tmp_path: Path) -> None:
    folder, _ = record_session(tmp_path, lost=[3, 4, 5, 20])
    found = verify_session(folder)
    assert (found.whole, found.lossless, found.missing) == (True, False, 4)
    first, second = found.gaps
    assert first == Gap("scales", "scale", 3, 5, 3, first.from_s, first.to_s)
    assert first.to_s - first.from_s == pytest.approx(4 * STEP_S)
    assert (second.first, second.last, second.messages) == (20, 20, 1)
    assert found.problems == ["4 numbered messages are missing, in 2 gaps"]


def test_an_emitter_that_starts_again_is_no_gap(lab: Lab) -> None:
    recorder = lab.recorder()
    folder = Path(recorder.start().rec_path)
    for seq in (5, 6, 0, 1):
        recorder.put(datum("a", 1.0, seq=seq, emitter="e"), 1.0)
    recorder.stop()
    found = verify_session(folder)
    assert found.lossless
    assert (found.numbered[0].restarts, found.numbered[0].missing) == (1, 0)


def record(lab: Lab, messages: Iterable[list[bytes]]) -> Path:
    """Record messages that come 10 ms apart."""
    recorder = lab.recorder()
    folder = Path(recorder.start().rec_path)
    assert recorder.session is not None
    start_s = recorder.session.start_monotonic_s
    for number, parts in enumerate(messages):
        assert recorder.put(parts, start_s + number * STEP_S)
    recorder.stop()
    return folder


def pictures(*indexes: int) -> list[list[bytes]]:
    return [picture_parts("frame.world", 1000.0 + at * STEP_S, jpeg(), index=index) for at, index in enumerate(indexes)]


def test_pictures_are_counted_by_their_index(lab: Lab) -> None:
    found = verify_session(record(lab, pictures(7, 8, 12, 13, 15)))
    assert (found.whole, found.lossless, found.missing, found.pictures_missing) == (True, False, 0, 4)
    assert found.problems == ["4 pictures of frame.world are missing by its index, in 2 gaps"]
    first, second = found.gaps
    assert (first.emitter, first.topic, first.first, first.last, first.messages) == ("", "frame.world", 9, 11, 3)
    assert (first.from_s, first.to_s) == (pytest.approx(STEP_S), pytest.approx(2 * STEP_S))
    assert (second.first, second.last) == (14, 14)
    assert (found.indexed[0].messages, found.not_observable) == (5, {})
    assert found.verdict == "whole, but something is missing, or nobody knows whether it is"


def test_where_the_index_of_pictures_begins_anew_nobody_knows(lab: Lab) -> None:
    found = verify_session(record(lab, pictures(*range(5), *range(5))))
    assert (found.whole, found.lossless, found.pictures_missing) == (True, False, 0)
    assert found.problems == [
        "frame.world: its index begins anew between 0.040 and 0.050 s: what came there nobody knows"
    ]


@pytest.mark.parametrize("indexes", [(0, 0, 0, 0), (0, 0, 1, 1, 2, 2), (0, 500, 1, 501, 2, 502), (5, 4, 3, 2)])
def test_an_index_that_does_not_count_is_none(lab: Lab, indexes: tuple[int, ...]) -> None:
    found = verify_session(record(lab, pictures(*indexes)))
    assert (found.lossless, found.pictures_missing, found.gaps, found.indexed) == (True, 0, [], [])
    assert found.not_observable == {"frame.world": len(indexes)}


def test_who_died_or_was_silent_is_remarked(lab: Lab) -> None:
    told = [
        datum("notify.actor.silent", 1.0, subject="actor.silent", actor="world", silent_s=5.0),
        datum("notify.actor.died", 1.0, subject="actor.died", actor="world", reason="was killed by SIGKILL"),
        datum("notify.instrument.died", 1.0, subject="instrument.died", instrument="DMM1"),
        [b"notify.actor.died", b"\xc1"],
        datum("notify.actor.died.not", 1.0),
    ]
    found = verify_session(record(lab, told))
    assert found.remarks == [
        "at 0.000 s actor world had been silent for 5 s",
        "at 0.010 s actor world died: was killed by SIGKILL",
        "at 0.020 s instrument DMM1 died: ?",
    ]
    assert found.lossless, "nothing is known to be missing"


def test_what_happens_all_the_time_is_told_as_a_number(lab: Lab) -> None:
    died = datum("notify.actor.died", 1.0, actor="world", reason="again")
    found = verify_session(record(lab, [died] * 203))
    assert (len(found.remarks), found.remarks[-1]) == (201, "and 3 more such messages")


def test_a_camera_that_did_not_work_for_a_while_is_a_loss(lab: Lab) -> None:
    fields = {"stream": "frame.world", "reason": "unplugged", "begin": 1.0, "end": 3.5}
    gaps = [datum("notify.recording.gap", 1.0, **fields), datum("notify.recording.gap", 1.0, begin=[])]
    found = verify_session(record(lab, gaps))
    assert (found.whole, found.lossless) == (True, False)
    assert found.problems == [
        "frame.world: no pictures for 2.500 s before 0.000 s: unplugged",
        "None: no pictures before 0.010 s: None",
    ]


def test_a_session_in_which_all_is_numbered_lacks_nothing(lab: Lab) -> None:
    messages = [datum("scale", 1000.0, seq=number, emitter="scales") for number in range(3)]
    assert verify_session(record(lab, messages)).verdict == "whole, and nothing is missing"


def test_what_came_after_the_death_of_the_rig_nobody_knows(lab: Lab) -> None:
    recorder = lab.recorder()
    folder = Path(recorder.start().rec_path)
    assert recorder.session is not None
    recorder.rig_died(recorder.session.start_monotonic_s + 4.875)
    found = verify_session(folder)
    assert (found.whole, found.lossless) == (True, False)
    assert found.problems == ["the rig died 4.875 s after the start: what would have come then is in no session"]


def test_a_session_that_was_cut_off_lacks_its_end_though_it_was_repaired(good: Path) -> None:
    write_manifest(good, msgspec.structs.replace(read_manifest(good), state="repaired", ended=""))
    found = verify_session(good)
    assert (found.whole, found.lossless) == (True, False)
    assert found.problems == ["it was cut off: what came in its last moment, and after it, is not in it"]


def test_a_stream_that_did_not_take_part_is_told(good: Path) -> None:
    known = read_manifest(good)
    write_manifest(good, msgspec.structs.replace(known, failed=[StreamFailure("scale", "nobody is there")]))
    found = verify_session(good)
    assert (found.whole, found.lossless) == (True, False)
    assert found.problems == ["scale did not take part, or not to the end: nobody is there"]


def cut(name: str, bytes_off: int) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / name
        path.write_bytes(path.read_bytes()[:-bytes_off])

    return damage


def flip(name: str, at: int) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[at] ^= 0xFF
        (folder / name).write_bytes(data)

    return damage


def other_timestamps(folder: Path) -> None:
    path = folder / "pupil_timestamps.npy"
    data = bytearray(path.read_bytes())
    data[-8:] = np.float64(7.0).tobytes()
    path.write_bytes(data)


def other_count(folder: Path) -> None:
    path = folder / "session.json"
    manifest = json.loads(path.read_text())
    manifest["counters"]["bus"]["written"] += 1
    path.write_text(json.dumps(manifest))


def on_another_host(folder: Path) -> None:
    path = folder / "session.json"
    manifest = json.loads(path.read_text())
    manifest["streams"]["far"] = {"stream": "far", "files": ["x.h5"], "host": "lab2"}
    path.write_text(json.dumps(manifest))


def torn_line(folder: Path) -> None:
    (folder / "instruments.jsonl").write_text('{"a": 1}\n{"a": ')


def array_outside(folder: Path) -> None:
    (folder / "instruments.jsonl").write_text('{"array": {"offset": 8, "bytes": 8}}\n')
    (folder / "instruments.arrays").write_bytes(bytes(15))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut("bus.mcap", 10), "bus.mcap: it has no whole index"),
        (flip("bus.mcap", 2000), "another checksum"),
        (cut("pupil.pldata", 3), "pupil.pldata: torn"),
        (other_timestamps, "1 timestamps are not those of the data"),
        (lambda folder: (folder / "pupil_timestamps.npy").unlink(), "pupil_timestamps.npy is missing"),
        (cut("world.mp4", 30), "world.mp4: its index is missing"),
        (cut("world_timestamps.npy", 8), "20 pictures, but None timestamps"),
        (lambda folder: (folder / "world.mp4").unlink(), "world.mp4, which pictures wrote, is missing"),
        (lambda folder: (folder / "session.json").unlink(), "it has no session.json"),
        (lambda folder: (folder / "session.json").write_text("{"), "session.json"),
        (lambda folder: (folder / "x.part").touch(), "x.part: was never finished"),
        (other_count, "bus: 148 were written, 147 are there"),
        (on_another_host, "far: its files are on lab2"),
        (torn_line, "1 lines are no whole JSON object"),
        (array_outside, "1 arrays are not in instruments.arrays"),
    ],
)
def test_damage_is_found(good: Path, damage: Callable[[Path], object], words: str) -> None:
    damage(good)
    found = verify_session(good)
    assert not found.whole
    assert not found.lossless
    assert any(words in problem for problem in found.problems), found.problems


def test_a_picture_that_is_in_no_video_is_missing(good: Path) -> None:
    for name in ("world.mp4", "world_timestamps.npy"):
        (good / name).unlink()
    found = verify_session(good)
    assert "20 pictures were announced and are in no video" in found.problems
    assert found.dropped == 20


def test_hdf5_is_opened(good: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(good / "run_000001.h5", "w") as file:
        file.create_dataset("entry/data/data", data=np.zeros((5, 4, 3), "u2"), chunks=(1, 4, 3), compression="gzip")
    found = verify_session(good)
    assert [(file.items, file.ok) for file in found.files if file.kind == "images"] == [(5, True)]
    (good / "run_000001.h5").write_bytes(b"no such thing")
    assert "cannot be opened" in " ".join(verify_session(good).problems)


def test_a_session_that_was_cut_off_is_recounted_and_after_a_repair_whole(good: Path) -> None:
    path = good / "session.json"
    path.write_text(path.read_text().replace('"complete"', '"recording"'))
    cut("bus.mcap", 500)(good)
    found = verify_session(good)
    assert (found.state, found.whole, found.messages > 100) == ("broken", False, True)
    assert any("`labwire sessions repair`" in problem for problem in found.problems)
    repair_session(good)
    assert verify_session(good).whole


def test_what_was_found_is_kept_until_a_file_changes(good: Path) -> None:
    found = verify_session(good)
    assert verified_file.read(good) == found
    (good / "user_info.csv").write_text("name,other\n")
    assert verified_file.read(good) is None
    (good / "verified.json").write_text("{")
    assert verified_file.read(good) is None
    unkept = verify_session(good, keep=False)
    assert isinstance(unkept, Verified)
    assert (good / "verified.json").read_text() == "{"


def test_refusals(lab: Lab, tmp_path: Path, good: Path) -> None:
    with pytest.raises(NotFoundError):
        verify_session(tmp_path)
    recorder = lab.recorder()
    folder = Path(recorder.start().rec_path)
    with pytest.raises(StateError):
        verify_session(folder)
    with pytest.raises(CancelledError):
        verify_session(good, cancelled=lambda: True)


def test_the_manifest_fits_its_schema_and_has_the_clocks(good: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(json.loads((good / "session.json").read_text()), manifest_schema())
    manifest = read_manifest(good)
    first, last = manifest.clocks
    assert (first.monotonic_s, first.epoch_us) == (manifest.start_monotonic_s, manifest.start_epoch_us)
    assert last.monotonic_s > first.monotonic_s
    assert last.rig_time_s - last.monotonic_s == pytest.approx(first.rig_time_s - first.monotonic_s, abs=1e-6)
    assert manifest.wall_offset_s is not None
    assert manifest.wall_drift_ppm is None


def test_drift_is_told_after_a_minute_and_readings_stay_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labwire.sessions.log.clock_log.MAX_READINGS", 8)
    now_s = START.start_monotonic_s
    monkeypatch.setattr("labwire.sessions.log.clock_log.monotonic_s", lambda: now_s)
    monkeypatch.setattr(
        "labwire.sessions.log.clock_log.epoch_us",
        lambda: START.start_epoch_us + round((now_s - START.start_monotonic_s) * (1e6 + 50)),
    )
    clocks = ClockLog(START)
    assert clocks.for_manifest()["wall_offset_s"] is None
    for _ in range(30):
        now_s += 60.0
        clocks.read(900.0)
    told = clocks.for_manifest()
    assert told["wall_drift_ppm"] == pytest.approx(50.0)
    assert told["wall_offset_s"] == pytest.approx(30 * 60 * 50e-6)
    assert len(told["clocks"]) <= 9
    assert told["clocks"][0].monotonic_s == START.start_monotonic_s
    assert msgspec.to_builtins(told["clocks"][-1])["rig_time_s"] == now_s + 900.0


def note_run(folder: Path, images: int, **more: object) -> Path:
    """Leave the line that a writer would, and its files: five images in two of them, and a master."""
    h5py = pytest.importorskip("h5py")
    data = folder.parent / "images"
    data.mkdir()
    for number, count in ((1, 3), (2, 2)):
        with h5py.File(data / f"run_{number}.h5", "w") as file:
            file.create_dataset("entry/data/data", data=np.ones((count, 4, 3), "u2"), chunks=(1, 4, 3))
    layout = h5py.VirtualLayout(shape=(5, 4, 3), dtype="u2")
    layout[:3] = h5py.VirtualSource(data / "run_1.h5", "entry/data/data", shape=(3, 4, 3))
    layout[3:] = h5py.VirtualSource(data / "run_2.h5", "entry/data/data", shape=(2, 4, 3))
    with h5py.File(data / "run_master.h5", "w") as file:
        file.create_virtual_dataset("entry/data/data", layout)
    files = [str(data / f"run_{number}.h5") for number in (1, 2)]
    run = {"run_number": 7, "images": images, "missing": 0, "failed": 0, "files": files, "file_count": 2}
    line = {**run, "master_file": str(data / "run_master.h5"), **more}
    (folder / "writer.disk1.jsonl").write_text(json.dumps(line) + "\n")
    return data


def test_images_of_a_run_are_counted_where_they_are(good: Path) -> None:
    note_run(good, 5)
    found = verify_session(good)
    assert (found.images, found.images_missing, found.problems, found.lossless) == (5, 0, [], True)
    with open_session(good) as session:
        (images,) = session.images.values()
        assert images.shape == (5, 4, 3)


def test_of_a_run_without_master_file_the_data_files_open(good: Path) -> None:
    h5py = pytest.importorskip("h5py")
    data = good.parent / "images"
    data.mkdir()
    for number in (1, 2, 3):  # the second was stored by a writer that died
        with h5py.File(data / f"run_data_00000{number}.h5", "w") as file:
            file["entry/data/data"] = np.full((2, 4, 3), number, "u2")
    files = [str(data / f"run_data_00000{number}.h5") for number in (1, 3)]
    line = {"run_number": 7, "images": 4, "files": files, "file_count": 2, "master_file": ""}
    (good / "writer.disk2.jsonl").write_text(json.dumps(line) + "\n")
    with open_session(good) as session:
        assert [int(images[1].max()) for images in session.images.values()] == [1, 2, 3]
    with h5py.File(data / "run_master.h5", "w") as file:  # somebody has finished it
        file["entry/data/data"] = np.ones((6, 4, 3), "u2")
    with open_session(good) as session:
        assert [path.rpartition("/")[2] for path in session.images] == ["run_master.h5"]


def test_images_that_are_not_there_are_missed(good: Path) -> None:
    data = note_run(good, 6, missing=2, failed=1)
    found = verify_session(good)
    assert found.problems == [
        "writer.disk1: run 7: 6 images were stored, 5 are there",
        "3 images of detectors did not arrive, or could not be stored",
    ]
    assert (found.whole, found.images_missing) == (False, 3)
    (data / "run_2.h5").unlink()
    assert "1 of its files are not here" in verify_session(good).problems[0]


def test_places_of_images_that_did_not_come_are_no_images(good: Path) -> None:
    data = note_run(good, 4)
    h5py = pytest.importorskip("h5py")
    with h5py.File(data / "run_2.h5", "a") as file:  # the run ended in the middle of the file
        file["entry/detector/image_stored"] = np.array([1, 0], "u1")
    found = verify_session(good)
    assert (found.images, found.problems) == (4, [])


@pytest.mark.parametrize("acknowledged", [7, 9])
def test_images_of_a_writer_that_died_are_found_by_the_name_of_their_run(good: Path, acknowledged: int) -> None:
    """It acknowledged images and did not live to note them: two in a file, and three in one that it did not finish."""
    data = note_run(good, 5, run_name="7:good/dead")
    h5py = pytest.importorskip("h5py")
    (data / "good").mkdir()
    for name, count in (("good/dead_data_000002.h5", 2), ("good/dead_data_000004.h5.17.tmp", 3)):
        with h5py.File(data / name, "w") as file:
            stack = file.create_dataset("entry/data/data", (4, 4, 3), "u2", chunks=(1, 4, 3))
            stack[:count] = 1
            file["entry/detector/image_stored"] = np.array([1] * count + [0] * (4 - count), "u1")
    offered = acknowledged + 4
    run = {"run_number": 7, "run_name": "7:good/dead", "images": offered, "missing": 4, "acknowledged": acknowledged}
    (good / "detector.det1.jsonl").write_text(json.dumps(run) + "\n")
    described = StreamDescription("disk2", [], about={"folder": str(data)})
    known = read_manifest(good)
    write_manifest(good, msgspec.structs.replace(known, streams={**known.streams, "disk2": described}))
    found = verify_session(good)
    assert found.images + found.images_missing == offered
    assert found.images == 7
    said = " ".join(found.problems)
    wanted = "4 images were acknowledged by a writer that died before it noted them: 2 are in its files, 2 are not"
    assert (wanted in said) == (acknowledged == 9)
    assert ("what it did not finish holds 3: " in said) == (acknowledged == 9)


def test_a_run_with_more_files_than_its_line_names_is_counted_by_its_master(good: Path) -> None:
    note_run(good, 5, file_count=1000)
    assert verify_session(good).images == 5


def test_of_two_writers_with_very_many_files_each_has_its_own(good: Path) -> None:
    """Their lines name two files each, and there are four."""
    h5py = pytest.importorskip("h5py")
    data = note_run(good, 0)
    paths = [data / f"many_data_{number:06d}.h5" for number in range(1, 9)]
    for path, count in zip(paths, (3, 3, 3, 3, 3, 3, 3, 1), strict=True):
        with h5py.File(path, "w") as file:
            file["entry/data/data"] = np.ones((count, 4, 3), "u2")
    for first, images in ((0, 12), (1, 10)):
        files = [str(paths[first]), str(paths[first + 2])]
        run = {"run_number": 7, "images": images, "files": files, "file_count": 4}
        (good / f"writer.disk{first + 1}.jsonl").write_text(json.dumps(run) + "\n")
    found = verify_session(good)
    assert (found.images, found.problems) == (22, [])


def test_a_log_that_ends_in_the_middle_was_cut_off_and_not_changed_by_the_disk(good: Path) -> None:
    size = (good / "bus.mcap").stat().st_size
    cut("bus.mcap", size // 2)(good)
    problems = " ".join(verify_session(good).problems)
    assert "cut off" in problems
    assert "checksum" not in problems
