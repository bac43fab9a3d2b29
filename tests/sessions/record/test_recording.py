from __future__ import annotations

import threading
from pathlib import Path

import pytest

from labwire.clock import monotonic_s
from labwire.errors import DiskLowError, InvalidNameError, LabwireError, StateError
from labwire.sessions import events
from labwire.sessions.folder import list_sessions
from labwire.sessions.log.bus_log import BusLog
from labwire.sessions.player.player_format import PlayerFolder
from labwire.sessions.record.recording import State
from tests.sessions.lab import Lab, manifest_of
from tests.sessions.logs import read_messages, read_metadata, read_rows
from tests.sessions.making import datum, jpeg, picture_parts, wait_for
from tests.sessions.strict_player import check_folder, load_data, load_info, load_video


def test_a_session_from_start_to_stop(lab: Lab) -> None:
    recorder = lab.recorder()
    started = recorder.start("my pilot")
    folder = Path(started.rec_path)
    assert folder == lab.root.resolve() / "my pilot" / "000"
    assert started.started == ["bus", "player", "pictures"]
    assert started.failed == []
    assert manifest_of(folder)["state"] == "recording"
    load_info(folder)
    assert recorder.session is not None
    assert recorder.session.path == started.rec_path

    messages = [datum("pupil.0", 1000.0 + number / 100, seq=number) for number in range(50)]
    pictures = [picture_parts("frame.world", 1000.0 + number / 30, jpeg(number)) for number in range(10)]
    for parts in [*messages, *pictures]:
        assert recorder.put(parts, monotonic_s())
    stopped = recorder.stop()

    assert stopped.rec_path == started.rec_path
    assert stopped.duration_s > 0
    assert {name: counters.written for name, counters in stopped.counters.items()} == {
        "bus": 60,
        "player": 50,
        "pictures": 10,
    }
    assert read_messages(folder / "bus.mcap") == [*map(tuple, messages), *[tuple(parts[:2]) for parts in pictures]]
    assert len(load_data(folder, "pupil")) == 50
    assert load_video(folder, "world")[1] == [1000.0 + number / 30 for number in range(10)]
    assert load_info(folder)["duration_s"] == stopped.duration_s
    check_folder(folder)
    described = manifest_of(folder)
    assert (described["state"], described["ended"], described["rig"]) == ("complete", "stopped", {"name": "test rig"})
    assert described["counters"]["bus"]["written"] == 60
    listed = {name for stream in described["streams"].values() for name in stream["files"]}
    assert listed <= {path.name for path in folder.iterdir()}
    assert not [path for path in folder.iterdir() if path.name.startswith(".") or path.suffix == ".part"]
    assert lab.events == []
    (row,) = recorder.list()
    assert (row.name, row.state, row.messages) == ("my pilot/000", "complete", 60)
    assert recorder.state is State.IDLE
    assert recorder.session is None
    assert not recorder.put(messages[0], monotonic_s())


def test_a_session_whose_rig_died_lasted_until_then(lab: Lab) -> None:
    recorder = lab.recorder()
    folder = Path(recorder.start().rec_path)
    assert recorder.session is not None
    recorder.put(datum("pupil.0", 1000.0), monotonic_s())
    stopped = recorder.rig_died(recorder.session.start_monotonic_s + 4.875)
    assert stopped.duration_s == pytest.approx(4.875)
    described = manifest_of(folder)
    assert (described["state"], described["ended"]) == ("complete", "rig_died")
    assert described["duration_s"] == load_info(folder)["duration_s"] == stopped.duration_s
    check_folder(folder)


def test_the_list_has_the_running_session_as_it_is(lab: Lab) -> None:
    recorder = lab.recorder()
    recorder.start()
    for number in range(30):
        recorder.put(datum("pupil.0", 1000.0, number=number), monotonic_s())
    wait_for(lambda: recorder.list()[0].messages == 30)
    (row,) = recorder.list()
    assert (row.state, row.gaps, row.dropped) == ("recording", 0, 0)
    (seen_by_others,) = list_sessions(lab.root)
    assert (seen_by_others.state, seen_by_others.messages) == ("recording", None)
    recorder.stop()
    assert recorder.list()[0].messages == list_sessions(lab.root)[0].messages == 30


def test_sessions_one_after_the_other(lab: Lab) -> None:
    recorder = lab.recorder()
    for number in range(3):
        started = recorder.start("x")
        assert started.rec_path.endswith(f"x/{number:03d}")
        recorder.put([b"n%d" % number, b"\x80"], monotonic_s())
        assert recorder.stop().counters["bus"].written == 1


