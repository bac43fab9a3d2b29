"""A recording of days is a series of sessions, and no message is lost between them."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import pytest

from labwire.clock import monotonic_s
from labwire.errors import DeviceError
from labwire.operations.recordable import Recordable, SessionStart, StreamCounters, StreamDescription
from labwire.sessions import events
from labwire.sessions.check.housekeeping import Housekeeper, Kept, keep_house
from labwire.sessions.check.verify import verify_session
from labwire.sessions.config import RetentionConfig
from labwire.sessions.folder import list_sessions
from labwire.sessions.log.log_reader import LogReader
from labwire.sessions.manifest import read_manifest
from labwire.sessions.record.recording import State
from tests.sessions.lab import Lab
from tests.sessions.making import datum, jpeg, picture_parts, wait_for
from tests.sessions.recorded import record_session


class Scale(Recordable):
    """Another stream; it writes down what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def prepare(self, session: SessionStart) -> StreamDescription:
        self.asked.append(f"prepare {Path(session.path).name}")
        return self.describe()

    def start(self) -> None:
        self.asked.append("start")

    def stop(self) -> StreamCounters:
        self.asked.append("stop")
        return StreamCounters()

    def describe(self) -> StreamDescription:
        return StreamDescription("scale", [])

    def counters(self) -> StreamCounters:
        return StreamCounters()


def sessions_of(lab: Lab) -> list[Path]:
    return [Path(row.path) for row in reversed(list_sessions(lab.root))]


def test_nothing_is_lost_between_two_sessions(lab: Lab) -> None:
    scale = Scale()
    lab.others["scale"] = scale
    recorder = lab.recorder(segment_s=0.3)
    recorder.start("long")
    sent = 0
    while len(sessions_of(lab)) < 4:
        now_s = monotonic_s()
        stamp = lab.clock.at(now_s)
        assert recorder.put(datum("a", stamp, seq=sent, emitter="e"), now_s)
        if sent % 50 == 0:
            assert recorder.put(picture_parts("frame.world", stamp, jpeg(sent % 20)), now_s)
        sent += 1
    recorder.stop()

    folders = sessions_of(lab)
    numbers: list[int] = []
    for folder in folders:
        with LogReader.open(folder) as log:
            messages = list(log.messages(prefixes=["a"]))
        numbers += [msgspec.msgpack.decode(message.parts[1])["seq"] for message in messages]
        assert verify_session(folder).lossless
    assert numbers == list(range(sent))
    manifests = [read_manifest(folder) for folder in folders]
    assert [one.segment for one in manifests] == list(range(len(folders)))
    assert [one.follows for one in manifests] == ["", *(one.uuid for one in manifests[:-1])]
    assert [one.ended for one in manifests] == [*["segmented"] * (len(folders) - 1), "stopped"]
    assert {one.name for one in manifests} == {"long"}
    told = [data for kind, data in lab.events if kind == events.SEGMENTED]
    assert [data["rec_path"] for data in told] == [str(folder) for folder in folders[1:]]
    rounds = [["prepare", "start", "stop"]] * len(folders)
    assert [word.split()[0] for word in scale.asked] == [word for one in rounds for word in one]


def test_a_stream_that_cannot_record_keeps_no_other_from_it(lab: Lab) -> None:
    class Absent(Scale):
        def prepare(self, session: SessionStart) -> StreamDescription:
            assert not scale.asked or scale.asked[-1] == "start", "the other one records meanwhile"
            self.asked.append("prepare")
            raise DeviceError("nobody is there")

    absent, scale = Absent(), Scale()
    lab.others |= {"absent": absent, "scale": scale}
    recorder = lab.recorder(segment_s=0.1)
    recorder.start("long")
    wait_for(lambda: len(absent.asked) > 2)
    recorder.stop()
    prepared = [one for one in scale.asked if one.startswith("prepare")]
    assert prepared == [f"prepare {folder.name}" for folder in sessions_of(lab)]
    assert scale.asked == [word for one in prepared for word in (one, "start", "stop")]
    assert all([one.stream for one in read_manifest(folder).failed] == ["absent"] for folder in sessions_of(lab))
    assert all("nobody is there" in read_manifest(folder).failed[0].reason for folder in sessions_of(lab))


def test_a_next_session_that_cannot_be_begun_leaves_the_old_one_running(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = lab.recorder(segment_s=0.05)
    folder = Path(recorder.start().rec_path)

    def fail(*_: object) -> None:
        raise DeviceError("no room for a folder")

    monkeypatch.setattr("labwire.sessions.record.recording.create_session_folder", fail)
    wait_for(lambda: events.STREAM_FAILED in lab.kinds())
    assert recorder.put(datum("a", 1.0), monotonic_s())
    assert "no room for a folder" in str(lab.events[-1][1]["reason"])
    assert recorder.stop().rec_path == str(folder)
    assert verify_session(folder).messages == 1


def test_a_stop_at_the_same_moment_ends_one_session_or_the_other(lab: Lab) -> None:
    for _ in range(8):
        recorder = lab.recorder(segment_s=0.05)
        recorder.start("hasty")
        gone = threading.Event()
        gone.wait(0.05)
        stopped = recorder.stop()
        assert recorder.state is State.IDLE
        assert read_manifest(Path(stopped.rec_path)).state == "complete"
    assert all(row.state == "complete" for row in list_sessions(lab.root))


def test_a_stop_while_the_next_begins_is_told_after_it(lab: Lab) -> None:
    recorder = lab.recorder(segment_s=0.05)
    stopping, told = threading.Thread(target=recorder.stop), list[str]()

    class Events(list[tuple[str, dict[str, object]]]):
        def append(self, event: tuple[str, dict[str, object]]) -> None:
            if event[0] == events.SEGMENTED and not told:
                stopping.start()
                stopping.join(0.2)
                told.append("after" if stopping.is_alive() else "before")

    lab.events = Events()
    recorder.start("hasty")
    wait_for(lambda: bool(told))
    stopping.join()
    assert (told, recorder.state) == (["after"], State.IDLE)


def test_without_a_limit_a_session_goes_on(lab: Lab) -> None:
    recorder = lab.recorder()
    recorder.start()
    assert recorder.stop().duration_s >= 0
    assert events.SEGMENTED not in lab.kinds()


RULE = RetentionConfig(max_bytes=1, keep=1, automatic=True)


@pytest.mark.timeout(180)  # the process that checks gives way to all others, on a busy machine for long
def test_each_session_is_checked_and_old_ones_go(tmp_path: Path) -> None:
    house = Housekeeper(tmp_path, RULE)
    done: list[Kept] = []

    def look() -> bool:
        if (kept := house.poll()) is not None:
            done.append(kept)
        return len(done) == 2

    for lost in ((), (3,)):
        house.ended(record_session(tmp_path, lost=lost)[0])
    wait_for(look)
    house.close()
    assert [(one.whole, one.lossless, one.error) for one in done] == [(True, True, ""), (True, False, "")]
    assert [row.name for one in done for row in one.removed] == ["pilot/000"]
    assert [row.name for row in list_sessions(tmp_path)] == ["pilot/001"]


def test_a_house_that_is_closed_leaves_no_process(tmp_path: Path) -> None:
    house = Housekeeper(tmp_path, RULE)
    house.ended(record_session(tmp_path)[0])
    house.close()
    assert house.poll() is None


def test_what_cannot_be_checked_is_said(tmp_path: Path) -> None:
    assert "not a session" in keep_house(tmp_path, tmp_path, RULE).error
