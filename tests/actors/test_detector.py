"""Detectors in a real rig: armed, started, stopped and cancelled, told on the bus, kept in a session."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import h5py
import numpy as np
import pytest

from labwire.client import Rig, connect
from labwire.errors import DeadlineError, NotFoundError, StateError
from labwire.images.pushers.cbor_dump import read_dump
from labwire.operations.detectors import Detectors, DetectorStatus
from labwire.operations.recording import Recording
from labwire.testing.waiting import wait_until
from labwire.wire.bus_message import BusMessage
from labwire.wire.image_message import StartMessage
from tests.bus.fake_hub import LIMIT_S
from tests.images.loopback_writer import LoopbackWriter
from tests.ports import lasting_port
from tests.rig_fixture import RunningRig, running_rig
from tests.sources.clips import jpegs, motion_jpeg

TOML = """
name = "beamline"

[cameras.top]
video = "{video}"

[detectors.det1]
images = 20
images_per_file = 5
source = {{kind = "simulated", width_px = 64, height_px = 32, seed = 3}}
stream = {{kind = "tcp", address = "{address}"}}
preview = {{address = "tcp://127.0.0.1:*", period_ms = 0}}

[detectors.local]
images = 4
rate_hz = 50
file_prefix = "test"
run_on_record = true
source = {{kind = "simulated", width_px = 64, height_px = 32, vary = false}}
stream = {{kind = "hdf5", folder = "images", overwrite = true}}

[detectors.cam]
images = 3
source = {{kind = "camera", camera = "top"}}
stream = {{kind = "cbor", folder = "dump"}}

[detectors.broken]
images = 40
rate_hz = 100
file_prefix = "broken"
source = {{kind = "replay", file = "broken.h5"}}
stream = {{kind = "cbor", folder = "dump"}}

