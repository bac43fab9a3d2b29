"""The rig that has everything, under load, recorded while parts of it are killed: what is lost is accounted for."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import pytest
from mcap.reader import make_reader

from labwire.actors.replay import SAID_BY_A_RIG
from labwire.client import Rig
from labwire.operations.replay import ReplayStatus
from labwire.operations.session_check import Verified
from labwire.sessions.check.repair import repair_session
from labwire.sessions.check.verify import verify_session
from labwire.sessions.reading.export import export_session
from labwire.sessions.reading.image_runs import runs_of
from labwire.sessions.reading.session_reader import open_session
from labwire.testing import wait_until
from labwire.testing.rig import RunningRig, running_rig
from labwire.wire.bus_message import decode_payload
from tests.examples.rigs import of_this_test
from tests.faults.everything import Ear, Load, Victims, checksum, wait_for_writers
from tests.sessions.logs import Parts, read_messages

LATE_S = 3.0
"""What a killed recorder may not yet have written: it writes at least every 0.2 s, on a busy machine later."""
REPLAY = """
name = "replay"
[actors.replay]
class = "labwire.actors.replay:ReplayActor"
session = {session!r}
speed = {speed}
"""


class Session(NamedTuple):
    """A session, repaired where its recorder was killed, and what there is in it."""

    folder: Path
    verified: Verified
    messages: list[Parts]

    def of(self, topic: str) -> list[Parts]:
        return [parts for parts in self.messages if parts[0] == topic.encode()]


class Recorded(NamedTuple):
    """What came of it."""

    folder: Path
    sessions: list[Session]
    """One for each recorder that lived."""
    ear: Ear
    loads: list[Load]
    died_s: list[float]
    """When recorders were killed."""


@pytest.mark.timeout(150)
def test_a_worker_a_writer_and_the_recorder_are_killed(tmp_path: Path, seed: int) -> None:
    recorded = record(tmp_path, parts=4, part_s=3.0, chance=random.Random(seed))
    look_at(recorded)
    replay(recorded, recorded.sessions[0], speed=4.0)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_for_ten_minutes(tmp_path: Path, seed: int) -> None:
    recorded = record(tmp_path, parts=10, part_s=60.0, chance=random.Random(seed))
    look_at(recorded)
    replay(recorded, recorded.sessions[0], speed=4.0)
    replay(recorded, recorded.sessions[-1], speed=1.0)


# --- what is done


def record(folder: Path, *, parts: int, part_s: float, chance: random.Random) -> Recorded:
    """Run the rig in a folder; kill something at the end of each part but the last."""
    with running_rig(folder, of_this_test("everything")) as running, running.connect(timeout_s=60) as rig:
        wait_for_writers(rig, "det1", 2)
        meter, scope = rig.instruments
        victims, ear = Victims(rig), Ear(f"tcp://127.0.0.1:{rig.ports.sub}")
        loads = [
            Load(rig, meter, "MEASURE_VOLTAGE", {"range": 10.0, "samples": 100}),
            Load(rig, scope, "READ_WAVEFORM", {"points": 1000}),
        ]
        folders: list[Path] = []
        kills: list[Callable[[], object]] = [
            lambda: victims.worker(chance.choice([meter, scope])),
            lambda: victims.actor(chance.choice(["disk1", "disk2"])),
            lambda: folders.append(Path(victims.recorder())),
        ]
        with ear.listening():
            wait_until(lambda: ear.messages, "the eyes, before there is a session that has them")
            folders.append(Path(rig.record.start("all", require=True).rec_path))
            with ExitStack() as stack:
                for load in loads:
                    stack.enter_context(load.going_on())
                for kill in itertools.islice(itertools.cycle(kills), parts - 1):
                    time.sleep(part_s * chance.uniform(0.8, 1.2))
                    kill()
                time.sleep(part_s)
            hear_for_a_second(rig)  # what instruments have answered is on the bus by then
            rig.record.stop()
            hear_for_a_second(rig)
    assert [bool(repair_session(one).changes) for one in folders] == [True] * (len(folders) - 1) + [False]
    sessions = [Session(one, verify_session(one), read_messages(one / "bus.mcap")) for one in folders]
    return Recorded(folder, sessions, ear, loads, victims.recorder_died_s)


def hear_for_a_second(rig: Rig) -> None:
    with rig.subscribe("recorder.state") as states:
        for _ in range(2):
            states.recv(timeout_s=60)


def look_at(recorded: Recorded) -> None:
    """See that everything is there, or known to be missing."""
    every_message_is_there_or_came_while_no_recorder_lived(recorded)
    for session in recorded.sessions:
        what_is_wrong_is_the_writers_death(session)
        every_image_is_there_or_known_to_be_missing(recorded.folder, session)
        every_picture_is_there_or_known_to_be_missing(session)
    every_answered_command_is_there(recorded)
    exports_open(recorded)


def every_message_is_there_or_came_while_no_recorder_lived(recorded: Recorded) -> None:
    ear = recorded.ear
    stretches = [ear.stretch(session.messages) for session in recorded.sessions]
    print("messages on the bus:", len(ear.messages), "recorded:", stretches)
    for (_, end), (begin, _), died_s in zip(stretches[:-1], stretches[1:], recorded.died_s, strict=True):
        assert end <= begin
        assert ear.heard_s[end] > died_s - LATE_S, "the first that is not there came when the recorder still lived"
    for session in recorded.sessions:
        found = session.verified
        assert found.messages == len(session.messages)
        assert found.missing == 0
        numbered = sum(one.messages for one in [*found.numbered, *found.indexed])
        assert numbered + sum(found.not_observable.values()) == found.messages

    for before, after in pairwise(session.verified for session in recorded.sessions):
        last = {(one.emitter, one.topic): one.last for one in before.numbered}
        first = {(one.emitter, one.topic): one.first for one in after.numbered}
        begins = {key: last[key] + 1 if first[key] > last[key] else 0 for key in last.keys() & first.keys()}
        between = {key: first[key] - begin for key, begin in begins.items() if first[key] > begin}
        assert {(gap.emitter, gap.topic): gap.messages for gap in after.gaps if gap.emitter} == between
        print("numbered messages that no recorder heard:", after.missing_before)
        assert after.missing_before == sum(between.values()) > 0


def what_is_wrong_is_the_writers_death(session: Session) -> None:
    print(session.folder.name, session.verified.state, session.verified.problems)
    allowed = (
        "images of detectors did not arrive",
        "acknowledged by a writer that died",
        "are in no video",
        "it was cut off: what came in its last moment",
        "pictures of frame.face are missing by its index",
        "this session goes on from",
    )
    assert [one for one in session.verified.problems if not any(said in one for said in allowed)] == []
    recorder_died = session.verified.state == "repaired"
    assert recorder_died or session.verified.dropped == 0


def every_image_is_there_or_known_to_be_missing(folder: Path, session: Session) -> None:
    """Recounted with h5py: pixels by the files' own word which places have an image."""
    (run,) = [run for stream, run in runs_of(session.folder) if stream == "detector.det1"]
    found = session.verified
    print("images:", run.images, "there:", found.images, "missing:", found.images_missing)
    assert run.images == found.images + found.images_missing
    images = 0
    for path in (folder / "images" / run.run_name).parent.glob("*_data_*.h5"):
        with h5py.File(path) as file:
            pixels: Any = file["entry/data/data"]
            stored: Any = file["entry/detector/image_stored"]
            assert pixels.shape[1:] == (514, 1030)
            last = int(stored[()].nonzero()[0][-1])
            assert pixels[last].max() > 0
            images += int(stored[()].sum())
    assert images == found.images


