"""The official Python client of Pupil Core, unmodified, does with a rig what its examples do with Pupil Capture.

Its examples are scripts in its repository that wait for seconds; these tests make the same calls without the waiting.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from pupil_labs.pupil_core_network_client import BackgroundSubscription, Device, Subscription

from labwire import __version__
from tests.interop.conftest import PUPIL_LIKE
from tests.interop.pupil_client import LIMIT_MS, next_of
from tests.ports import lasting_port
from tests.rig_fixture import RunningRig, running_rig

HASTY_TURNS = 10

pytestmark = pytest.mark.usefixtures("foreign_context")


@pytest.fixture
def device(pupil_like_rig: RunningRig) -> Iterator[Device]:
    device = Device(port=pupil_like_rig.port)
    yield device
    device.disconnect()


@contextmanager
def listening(device: Device, *topics: str) -> Iterator[Subscription]:
    """Subscribe, and wait until the subscription holds; on a busy machine that takes a while."""
    with device.subscribe([*topics, "notify.probe"]) as subscription:
        deadline = time.monotonic() + LIMIT_MS / 1000
        while time.monotonic() < deadline:
            device.send_notification({"subject": "probe"})
            if (message := subscription.recv_new_message(timeout_ms=100)) and message.topic == "notify.probe":
                break
        else:
            pytest.fail(f"the subscription to {', '.join(topics)} does not hold after {LIMIT_MS} ms")
        yield subscription


def test_record(pupil_like_rig: RunningRig, device: Device) -> None:
    assert device.request_version() == __version__
    with listening(device, "notify.recording.") as recording:
        assert device.request_recording_start("a session") == "OK"
        started = next_of(recording, "notify.recording.started").payload
        assert device.request_recording_stop() == "OK"
        stopped = next_of(recording, "notify.recording.stopped").payload
    assert Path(started["rec_path"]).parent.name == "a session"
    assert started["rec_path"] == stopped["rec_path"]
    assert (Path(started["rec_path"]) / "info.player.json").exists()
    assert pupil_like_rig.process.poll() is None


def test_calibrate(device: Device) -> None:
    with listening(device, "notify.calibration.") as calibration:
        assert device.request_calibration_start() == "OK"
        assert "reason" in next_of(calibration, "notify.calibration.failed").payload
        assert device.request_calibration_stop() == "OK"


def test_clock_offset(device: Device) -> None:
    statistics = device.estimate_client_to_remote_clock_offset()
    assert statistics.num_measurements == 10
    # Both clocks are the monotonic one, so that the offset is at most a round trip.
    before = device.request_current_pupil_time()
    local = device.current_pupil_time()
    after = device.request_current_pupil_time()
    slack_s = 10 * statistics.std_offset + 0.01
    assert before - slack_s <= local <= after + slack_s


def test_annotations(device: Device) -> None:
    with listening(device, "annotation", "notify.start_plugin") as subscription:
        assert device.request_plugin_start("Annotation_Capture") == "Notification received"
        assert next_of(subscription, "notify.start_plugin").payload["name"] == "Annotation_Capture"
        assert device.send_annotation("a label", subject="me", trial=5) == "Message forwarded."
        annotation = next_of(subscription, "annotation").payload
    assert (annotation["label"], annotation["subject"], annotation["trial"]) == ("a label", "me", 5)


def test_what_is_sent_in_a_hurry_is_not_missed(device: Device) -> None:
    # The client subscribes and sends at once; a confirmed message waits up to 20 ms for a subscription on its way,
    # which on a busy machine may take longer. tests/bus/test_entry.py shows that it waits.
    assert any(hear_in_a_hurry(device) > HASTY_TURNS / 2 for _ in range(5))


def hear_in_a_hurry(device: Device) -> int:
    heard = 0
    for turn in range(HASTY_TURNS):
        with device.subscribe("notify.hasty") as subscription:
            device.send_notification({"subject": "hasty", "turn": turn})
            if message := subscription.recv_new_message(timeout_ms=200):
                assert message.payload == {"subject": "hasty", "turn": turn, "topic": "notify.hasty"}
                heard += 1
    return heard


def test_scene_video_in_the_background(device: Device) -> None:
    with listening(device, "notify.frame_publishing.started") as subscription:
        device.send_notification({"subject": "frame_publishing.set_format", "format": "bgr"})
        assert next_of(subscription, "notify.frame_publishing.started").payload["format"] == "bgr"
    with device.subscribe_in_background("frame.world", buffer_size=1) as frames:
        assert isinstance(frames, BackgroundSubscription)
        frame = next_of(frames, "frame.world")
    assert {"index", "timestamp", "width", "height", "format"} <= frame.payload.keys()
    assert frame.raw_data
    picture = np.frombuffer(frame.raw_data[0], np.uint8).reshape(frame.payload["height"], frame.payload["width"], 3)
    assert picture.std() > 0


def test_eyes(device: Device) -> None:
    with device.subscribe(["pupil.", "gaze"]) as subscription:
        assert {"norm_pos", "diameter", "confidence", "timestamp"} <= next_of(subscription, "pupil.0.3d").payload.keys()
        assert next_of(subscription, "gaze.3d.01.").payload["base_data"]


def test_stream_pictures_into_the_rig(device: Device) -> None:
    image = np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3)
    with device.subscribe("hmd_streaming.custom") as subscription, device.high_frequency_message_sending():
        for index in range(1000):  # a PUB socket loses what is sent before it is connected
            device.send_message(
                {"topic": "hmd_streaming.custom", "width": 60, "height": 40, "index": index, "__raw_data__": [image]}
            )
            if message := subscription.recv_new_message(timeout_ms=20):
                break
        else:
            pytest.fail("nothing came through")
    assert message.raw_data
    assert message.raw_data[0] == image.tobytes()
    assert message.payload["width"] == 60


# When it connects again, the client leaves its monitor sockets to the garbage collector.
@pytest.mark.filterwarnings("ignore:Unclosed socket:ResourceWarning")
def test_come_back_to_a_rig_that_was_restarted(tmp_path: Path) -> None:
    port = lasting_port()
    with running_rig(tmp_path, PUPIL_LIKE, remote_port=port) as rig:
        old_port = rig.ready.pub_port
        device = Device(port=port, should_auto_reconnect=True)
        assert device.ipc_pub_port == old_port
    with running_rig(tmp_path, PUPIL_LIKE, remote_port=port) as rig:
        assert rig.ready.pub_port != old_port
        deadline = time.monotonic() + LIMIT_MS / 1000
        while device.is_connected and device.ipc_pub_port == old_port and time.monotonic() < deadline:
            time.sleep(0.02)
        assert device.ipc_pub_port == rig.ready.pub_port
        assert device.request_version() == __version__
        device.disconnect()