[recorder]
disk_warn_bytes = 0
disk_stop_bytes = 0
"""


class Beamline(NamedTuple):
    running: RunningRig
    address: str
    folder: Path


@pytest.fixture(scope="module")
def beamline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beamline]:
    folder = tmp_path_factory.mktemp("beamline")
    address = f"tcp://127.0.0.1:{lasting_port()}"
    video = motion_jpeg(folder / "top.avi", jpegs(30))
    with cast("Any", h5py).File(folder / "broken.h5", "w") as file:
        noise = np.random.default_rng(1).integers(0, 1 << 16, (40, 64, 64), np.uint16)
        file.create_dataset("/entry/data/data", data=noise, chunks=(1, 64, 64), compression="gzip")
    with running_rig(folder, TOML.format(address=address, video=video)) as running:
        yield Beamline(running, address, folder)


@pytest.fixture
def rig(beamline: Beamline) -> Iterator[Rig]:
    with connect(port=beamline.running.port, timeout_s=LIMIT_S) as rig:
        yield rig


@pytest.fixture
def detectors(rig: Rig) -> Detectors:
    return rig.service(Detectors)


@pytest.fixture
def writer(beamline: Beamline, detectors: Detectors) -> Iterator[LoopbackWriter]:
    wait_until(lambda: detectors.status("det1").writers == 0, "no writer is there")
    with LoopbackWriter(beamline.address) as writer:
        wait_until(lambda: detectors.status("det1").writers == 1, "the writer is there")
        yield writer


def test_detectors_are_listed_in_the_order_of_the_rig_file(beamline: Beamline, detectors: Detectors) -> None:
    # On a busy machine one of them may not answer in time, and is listed as unreachable.
    wait_until(lambda: all(one.state == "idle" for one in detectors.list()[:3]), "all that work have answered")
    first, local, camera, _ = detectors.list()
    assert (first.name, first.state, first.source, first.stream) == ("det1", "idle", "simulated", "tcp")
    assert first.addresses == [beamline.address]
    assert first.preview_address.startswith("tcp://127.0.0.1:")
    assert (local.name, local.stream, local.addresses) == ("local", "hdf5", [str(beamline.folder / "images")])
    assert (camera.name, camera.source, camera.stream) == ("cam", "camera", "cbor")
    assert detectors.status("local").name == "local"
    with pytest.raises(NotFoundError, match="det1, local, cam, broken"):
        detectors.status("det2")


def test_a_run_is_started_waited_for_and_told_on_the_bus(
    rig: Rig, detectors: Detectors, writer: LoopbackWriter
) -> None:
    with rig.subscribe("notify.detector.", "detector.det1.state", count_gaps=True) as heard:
        assert heard.wait_connected(LIMIT_S)
        status = detectors.start("det1", file_prefix="a/b", run_number=41)
        assert (status.name, status.run_number) == ("det1", 41)
        run = detectors.wait("det1").result()
        assert (run.run_number, run.run_name, run.ok) == (41, "41:a/b", True)
        assert (run.images, run.acknowledged, run.missing) == (20, 20, 0)
        messages = _until(heard, "notify.detector.finished")
    assert [message.payload["subject"] for message in messages if message.topic.startswith("notify.")] == [
        "detector.armed",
        "detector.started",
        "detector.finished",
    ]
    assert messages[-1].payload["acknowledged"] == 20
    assert {message.payload["state"] for message in messages if message.topic == "detector.det1.state"} & {
        "armed",
        "running",
        "idle",
    }
    assert writer.runs[41].order == list(range(20))
    assert detectors.start("det1", file_prefix="a/c").run_number == 42
    assert detectors.wait("det1").result().ok


def _until(heard: Any, topic: str) -> list[BusMessage]:
    messages: list[BusMessage] = []
    while not messages or messages[-1].topic != topic:
        messages.append(heard.recv(LIMIT_S))
    return messages


def test_an_armed_detector_waits_for_its_start(detectors: Detectors, writer: LoopbackWriter) -> None:
    status = detectors.arm("det1", file_prefix="a/d", images=6)
    assert status.state == "armed"
    assert status.run_number in writer.runs
    with pytest.raises(StateError, match="armed"):
        detectors.arm("det1", file_prefix="a/e")
    with pytest.raises(StateError, match="start it as it is"):
        detectors.start("det1", images=7)
    detectors.start("det1")
    assert detectors.wait("det1").result().images == 6


def test_an_armed_run_can_be_cancelled(detectors: Detectors, writer: LoopbackWriter) -> None:
    number = detectors.arm("det1", file_prefix="a/f").run_number
    assert detectors.cancel("det1").state == "idle"
    assert number is not None
    wait_until(lambda: writer.runs[number].cancelled, "the writer is told")
    last = detectors.status("det1").last_run
    assert last is not None
    assert last.cancelled


def test_a_run_can_be_stopped_or_cancelled(detectors: Detectors, writer: LoopbackWriter) -> None:
    detectors.start("det1", file_prefix="a/g", images=100_000, rate_hz=200)
    wait_until(lambda: detectors.status("det1").acknowledged > 3, "images flow")
    wait_until(lambda: 0 <= (detectors.status("det1").waiting or 0) < 20, "few images that are not acknowledged yet")
    status = detectors.status("det1")
    assert status.waiting is not None
    [share] = status.sockets
    assert share["writer"].startswith("127.0.0.1:")
    assert share["sent"] >= share["acknowledged"] > 3
    detectors.stop("det1")
    stopped = detectors.wait("det1").result()
    assert stopped.ok
    assert 3 < stopped.images < 100_000
    assert stopped.acknowledged == stopped.images
    assert (detectors.status("det1").waiting, detectors.status("det1").sockets) == (None, [])
    detectors.start("det1", file_prefix="a/h", images=100_000, rate_hz=200)
    detectors.cancel("det1")
    assert detectors.wait("det1").result().cancelled


def test_a_run_that_does_not_start_says_why(rig: Rig, detectors: Detectors) -> None:
    wait_until(lambda: detectors.status("det1").writers == 0, "no writer is there")
    with rig.subscribe("notify.detector.") as heard:
        assert heard.wait_connected(LIMIT_S)
        with pytest.raises(DeadlineError, match="0 of 1 writers"):
            detectors.start("det1", file_prefix="a/i", wait_s=0.1)
        assert "0 of 1 writers" in _until(heard, "notify.detector.failed")[-1].payload["reason"]
    status: DetectorStatus = detectors.status("det1")
    assert (status.state, "0 of 1 writers" in status.last_error) == ("idle", True)


def test_notifications_arm_start_and_cancel(rig: Rig, detectors: Detectors, writer: LoopbackWriter) -> None:
    with rig.subscribe("notify.detector.") as heard:
        assert heard.wait_connected(LIMIT_S)
        rig.notify("detector.should_start", detector="nobody")
        rig.notify("detector.should_arm", detector="det1", images="many")
        assert "images" in _until(heard, "notify.detector.failed")[-1].payload["reason"]
        rig.notify("detector.should_start", detector="det1", images=3, file_prefix="a/j", run_number=77)
        finished = _until(heard, "notify.detector.finished")[-1].payload
    assert (finished["run_number"], finished["acknowledged"], finished["detector"]) == (77, 3, "det1")
    assert writer.runs[77].order == [0, 1, 2]


def test_a_camera_of_the_rig_is_a_detector(beamline: Beamline, detectors: Detectors) -> None:
    detectors.start("cam", file_prefix="x/y")
    assert detectors.wait("cam").result().ok
    start, *images, _ = read_dump(beamline.folder / "dump", "x/y")
    assert isinstance(start, StartMessage)
    assert (start.detector_description, start.image_dtype) == ("camera top", "uint8")
    assert len(images) == 3


def test_a_source_that_fails_in_the_middle_ends_the_run_with_the_reason(
    beamline: Beamline, detectors: Detectors
) -> None:
    os.truncate(beamline.folder / "broken.h5", 200_000)
    detectors.start("broken")
    run = detectors.wait("broken").result()
    assert not run.ok
    assert run.cancelled
    assert 0 < run.images < 40
    assert run.error is not None
    assert "broken.h5" in run.error
    assert detectors.status("broken").state == "idle"


def test_a_session_starts_a_run_ends_it_and_keeps_its_result(
    beamline: Beamline, rig: Rig, detectors: Detectors
) -> None:
    recording = rig.service(Recording)
    started = recording.start("pilot")
    assert "local" in started.started
    wait_until(lambda: detectors.status("local").done_images > 0, "images flow")
    recording.stop()
    [line] = (Path(started.rec_path) / "detector.local.jsonl").read_text().splitlines()
    run = json.loads(line)
    assert run["ok"]
    assert run["images"] > 0
    name = "/".join([*Path(started.rec_path).parts[-2:], "local"])
    assert run["run_name"] == name
    assert (beamline.folder / "images" / f"{name}_master.h5").exists()


def test_the_command_line_lists_starts_and_waits(beamline: Beamline) -> None:
    labwire = beamline.running.labwire
    assert labwire("detectors", "start", "local", "--images", "2", "--file-prefix", "cli").returncode == 0
    waited = labwire("detectors", "wait", "local", "--json")
    assert json.loads(waited.stdout)["acknowledged"] == 2
    listed = labwire("detectors").stdout.splitlines()
    assert listed[0].split() == [
        *("name", "state", "source", "stream", "addresses", "writers", "run", "images", "rate", "trouble")
    ]
    row = next(line for line in listed if line.startswith("local"))
    assert row.split()[1:4] == ["idle", "simulated", "hdf5"]
    assert "2/2" in row
    assert labwire("detectors", "start", "nobody").returncode == 4