def every_picture_is_there_or_known_to_be_missing(session: Session) -> None:
    announced = [decode_payload(parts[1]) for parts in session.of("frame.face")]
    assert {(one["width"], one["height"]) for one in announced} == {(640, 480)}
    assert len(announced) <= session.verified.pictures + session.verified.dropped
    with open_session(session.folder) as opened:
        assert sum(map(len, opened.pictures.values())) == session.verified.pictures


def every_answered_command_is_there(recorded: Recorded) -> None:
    begins = [recorded.ear.stretch(session.messages)[0] for session in recorded.sessions[1:]]
    back_s = [recorded.ear.heard_s[begin] for begin in begins]
    for load in recorded.loads:
        topic = f"instrument.{load.instrument}.result"
        there = {decode_payload(one[1])["command_id"] for session in recorded.sessions for one in session.of(topic)}
        lost_s = [at_s for command_id, at_s in load.answered.items() if command_id not in there]
        print(load.instrument, "answered:", len(load.answered), "failed:", load.failed, "unrecorded:", len(lost_s))
        assert load.answered
        for at_s in lost_s:
            dead = zip(recorded.died_s, back_s, strict=True)
            assert any(died_s - LATE_S < at_s < again_s + LATE_S for died_s, again_s in dead)


def exports_open(recorded: Recorded) -> None:
    """In pandas, in a reader of MCAP that is not ours, in xarray."""
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("xarray")
    session, out = recorded.sessions[-1], recorded.folder / "exported"
    topic = "pupil.0.3d"
    rows = len(session.of(topic))
    out.mkdir()
    exported = export_session(session.folder, out / "parquet", to="parquet")
    (table,) = [one for one in exported.tables if one.topic == topic]
    frame = pandas.read_parquet(out / "parquet" / table.file)
    assert len(frame) == rows > 0
    assert frame["time_s"].notna().all()
    exported = export_session(session.folder, out / "mcap", to="mcap")
    with (out / "mcap" / "session.mcap").open("rb") as file:
        counted = sum(1 for _, channel, _ in make_reader(file).iter_messages() if channel.topic == topic)
    assert counted == rows
    assert exported.messages + exported.skipped == len(session.messages)
    with open_session(session.folder) as opened:
        assert opened[topic].to_xarray().sizes["time_s"] == rows


