"""The camera, on a V4L2 device that a small library in front of the kernel makes up."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labwire.errors import DeviceError, StateError
from labwire.picture import encode_jpeg
from labwire.sources import camera as camera_module
from labwire.sources.camera import CameraSource

HERE = Path(__file__).parent
RunCamera = Callable[..., list[dict[str, Any]]]

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("fake_v4l2") / "fake_v4l2.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", made, HERE / "fake_v4l2.c"], check=True, timeout=60)
    return made


def jpegs() -> list[bytes]:
    return [encode_jpeg(np.full((48, 64, 3), value, np.uint8)) for value in (20, 90, 160, 230)]


def records(frames: list[bytes]) -> bytes:
    return b"".join(struct.pack("I", len(frame)) + frame for frame in frames)


@pytest.fixture
def run_camera(library: Path, tmp_path: Path) -> RunCamera:
    def run(what: str, frames: list[bytes], **more: str) -> list[dict[str, Any]]:
        device, source = tmp_path / "video0", tmp_path / "frames"
        device.touch()
        source.write_bytes(records(frames))
        names = {"DEVICE": str(device), "FRAMES": str(source), "FORMAT": "MJPG", **more}
        done = subprocess.run(
            [sys.executable, HERE / "camera_script.py", what],
            env={
                **os.environ,
                **{f"FAKE_V4L2_{name}": value for name, value in names.items()},
                "LD_PRELOAD": str(library),
                "PYTHONPATH": str(HERE.parents[1] / "src"),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


@needs_compiler
def test_motion_jpeg_is_passed_as_it_came(run_camera: RunCamera) -> None:
    described, *pictures, failed = run_camera("take", jpegs())
    assert described["description"]["codec"] == "MJPG"
    assert described["description"]["as_it_came"] is True
    digests = [hashlib.sha256(frame).hexdigest() for frame in jpegs()]
    start = digests.index(pictures[0]["digest"])
    assert [picture["digest"] for picture in pictures] == [digests[(start + n) % 4] for n in range(10)]
    assert [picture["index"] for picture in pictures] == list(range(10))
    assert "was unplugged" in failed["error"]


@needs_compiler
def test_timestamps_are_the_drivers_and_rise(run_camera: RunCamera) -> None:
    pictures = run_camera("take", jpegs())[1:-1]
    stamps = [picture["monotonic_s"] for picture in pictures]
    assert all(picture["between"] for picture in pictures)
    assert stamps == sorted(set(stamps))
    # V4L2 stamps have whole microseconds; moments of arrival on the nanosecond clock practically never all do.
    assert all(abs(stamp * 1e6 - round(stamp * 1e6)) < 1e-2 for stamp in stamps)


@needs_compiler
def test_stamps_of_another_clock_are_not_believed(run_camera: RunCamera) -> None:
    pictures = run_camera("take", jpegs(), CLOCK="wrong")[1:-1]
    assert all(picture["between"] for picture in pictures)


@needs_compiler
def test_exposure_is_kept_once_it_has_settled(run_camera: RunCamera, tmp_path: Path) -> None:
    [picture] = run_camera("lock", jpegs(), EXPOSURE=str(tmp_path / "exposure"))
    assert picture["format"] == "jpeg"
    assert (tmp_path / "exposure").read_text().splitlines() == ["auto 3", "auto 1", "absolute 156"]


@needs_compiler
def test_camera_without_such_a_control_goes_on_as_it_is(run_camera: RunCamera) -> None:
    assert run_camera("lock", jpegs()) == [{"format": "jpeg"}]


@needs_compiler
def test_camera_without_motion_jpeg_gives_bgr(run_camera: RunCamera) -> None:
    described, *pictures, _ = run_camera("take", [bytes([200, 128]) * (64 * 48)], FORMAT="YUYV")
    assert described["description"]["as_it_came"] is False
    assert {(picture["format"], *picture["size"]) for picture in pictures} == {("bgr", 64, 48)}


@needs_compiler
def test_torn_jpeg_is_counted_and_left_out(run_camera: RunCamera) -> None:
    whole = jpegs()[0]
    pictures = run_camera("take", [whole, whole[:300]])[1:-1]
    assert {picture["digest"] for picture in pictures} == {hashlib.sha256(whole).hexdigest()}
    assert pictures[-1]["malformed"] >= 9


@needs_compiler
def test_read_ends_when_closed(run_camera: RunCamera) -> None:
    assert {"read": None} in run_camera("close", jpegs(), SILENT="1")


@needs_compiler
def test_feed_opens_a_camera_again_that_was_unplugged(run_camera: RunCamera) -> None:
    lines = run_camera("replug", jpegs())
    events = [line["event"] for line in lines[:-1]]
    assert events[0] == "opened"
    assert events[-1] == "opened"
    assert events.count("failed") >= 2
    assert lines[-1] == {"rises": True}


def test_missing_camera_lists_those_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_module, "DEVICES", tmp_path)
    with pytest.raises(DeviceError, match=r"no camera .*/video7 .is it plugged in..: there is no .*/video\* at all"):
        CameraSource(7).open()
    (tmp_path / "video0").touch()
    (tmp_path / "video2").touch()
    with pytest.raises(DeviceError, match=r"there are .*/video0, .*/video2"):
        CameraSource(7).open()


def test_missing_permission_names_the_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_module, "DEVICES", tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    (tmp_path / "video0").touch()
    with pytest.raises(DeviceError, match="usermod -aG video"):
        CameraSource(0).open()


def test_device_that_is_no_camera_is_told(tmp_path: Path) -> None:
    (tmp_path / "video0").touch()
    with pytest.raises(DeviceError, match="does not open as a camera"):
        CameraSource(tmp_path / "video0").open()


def test_reading_before_opening_is_a_state_error() -> None:
    with pytest.raises(StateError, match="open"):
        CameraSource(0).read()


def test_description_before_opening_has_no_invented_values() -> None:
    description = CameraSource(3).describe()
    assert (description.kind, description.name) == ("camera", "/dev/video3")
    assert (description.width, description.height, description.fps) == (0, 0, 0)