def test_messages_are_selected_by_prefix(lab: Lab) -> None:
    recorder = lab.recorder(topics=["pupil.", "notify"], exclude=["notify.secret"], pictures=[], player_folder=False)
    folder = Path(recorder.start().rec_path)
    topics = [b"pupil.0", b"pupil", b"gaze", b"notify.a", b"notify.secret.b", b"notify", b""]
    taken = [recorder.put([topic, b"\x80"], monotonic_s()) for topic in topics]
    recorder.stop()
    assert taken == [True, False, False, True, False, True, False]
    assert [parts[0] for parts in read_messages(folder / "bus.mcap")] == [b"pupil.0", b"notify.a", b"notify"]
    assert {path.name for path in folder.iterdir()} == {"bus.mcap", "session.json"}


def test_wrong_moments(lab: Lab) -> None:
    recorder = lab.recorder()
    with pytest.raises(StateError, match="idle"):
        recorder.stop()
    recorder.clock_changed(0.0, 1.0, 2.0)
    recorder.start("x")
    with pytest.raises(StateError, match=r"recording .*x/000"):
        recorder.start("y")
    assert not recorder.put([], monotonic_s())
    assert recorder.empty_messages == 1
    recorder.stop()
    with pytest.raises(StateError):
        recorder.stop()
    assert [path.name for path in lab.root.iterdir()] == ["x"]


def test_bad_names_start_nothing(lab: Lab) -> None:
    recorder = lab.recorder()
    for name in ("../x", "/etc/x", "a\0b"):
        with pytest.raises(InvalidNameError):
            recorder.start(name)
    assert recorder.state is State.IDLE
    assert not lab.root.exists()
    recorder.start("good")


def test_what_is_no_picture_for_the_video_stays_in_the_log(lab: Lab) -> None:
    recorder = lab.recorder()
    folder = Path(recorder.start().rec_path)
    kept = [
        picture_parts("frame.world", 1.0, jpeg()[:50]),
        picture_parts("frame.world", 1.0, b"nal units", format="h264"),
        [*picture_parts("frame.world", 1.0, jpeg()), b"second raw part"],
        [b"frame.world", b"\xc1", jpeg()],
        [*datum("other.topic", 1.0), jpeg()],
    ]
    good = picture_parts("frame.world", 1.0, jpeg())
    for parts in [*kept, good]:
        recorder.put(parts, monotonic_s())
    stopped = recorder.stop()
    assert read_messages(folder / "bus.mcap") == [*map(tuple, kept), tuple(good[:2])]
    assert stopped.counters["pictures"].malformed == 4
    assert stopped.counters["pictures"].written == 1
    assert events.MALFORMED in lab.kinds()


def test_a_jump_of_rig_time_is_stored_and_bends_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labwire.sessions.record.guard._TICK_S", 3600.0)  # it would find the jump before it is told
    recorder = lab.recorder()
    folder = Path(recorder.start().rec_path)
    before_s, start_s = lab.clock.offset_s, monotonic_s()
    recorder.put(datum("a", lab.clock.at(start_s + 1)), start_s + 1)
    lab.clock.set_now(5.0)
    after_s = lab.clock.offset_s
    for _ in range(3):  # hearing it again does no harm
        recorder.clock_changed(before_s, after_s, start_s + 1.5)
    recorder.put(datum("a", lab.clock.at(start_s + 2)), start_s + 2)
    wait_for(lambda: manifest_of(folder)["clock_changes"] != [])
    recorder.stop()

    rows = [message for _, message in read_rows(folder / "bus.mcap")]
    assert rows[1].log_time - rows[0].log_time == 10**9
    assert rows[1].publish_time < rows[0].publish_time
    change = {"offset_before_s": before_s, "offset_after_s": after_s, "monotonic_s": start_s + 1.5}
    assert manifest_of(folder)["clock_changes"] == [change]
    notes = [note for name, note in read_metadata(folder / "bus.mcap") if name == "labwire.clock_change"]
    assert [{key: float(value) for key, value in note.items()} for note in notes] == [change]
    check_folder(folder)


def test_a_jump_that_nobody_reports_is_found(lab: Lab) -> None:
    recorder = lab.recorder()
    folder = Path(recorder.start().rec_path)
    lab.clock.set_now(77.0)
    wait_for(lambda: manifest_of(folder)["clock_changes"] != [])
    recorder.stop()
    (change,) = manifest_of(folder)["clock_changes"]
    assert change["offset_after_s"] == lab.clock.offset_s