def replay(recorded: Recorded, session: Session, *, speed: float) -> None:
    """The same messages in the same order, pictures included, on a bus of their own."""
    said_by_a_rig = tuple(topic.encode() for topic in SAID_BY_A_RIG)
    wanted = [parts for parts in session.messages if not parts[0].startswith(said_by_a_rig)]
    folder = recorded.folder / f"replay {session.folder.name}"
    folder.mkdir()
    with running_rig(folder, REPLAY.format(session=str(session.folder), speed=speed)) as running:
        heard, status = play(running, said_by_a_rig)
    print(f"replay of {len(wanted)} messages, speed {speed}: late, us:", status.late_median_us, status.late_p99_us)
    assert [checksum(parts) for parts in wanted] == heard.messages
    assert status.lost == 0
    assert {key: recorded.ear.raw[key] for key in heard.raw} == heard.raw
    pictures = [checksum(parts) for parts in session.of("frame.face")]
    assert sum(key in heard.raw for key in pictures) >= len(pictures) - session.verified.dropped


def play(running: RunningRig, deaf_to: tuple[bytes, ...]) -> tuple[Ear, ReplayStatus]:
    """Hear a replay from its beginning to its end."""
    with running.connect(timeout_s=60) as rig:
        ear = Ear(f"tcp://127.0.0.1:{rig.ports.sub}", deaf_to)
        with ear.listening(), rig.subscribe("replay.state") as states:
            rig.replay.pause()
            rig.replay.seek(0.0)
            wait_until(lambda: rig.send("here.it.is", {}) and ear.messages, "somebody who hears")
            rig.send("here.it.begins", {})
            begin = ear.wait_for("here.it.begins")
            rig.replay.resume()
            while states.recv(timeout_s=60).payload["state"] != "ended":
                pass
            rig.send("here.it.ends", {})
            end = ear.wait_for("here.it.ends")
            status = rig.replay.status()
    return Ear("", (), ear.messages[begin + 1 : end], ear.heard_s[begin + 1 : end], ear.raw), status
