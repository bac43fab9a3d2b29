"""A recorder that dies in the middle of a session, in a real rig: nobody has to notice by themselves."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from labwire.actors.recorder import Recorder
from labwire.client import Rig
from labwire.errors import DeadlineError, DeviceError
from labwire.operations.recording import RecordingStopped
from labwire.sessions import events
from labwire.sessions.check.verify import verify_session
from labwire.sessions.manifest import read_manifest, uuid_of
from labwire.testing import ActorBench, left_behind
from labwire.testing.rig import running_rig
from tests.bus.fake_hub import LIMIT_S, wait_until

RIG = """
[sources.eyes]
kind = "simulated_eyes"
[recorder]
root = "recordings"
[actors.scale]
class = "my_scale:Scale"
"""

SCALE = """
from labwire import Actor
from labwire.errors import StateError
from labwire.operations.recordable import Recordable, StreamCounters, StreamDescription


class Scale(Actor, Recordable):
    session = None

    def prepare(self, session):
        if self.session:
            raise StateError("the scale is being recorded already")
        self.session = session
        return self.describe()

    def start(self):
        pass

    def stop(self):
        self.session = None
        return self.counters()

    def describe(self):
        return StreamDescription("scale", [])

    def counters(self):
        return StreamCounters()
"""


def test_a_folder_that_cannot_be_made_is_named_with_the_option(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    bench = ActorBench(Recorder, root=str(tmp_path / "file" / "recordings"))
    with pytest.raises(DeviceError, match=r"file/recordings: Not a directory; choose \[recorder\] root"), bench:
        pass


def test_a_clock_that_is_set_in_the_middle_of_a_session_is_warned_of(tmp_path: Path) -> None:
    with (
        running_rig(tmp_path, "[recorder]\ndisk_warn_bytes = 0\ndisk_stop_bytes = 0\n") as running,
        running.connect() as rig,
        rig.subscribe("logging.warning") as warnings,
    ):
        running.labwire("remote", "T 50")  # nothing is recorded: nobody's loss
        path = rig.record.start("pilot").rec_path
        assert running.labwire("remote", "T 100").returncode == 0
        said = ""
        while not said.startswith("rig time was set by +"):
            warned = warnings.recv(LIMIT_S).payload
            said = warned["msg"] % tuple(warned["args"])
        assert f"in the middle of {path}" in said
        rig.record.stop()


def test_a_recorder_that_died_says_what_was_cut_off_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "my_scale.py").write_text(SCALE)
    with (
        running_rig(tmp_path, RIG) as running,
        running.connect() as rig,
        rig.subscribe("notify.recording.", "recorder.state") as heard,
    ):
        heard.wait_connected(LIMIT_S)
        assert {"bus", "player", "pictures", "scale"} == {one.name for one in rig.record.streams()}
        first = rig.record.start("long one", streams=["scale"]).rec_path
        while heard.recv(LIMIT_S).payload.get("duration_s", 0.0) < 4.0:
            pass
        (pid,) = [actor.pid for actor in rig.actors.list() if actor.name == "recorder"]
        assert pid
        os.kill(pid, signal.SIGKILL)
        told = {}
        while "notify.recording.started" not in told or "notify.recording.failed" not in told:
            try:
                topic, payload, _ = heard.recv(LIMIT_S)
            except DeadlineError as error:
                raise AssertionError(f"only {told}") from error
            if payload.get("rec_path") != first or topic.endswith(".failed"):
                told[topic] = payload
        assert told["notify.recording.failed"]["rec_path"] == first
        assert told["notify.recording.started"]["streams"] == ["bus", "scale"], (
            "others were let go, the choice is the same"
        )
        assert "labwire sessions repair" in told["notify.recording.failed"]["reason"]
        second = rig.record.stop().rec_path
        assert second == told["notify.recording.started"]["rec_path"]
        assert Path(second) == Path(first).with_name("001")
        assert uuid_of(Path(first)) == read_manifest(Path(second)).follows


def test_a_session_whose_rig_was_killed_says_so(tmp_path: Path) -> None:
    (tmp_path / "my_scale.py").write_text(SCALE)
    with pytest.raises(AssertionError, match="the rig ended with -9"), running_rig(tmp_path, RIG) as running:
        with running.connect() as rig, rig.subscribe("recorder.state") as states:
            folder = Path(rig.record.start("cut short", streams=["scale"]).rec_path)
            while not states.recv(LIMIT_S).payload["written"]:
                pass
            running.process.kill()
            running.process.wait()
        wait_until(lambda: not left_behind(running.process.pid))
        known = read_manifest(folder)
        assert (known.state, known.ended) == ("complete", "rig_died")
        ((stream, reason),) = [(one.stream, one.reason) for one in known.failed]
        assert (stream, "the rig has died" in reason) == ("scale", True), "nobody was waited for"
        found = verify_session(folder)
        assert (found.whole, found.lossless) == (True, False)
        assert [one for one in found.problems if "the rig died" in one]


SEGMENTS = """
[web]
enabled = false
[sources.eyes]
kind = "simulated_eyes"
[recorder]
root = "recordings"
disk_warn_bytes = 0
disk_stop_bytes = 0
segment_s = 1.0
retention = { max_bytes = 1, keep = 1, automatic = true }
[actors.scale]
class = "my_scale:Scale"
"""


def test_a_recording_of_days_is_a_series_that_is_checked_and_pruned(tmp_path: Path) -> None:
    (tmp_path / "my_scale.py").write_text(SCALE)
    with (
        running_rig(tmp_path, SEGMENTS) as running,
        running.connect() as rig,
        rig.subscribe("notify.recording.") as heard,
    ):
        heard.wait_connected(LIMIT_S)
        first = rig.record.start("days", streams=["scale"]).rec_path
        removed: list[str] = []
        while "days/000" not in removed:
            topic, payload, _ = heard.recv(LIMIT_S)
            if topic.endswith(".segmented") and payload["segment"] == 1:
                assert payload["ended_path"] == first
                assert payload["failed"] == []
            if topic.endswith(".checked"):
                assert payload["whole"], payload
                removed += payload["removed"]
        last = read_manifest(Path(rig.record.stop().rec_path))
        assert {"steward", "eyes", "scale", "recorder"} <= set(last.actors)
        assert (last.left_out, set(last.streams)) == (["pictures", "player"], {"bus", "scale"})
        assert last.host
        assert last.versions["python"]
        assert not Path(first).exists()
        assert rig.record.list()[0].state == "complete"


def test_require_is_all_or_nothing(tmp_path: Path) -> None:
    (tmp_path / "my_scale.py").write_text(SCALE.replace("if self.session:", "if True:"))
    with running_rig(tmp_path, RIG) as running, running.connect() as rig:
        refused = running.labwire("record", "start", "all of it", "--require")
        assert refused.returncode == 5, refused.stderr
        assert "the scale is being recorded already" in refused.stderr
        assert rig.record.list() == []
        started = rig.record.start("what works")
        assert [(failure.stream, "already" in failure.reason) for failure in started.failed] == [("scale", True)]
        assert "bus" in started.started
        rig.record.stop()


def killed(rig: Rig, name: str) -> None:
    """Kill an actor, and return when that has been noticed."""

    def pid() -> int | None:
        return next(actor.pid for actor in rig.actors.list() if actor.name == name)

    before = pid()
    assert before
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: pid() != before)


SLOW_TO_COME_BACK = """
    def on_start(self):
        if self.context.incarnation:
            import time
            time.sleep(0.5)
