from __future__ import annotations

from pathlib import Path

import pytest

from labwire.clock import monotonic_s
from labwire.errors import ConfigError, DeviceError, NotFoundError
from labwire.operations.recordable import Recordable, SessionStart, StreamCounters, StreamDescription
from labwire.sessions.log.bus_log import BusLog
from labwire.sessions.record.recording import State
from tests.sessions.lab import Lab, manifest_of
from tests.sessions.logs import read_messages


class Other(Recordable):
    """Another part of the rig; notes what it was asked to do."""

    def __init__(self, calls: list[str], *, fails_to: str = "") -> None:
        self.calls, self.fails_to = calls, fails_to

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name == self.fails_to:
            raise DeviceError(f"it does not {name}")

    def prepare(self, session: SessionStart) -> StreamDescription:
        self._call("prepare")
        return self.describe()

    def start(self) -> None:
        self._call("start")

    def stop(self) -> StreamCounters:
        self._call("stop")
        return StreamCounters(received=5, written=4, dropped=1)

    def describe(self) -> StreamDescription:
        return StreamDescription("detector", ["run.h5"], host="daq-2", about={"format": "hdf5"})

    def counters(self) -> StreamCounters:
        return StreamCounters()


def test_others_take_part(lab: Lab) -> None:
    calls: list[str] = []
    lab.others = {"detector": Other(calls)}
    recorder = lab.recorder()
    started = recorder.start("x", require=True)
    assert started.started == ["bus", "player", "pictures", "detector"]
    assert calls == ["prepare", "start"]
    stopped = recorder.stop()
    assert calls == ["prepare", "start", "stop"]
    assert stopped.counters["detector"] == StreamCounters(received=5, written=4, dropped=1)
    described = manifest_of(Path(started.rec_path))
    assert described["streams"]["detector"]["host"] == "daq-2"
    assert described["counters"]["detector"]["written"] == 4


@pytest.mark.parametrize("fails_to", ["prepare", "start"])
def test_one_that_cannot_record_is_named_and_the_rest_records(lab: Lab, fails_to: str) -> None:
    calls: list[str] = []
    lab.others = {"camera": Other(calls, fails_to=fails_to), "detector": Other([])}
    recorder = lab.recorder()
    started = recorder.start("x")
    assert started.started == ["bus", "player", "pictures", "detector"]
    (failure,) = started.failed
    assert (failure.stream, failure.reason) == ("camera", f"it does not {fails_to}")
    recorder.stop()
    assert calls == {"prepare": ["prepare"], "start": ["prepare", "start", "stop"]}[fails_to]
    assert manifest_of(Path(started.rec_path))["failed"][0]["stream"] == "camera"


@pytest.mark.parametrize("fails_to", ["prepare", "start"])
def test_required_is_all_or_nothing(lab: Lab, fails_to: str) -> None:
    calls: list[str] = []
    lab.others = {"detector": Other(calls), "camera": Other([], fails_to=fails_to)}
    recorder = lab.recorder()
    with pytest.raises(DeviceError, match=f"it does not {fails_to}"):
        recorder.start("x", require=True)
    assert calls[-1] == "stop"
    assert recorder.state is State.IDLE
    assert list(lab.root.iterdir()) == []
    lab.others = {}
    assert recorder.start("x", require=True).rec_path.endswith("x/000")


def test_one_that_does_not_stop_does_not_keep_the_others(lab: Lab) -> None:
    lab.others = {"camera": Other([], fails_to="stop")}
    recorder = lab.recorder()
    folder = Path(recorder.start("x").rec_path)
    recorder.put([b"a", b"\x80"], monotonic_s())
    assert recorder.stop().counters["bus"].written == 1
    assert manifest_of(folder)["failed"] == [{"stream": "camera", "reason": "it does not stop"}]
    assert manifest_of(folder)["state"] == "complete"


def test_what_others_say_at_their_end_is_recorded(lab: Lab) -> None:
    recorder = lab.recorder()

    class Talkative(Other):
        def start(self) -> None:
            recorder.put([b"i.start", b"\x80"], monotonic_s())

        def stop(self) -> StreamCounters:
            recorder.put([b"i.stop", b"\x80"], monotonic_s())
            return StreamCounters()

    lab.others = {"camera": Talkative([])}
    folder = Path(recorder.start("x").rec_path)
    recorder.stop()
    assert [parts[0] for parts in read_messages(folder / "bus.mcap")] == [b"i.start", b"i.stop"]


def test_names_of_the_recorders_own_streams_are_taken(lab: Lab) -> None:
    lab.others = {"bus": Other([])}
    recorder = lab.recorder()
    with pytest.raises(ConfigError, match="bus"):
        recorder.start("x")
    assert recorder.state is State.IDLE


def test_a_log_that_cannot_be_opened_is_never_optional(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: BusLog, session: SessionStart) -> StreamDescription:
        raise DeviceError("no log")

    monkeypatch.setattr(BusLog, "prepare", refuse)
    recorder = lab.recorder()
    with pytest.raises(DeviceError, match="no log"):
        recorder.start("x")
    assert list(lab.root.iterdir()) == []
    assert recorder.state is State.IDLE


def test_only_what_is_wanted_records(lab: Lab) -> None:
    calls: list[str] = []
    lab.others = {"detector": Other([]), "camera": Other(calls)}
    recorder = lab.recorder()
    offers = recorder.streams({"detector": "a detector", "camera": "a camera"})
    assert [(one.name, one.always) for one in offers] == [
        ("bus", True), ("player", False), ("pictures", False), ("detector", False), ("camera", False)
    ]  # fmt: skip
    started = recorder.start("x", require=True, streams=["detector"])
    assert started.started == ["bus", "detector"]
    assert recorder.put([b"frame.world", b"\x80", b"pixels"], monotonic_s()) is False
    assert recorder.put([b"pupil.0", b"\x80"], monotonic_s())
    recorder.stop()
    assert calls == []
    assert manifest_of(Path(started.rec_path))["left_out"] == ["camera", "pictures", "player"]
    assert [parts[0] for parts in read_messages(Path(started.rec_path) / "bus.mcap")] == [b"pupil.0"]


@pytest.mark.parametrize("streams", [["camera", "nothing"], ["player"]])
def test_a_stream_that_is_not_there_is_refused(lab: Lab, streams: list[str]) -> None:
    lab.others = {"camera": Other([])}
    recorder = lab.recorder(player_folder=False)
    with pytest.raises(NotFoundError, match=f"no stream {streams[-1]}; there are: bus, camera, pictures"):
        recorder.start("x", streams=streams)
    assert recorder.state is State.IDLE
    assert not lab.root.exists()
    assert recorder.start("x", left_out=["gone", "camera"]).started == ["bus", "pictures"]
