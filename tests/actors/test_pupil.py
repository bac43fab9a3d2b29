"""A source that joins Pupil Core or another rig: data with corrected time, recordings, a network that breaks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

import labwire
from labwire.actors.pupil import ask_for_pictures
from labwire.bus.subscription import Subscription
from labwire.client import Rig
from labwire.errors import DeadlineError
from labwire.testing import SmallRig, wait_until
from labwire.wire.bus_message import BusMessage, encode_message
from tests.ports import lasting_port
from tests.rig_fixture import EYES, RunningRig, running_rig

LIMIT_S = 20.0


def toml(port: int, *more: str, recorder: bool = False) -> str:
    rows = ['name = "joins"', "[sources.tracker]", 'kind = "pupil"', f"port = {port}", *more]
    rows += ["[recorder]", "disk_warn_bytes = 0", "disk_stop_bytes = 0"] if recorder else []
    return "\n".join(rows) + "\n"


class Pupil:
    """Pupil Core, as far as a source sees it."""

    def __init__(self, port: int = 0) -> None:
        self.small = SmallRig(port, kind="pupil")
        self._context: zmq.Context[Any] = zmq.Context()
        self._pub = self._context.socket(zmq.PUB)
        self._pub.linger = 0
        self._pub.connect(f"tcp://127.0.0.1:{self.small.pub_port}")

    @property
    def now(self) -> float:
        return time.monotonic() + self.small.offset_s

    def send(self, topic: str, payload: dict[str, Any], raw: tuple[bytes, ...] = ()) -> None:
        self._pub.send_multipart(encode_message(topic, {"topic": topic, **payload}, raw))

    def close(self) -> None:
        self.small.close()
        self._pub.close()
        self._context.term()


@contextlib.contextmanager
def joined(pupil: Pupil, folder: Path, *options: str) -> Iterator[Rig]:
    with running_rig(folder, toml(pupil.small.port, *options)) as running, running.connect() as rig:
        wait_until(lambda: state_of(rig).get("connected"), "the source")
        yield rig


@pytest.fixture(scope="module")
def pupil() -> Iterator[Pupil]:
    with contextlib.closing(Pupil()) as pupil:
        yield pupil


@pytest.fixture(scope="module")
def rig(pupil: Pupil, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with joined(pupil, tmp_path_factory.mktemp("joined")) as rig:
        yield rig


def state_of(rig: Rig) -> dict[Any, Any]:
    return next((value.payload for value in rig.bus.last("source.tracker")), {})


def is_recording(rig: Rig) -> bool:
    return any(value.payload["recording"] for value in rig.bus.last("recorder.state"))


def next_of(topic: str, bus: Subscription[BusMessage]) -> BusMessage:
    while not (message := bus.recv(LIMIT_S)).topic.startswith(topic):
        pass
    return message


def test_data_come_with_rig_time(pupil: Pupil, rig: Rig) -> None:
    with rig.subscribe("gaze", "frame.", "notify.") as bus:
        before_s = rig.now()
        stamp = pupil.now
        pupil.send("gaze.3d.0.", {"timestamp": stamp, "base_data": [{"timestamp": stamp - 0.5}], "confidence": 0.9})
        pupil.send("frame.world", {"timestamp": pupil.now, "index": 7}, (b"\xff\xd8picture",))
        gaze, frame = next_of("gaze", bus), next_of("frame.", bus)
        assert before_s - 0.5 <= gaze.payload["timestamp"] <= rig.now() + 0.5  # as well as the offset can be known
        assert abs(gaze.payload["timestamp"] - gaze.payload["base_data"][0]["timestamp"] - 0.5) < 1e-6
        assert (gaze.payload["confidence"], gaze.raw) == (0.9, ())
        assert (frame.payload["index"], frame.raw) == (7, (b"\xff\xd8picture",))
        pupil.send("notify.recording.started", {"subject": "recording.started", "rec_path": "/there"})
        notification = next_of("notify.recording.started", bus).payload
        assert (notification["rec_path"], notification["source"]) == ("/there", "tracker")
    offset = rig.bus.last("clock.offset")[-1].payload
    assert abs(offset["offset_s"] - pupil.small.offset_s) <= offset["uncertainty_s"] + 1e-6


def test_orders_and_garbage_are_not_taken_over(pupil: Pupil, rig: Rig) -> None:
    orders = ["recording.should_start", "eye_process.should_stop.0", "start_plugin", "frame_publishing.set_format"]
    with rig.subscribe("notify.", "pupil.") as bus:
        for subject in (*orders, "clock.changed", "meta.should_doc"):
            pupil.send(f"notify.{subject}", {"subject": subject, "mark": "theirs"})
        for parts in ([b"pupil.1.2d"], [b"pupil.1.2d", b"\xc1"], [b"pupil.1.2d", b"\x90"], [b"pupil.\xff", b"\x80"]):
            pupil._pub.send_multipart(parts)
        pupil.send("pupil.0.2d", {"timestamp": "soon", "deep": [[[[[[[[[[1]]]]]]]]]]})
        seen = []
        while not seen or seen[-1].topic != "pupil.0.2d":
            seen.append(bus.recv(LIMIT_S))
        assert [one for one in seen if one.payload.get("mark") == "theirs"] == []
        assert seen[-1].payload["timestamp"] == "soon"
    wait_until(lambda: state_of(rig)["withheld"] == len(orders) + 2, "the count of orders")
    assert state_of(rig)["malformed"] >= 3


@pytest.mark.parametrize(
    ("version", "asked"),
    [
        ("1.23.0", ["start_plugin"]),
        ("2.0.182", ["start_plugin"]),
        ("?", ["start_plugin"]),
        ("2.1.0", []),
        ("3.5.1", []),
    ],
)
def test_pictures_are_asked_for_as_each_version_wants_it(version: str, asked: list[str]) -> None:
    with SmallRig(kind="pupil") as small, labwire.connect(port=small.port) as rig:
        small.version = version
        ask_for_pictures(rig, "gray")
        sent = [parts[0].decode() for parts in small.requests if len(parts) > 1]
        assert sent == [f"notify.{subject}" for subject in (*asked, "frame_publishing.set_format")]


def test_a_lost_rig_is_a_gap(tmp_path: Path) -> None:
    with contextlib.closing(Pupil(lasting_port())) as pupil, joined(pupil, tmp_path) as rig:
        with rig.subscribe("notify.source", "pupil.") as bus:
            pupil.small.silent = True  # it takes what comes and answers nothing, as over a network that broke
            assert "did not answer" in next_of("notify.source.lost", bus).payload["reason"]
            pupil.small.silent = False
            assert next_of("notify.source.found", bus).payload["gap_s"] > 0
            pupil.close()
            assert next_of("notify.source.lost", bus).payload["source"] == "tracker"
            with contextlib.closing(Pupil(pupil.small.port)) as again:
                assert next_of("notify.source.found", bus).payload["gap_s"] > 0
                wait_until(lambda: is_right(again, bus, rig), "the right time")
        assert [actor.restarts for actor in rig.actors.list() if actor.name == "tracker"] == [0]


def is_right(pupil: Pupil, bus: Subscription[BusMessage], rig: Rig) -> bool:
    """Send a datum, and tell whether one comes with the right time: the first may be lost, or too early for that."""
    pupil.send("pupil.0.2d", {"timestamp": pupil.now})
    try:
        message = bus.recv(0.2)
    except DeadlineError:
        return False
    return message.topic.startswith("pupil.") and abs(message.payload["timestamp"] - rig.now()) < 1


def test_a_clock_that_is_set_there_is_followed(pupil: Pupil, rig: Rig) -> None:
    pupil.small.offset_s = -50_000.0
    with rig.subscribe("pupil.") as bus:
        wait_until(lambda: is_right(pupil, bus, rig), "the right time")


def test_commands_are_relayed_when_asked(tmp_path: Path) -> None:
    with contextlib.closing(Pupil()) as pupil, joined(pupil, tmp_path, "relay = true") as rig:
        with rig.subscribe("notify.source.relay") as bus:
            for command in ("R my session", "C", "c", "r"):
                assert rig.request(command) == "OK"
                assert next_of("notify.source.relayed", bus).payload["command"] == command
        assert [text for text in pupil.small.texts if text[:1] in "RCcr"] == ["R my session", "C", "c", "r"]


def test_nothing_is_relayed_unasked(pupil: Pupil, rig: Rig) -> None:
    rig.request("R x")
    heard = len(pupil.small.requests)
    wait_until(lambda: len(pupil.small.requests) > heard + 5, "measurements of its clock")
    assert [text for text in pupil.small.texts if text[:1] in "RCcr"] == []


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRig]:
    with running_rig(tmp_path_factory.mktemp("eyes"), EYES) as running:
        yield running


def test_a_session_is_recorded_here_and_there(eyes: RunningRig, tmp_path: Path) -> None:
    text = toml(eyes.port, "relay = true", recorder=True)
    with running_rig(tmp_path, text) as running, running.connect() as rig, eyes.connect() as there:
        there.request("T 7000")
        wait_until(lambda: state_of(rig).get("connected"), "the source")
        with rig.subscribe("pupil.") as bus:
            next_of("pupil.1.3d", bus)
            wait_until(lambda: abs(next_of("pupil.", bus).payload["timestamp"] - rig.now()) < 1, "the right time")
        started = rig.record.start("both")
        assert started.failed == []
        wait_until(lambda: is_recording(there), "the recording there")
        rig.record.stop()
        wait_until(lambda: not is_recording(there), "its end")
    assert list((eyes.folder / "recordings" / "both").iterdir())


def test_a_session_says_that_the_source_is_not_there(tmp_path: Path) -> None:
    with running_rig(tmp_path, toml(9, "relay = true", recorder=True)) as running, running.connect() as rig:
        started = rig.record.start("alone")
        assert "tracker" in str(started.failed)
        rig.record.stop()