"""
NEVER_COMES_BACK = """
    def on_start(self):
        if self.context.incarnation:
            raise RuntimeError("broken")
"""


def test_who_is_just_starting_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "my_scale.py").write_text(SCALE + SLOW_TO_COME_BACK)
    with running_rig(tmp_path, RIG) as running, running.connect() as rig:
        killed(rig, "scale")
        wait_until(lambda: any(actor.state == "starting" for actor in rig.actors.list()))
        started = rig.record.start("early")
        assert (started.failed, "scale" in started.started) == ([], True)


def test_who_has_died_is_named(tmp_path: Path) -> None:
    (tmp_path / "my_scale.py").write_text(SCALE + NEVER_COMES_BACK)
    with running_rig(tmp_path, RIG) as running, running.connect() as rig:
        killed(rig, "scale")
        started = rig.record.start("without it")
        assert [failure.stream for failure in started.failed] == ["scale"]
        assert "scale" not in started.started


def test_what_happened_before_a_stop_is_told_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ActorBench(Recorder, root=str(tmp_path)) as bench:

        def stop() -> RecordingStopped:
            segmented = {
                "rec_path": "days/001",
                "ended_path": "days/000",
                "segment": 1,
                "failed": [],
                "duration_s": 1.0,
            }
            bench.actor._post_event(events.SEGMENTED, segmented)
            return RecordingStopped("days/001", 0.1, {})

        monkeypatch.setattr(bench.actor._recorder, "stop", stop)
        bench.actor.stop()
        bench.advance(0.1)
        told = [sent.topic for sent in bench.sent if sent.topic.startswith("notify.recording.")]
        assert told == ["notify.recording.segmented", "notify.recording.stopped"]
