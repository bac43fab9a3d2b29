"""The official Python client of Pupil Core, unmodified, meets a replay as it meets a rig."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from pupil_labs.pupil_core_network_client import Device

from labwire.clock import RigClock, monotonic_s
from labwire.sessions.config import RecorderConfig
from labwire.sessions.record.recording import SessionRecorder
from tests.interop.pupil_client import LIMIT_MS, next_of
from tests.rig_fixture import RunningRig, running_rig
from tests.sessions.making import datum, picture_parts

pytestmark = pytest.mark.usefixtures("foreign_context")


def record(root: Path) -> Path:
    """Record a second of what Pupil Core would say."""
    clock = RigClock.create()
    recorder = SessionRecorder(RecorderConfig(root=str(root), disk_warn_bytes=0, disk_stop_bytes=0), clock)
    folder = Path(recorder.start("pupil core").rec_path)
    start_s = monotonic_s()
    for number in range(100):
        now_s = start_s + number / 100
        pupil = {"id": 0, "norm_pos": [0.5, 0.5], "diameter": 40.0, "confidence": 0.9}
        gaze = {"norm_pos": [0.5, 0.5], "confidence": 0.9, "base_data": [pupil]}
        for parts in (
            datum("pupil.0.3d", now_s, **pupil),
            datum("gaze.3d.01.", now_s, **gaze),
            picture_parts("frame.world", now_s, colourful(number), index=number),
        ):
            assert recorder.put(parts, now_s)
    recorder.stop()
    clock.close()
    return folder


def colourful(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 255, (48, 64, 3), np.uint8)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRig]:
    folder = record(tmp_path_factory.mktemp("recordings"))
    toml = f'[actors.replay]\nclass = "labwire.actors.replay:ReplayActor"\nsession = "{folder}"\nloop = true\n'
    with running_rig(tmp_path_factory.mktemp("replay"), toml) as rig:
        yield rig


@pytest.fixture
def device(replay: RunningRig) -> Iterator[Device]:
    device = Device(port=replay.port)
    yield device
    device.disconnect()


def test_eyes(device: Device) -> None:
    with device.subscribe(["pupil.", "gaze"]) as subscription:
        assert {"norm_pos", "diameter", "confidence", "timestamp"} <= next_of(subscription, "pupil.0.3d").payload.keys()
        assert next_of(subscription, "gaze.3d.01.").payload["base_data"]


def test_scene_video_as_pixels(device: Device) -> None:
    device.send_notification({"subject": "frame_publishing.set_format", "format": "bgr"})
    with device.subscribe("frame.world") as frames:
        deadline = time.monotonic() + LIMIT_MS / 1000
        while (frame := next_of(frames, "frame.world")).payload["format"] != "bgr":
            assert time.monotonic() < deadline
    assert frame.raw_data
    picture = np.frombuffer(frame.raw_data[0], np.uint8).reshape(frame.payload["height"], frame.payload["width"], 3)
    assert picture.std() > 0


def test_the_clock_is_that_of_the_data(device: Device, replay: RunningRig) -> None:
    with replay.connect() as client:
        length_s = client.replay.status().duration_s
    with device.subscribe("pupil.") as subscription:
        stamp = next_of(subscription, "pupil.0.3d").payload["timestamp"]
        assert abs(device.request_current_pupil_time() - stamp) < length_s + 1


def test_what_only_a_recorder_can_do_is_answered_too(device: Device) -> None:
    assert device.request_recording_start("nobody records here") == "OK"
    assert device.request_recording_stop() == "OK"
    assert device.request_version()