def test_a_wall_clock_that_steps_does_not_bend_the_log(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = lab.recorder()
    folder = Path(recorder.start().rec_path)
    now_s = monotonic_s()
    recorder.put([b"a", b"\x80"], now_s)
    monkeypatch.setattr("time.time_ns", lambda: 10**18)
    recorder.put([b"a", b"\x80"], now_s + 1)
    recorder.stop()
    rows = [message for _, message in read_rows(folder / "bus.mcap")]
    assert rows[1].log_time - rows[0].log_time == 10**9


# --- disk


def test_no_session_starts_on_a_full_disk(lab: Lab) -> None:
    recorder = lab.recorder(disk_stop_bytes=1_000_000_000)
    lab.free_bytes = 999_999_999
    with pytest.raises(DiskLowError, match=r"1\.00 GB free.*limit is 1\.00 GB.*Make room"):
        recorder.start("x")
    assert not lab.root.exists()
    lab.free_bytes = 1_000_000_000
    recorder.start("x")


def test_low_disk_warns_once_and_then_stops_cleanly(lab: Lab) -> None:
    recorder = lab.recorder(disk_warn_bytes=5000, disk_stop_bytes=1000)
    folder = Path(recorder.start("x").rec_path)
    recorder.put(datum("a", 1.0), monotonic_s())
    lab.free_bytes = 4000
    wait_for(lambda: lab.kinds() == [events.DISK_LOW])
    assert lab.events[0][1] == {
        "path": str(folder),
        "free_bytes": 4000,
        "limit_bytes": 5000,
        "stopping": False,
    }
    lab.free_bytes = 3000
    assert recorder.state is State.RECORDING
    lab.free_bytes = 999
    wait_for(lambda: lab.kinds() == [events.DISK_LOW, events.DISK_LOW, events.ENDED])
    assert lab.events[1][1]["stopping"] is True
    ended = lab.events[2][1]
    assert ended["ended"] == "disk_low"
    assert ended["rec_path"] == str(folder)
    assert recorder.state is State.IDLE
    assert manifest_of(folder)["ended"] == "disk_low"
    assert manifest_of(folder)["state"] == "complete"
    assert read_messages(folder / "bus.mcap") == [tuple(datum("a", 1.0))]
    check_folder(folder)


def test_a_disk_that_fails_ends_the_session_with_whole_files(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = lab.recorder()
    folder = Path(recorder.start("x").rec_path)

    def fail(self: BusLog) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(BusLog, "flush", fail)
    recorder.put(datum("a", 1.0), monotonic_s())
    wait_for(lambda: events.ENDED in lab.kinds())
    assert lab.kinds() == [events.STREAM_FAILED, events.ENDED]
    assert lab.events[0][1]["stream"] == "bus"
    assert "No space left" in str(lab.events[0][1]["reason"])
    assert manifest_of(folder)["ended"] == "disk_failed"
    assert read_messages(folder / "bus.mcap") == [tuple(datum("a", 1.0))]
    check_folder(folder)


def test_a_bug_in_a_view_does_not_stop_the_log(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = lab.recorder()
    folder = Path(recorder.start("x").rec_path)

    def break_down(self: PlayerFolder, message: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(PlayerFolder, "append", break_down)
    for _ in range(11):
        recorder.put(datum("a", 1.0), monotonic_s())
    stopped = recorder.stop()
    assert stopped.counters["bus"].written == 11
    assert stopped.counters["player"].dropped == 11
    assert lab.events == [(events.DATA_LOST, {"stream": "player", "messages": 11, "reason": "RuntimeError: a bug"})]
    assert manifest_of(folder)["state"] == "complete"


def test_a_view_whose_disk_fails_ends_the_session_and_the_log_is_whole(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = lab.recorder()
    folder = Path(recorder.start("x").rec_path)

    def fail(self: PlayerFolder) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(PlayerFolder, "flush", fail)
    recorder.put(datum("a", 1.0), monotonic_s())
    wait_for(lambda: events.ENDED in lab.kinds())
    assert lab.events[0] == (events.STREAM_FAILED, {"stream": "player", "reason": "[Errno 5] Input/output error"})
    assert manifest_of(folder)["failed"] == [{"stream": "player", "reason": "[Errno 5] Input/output error"}]
    assert len(read_messages(folder / "bus.mcap")) == 1
    check_folder(folder)


def test_messages_beyond_the_queue_are_counted_and_reported(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = lab.recorder(queue_messages=5)
    may_write = threading.Event()
    real = BusLog.flush

    def slow(self: BusLog) -> None:
        assert may_write.wait(30)
        real(self)

    monkeypatch.setattr(BusLog, "flush", slow)
    folder = Path(recorder.start("x").rec_path)
    recorder.put([b"first", b"\x80"], monotonic_s())
    assert recorder.session is not None
    wait_for(lambda: recorder.counters()["bus"].written == 1)
    taken = [recorder.put([b"more", b"\x80"], monotonic_s()) for _ in range(20)]
    assert taken == [True] * 5 + [False] * 15
    wait_for(lambda: lab.kinds() == [events.DATA_LOST])
    assert lab.events[0][1]["messages"] == 15
    assert "did not keep up" in str(lab.events[0][1]["reason"])
    may_write.set()
    counters = recorder.stop().counters["bus"]
    assert (counters.received, counters.written, counters.dropped) == (21, 6, 15)
    assert len(read_messages(folder / "bus.mcap")) == 6


def test_gaps_are_reported(lab: Lab) -> None:
    recorder = lab.recorder()
    recorder.start("x")
    for number in (1, 2, 5):
        recorder.put(datum("bus.stats", 1.0, seq=number, emitter="steward"), monotonic_s())
    assert recorder.stop().counters["bus"].gaps == 2
    assert (
        events.GAPS,
        {"stream": "bus", "messages": 2, "reason": "2 of b'bus.stats' from 'steward' are missing before number 5"},
    ) in (lab.events)


def test_a_message_with_an_impossible_time_costs_only_itself(lab: Lab) -> None:
    recorder = lab.recorder()
    folder = Path(recorder.start("x").rec_path)
    for at_s in (monotonic_s(), float("nan"), float("inf"), 1e30, -1e30, monotonic_s()):
        recorder.put([b"a", b"\x80"], at_s)
    counters = recorder.stop().counters["bus"]
    assert (counters.written, counters.dropped) == (3, 3)
    assert len(read_messages(folder / "bus.mcap")) == 3


def test_a_listener_that_raises_does_not_end_the_watch(lab: Lab) -> None:
    recorder = lab.recorder(disk_warn_bytes=5000, disk_stop_bytes=1000)
    heard: list[str] = []

    def raise_always(kind: str, data: dict[str, object]) -> None:
        heard.append(kind)
        raise RuntimeError(kind)

    recorder._on_event = raise_always
    recorder.start("x")
    lab.free_bytes = 4000
    wait_for(lambda: heard == [events.DISK_LOW])
    lab.free_bytes = 500
    wait_for(lambda: recorder.state is State.IDLE)


# --- threads


def test_put_and_stop_from_many_threads(lab: Lab) -> None:
    recorder = lab.recorder()
    folder = Path(recorder.start("x").rec_path)
    taken: list[int] = []
    stopped: list[LabwireError | int] = []

    def produce(name: int) -> None:
        count = 0
        while recorder.put([b"t%d" % name, b"\x81\xa1n\xcd" + count.to_bytes(2, "big")], monotonic_s()):
            count += 1
            if count == 60_000:
                break
        taken.append(count)

    def stop() -> None:
        wait_for(lambda: recorder.counters()["bus"].written > 500)
        try:
            stopped.append(recorder.stop().counters["bus"].written)
        except LabwireError as error:
            stopped.append(error)

    threads = [threading.Thread(target=produce, args=(name,)) for name in range(3)]
    threads += [threading.Thread(target=stop)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stopped == [sum(taken)]
    found = read_messages(folder / "bus.mcap")
    for name in range(3):
        numbers = [parts[1] for parts in found if parts[0] == b"t%d" % name]
        assert numbers == [b"\x81\xa1n\xcd" + number.to_bytes(2, "big") for number in range(len(numbers))]
    assert len(found) == sum(taken)


def test_only_one_of_two_stops_succeeds(lab: Lab) -> None:
    recorder = lab.recorder()
    recorder.start("x")
    results: list[str] = []

    def stop() -> None:
        try:
            recorder.stop()
            results.append("stopped")
        except StateError:
            results.append("refused")

    threads = [threading.Thread(target=stop) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["refused"] * 3 + ["stopped"]
