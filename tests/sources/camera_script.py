"""Run by test_camera.py in a process of its own, where fake_v4l2.c makes a camera: print what happens as JSON lines."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import time
from pathlib import Path

import msgspec

from labwire.errors import DeviceError
from labwire.sources import camera as camera_module
from labwire.sources.camera import CameraSource
from labwire.sources.feed import PictureFeed

DEVICE = Path(os.environ["FAKE_V4L2_DEVICE"])


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


def take() -> None:
    """Take ten pictures, then unplug the camera."""
    camera = CameraSource(DEVICE, width_px=64, height_px=48, fps=100)
    camera.open()
    say(description=msgspec.to_builtins(camera.describe()))
    for _ in range(10):
        before_s = time.monotonic()
        picture = camera.read()
        assert picture is not None
        say(
            index=picture.index,
            format=picture.format,
            size=[picture.width, picture.height],
            digest=hashlib.sha256(picture.data).hexdigest(),
            monotonic_s=picture.monotonic_s,
            between=before_s - 1.0 <= picture.monotonic_s <= time.monotonic(),
            malformed=camera.malformed,
        )
    DEVICE.unlink()
    try:
        while camera.read():
            pass
    except DeviceError as error:
        say(error=error.message)
    camera.close()
    camera.close()


def close_while_reading() -> None:
    """Close from another thread while a read waits for a picture that never comes."""
    camera = CameraSource(DEVICE)
    camera.open()
    reader = threading.Thread(target=lambda: say(read=camera.read()))
    reader.start()
    while not camera._lock.locked():  # until the read is under way
        time.sleep(0.001)
    camera.close()
    reader.join()
    say(closed=True)


def lock() -> None:
    """Take pictures until the exposure has been locked."""
    camera_module._SETTLE_S = 0.05
    camera = CameraSource(DEVICE, lock_exposure=True)
    camera.open()
    while camera._lock_at_s is not None:
        camera.read()
    picture = camera.read()
    say(format=picture.format if picture else None)
    camera.close()


def replug() -> None:
    """Feed pictures, unplug, plug in again."""
    feed = PictureFeed(CameraSource(DEVICE), first_retry_s=0.05, on_event=lambda kind, data: say(event=kind, **data))
    with feed:
        first = feed.get(10)
        DEVICE.unlink()
        while feed.counters().failures < 2:
            time.sleep(0.01)
        DEVICE.touch()
        while (picture := feed.get(10)).monotonic_s < first.monotonic_s + 0.05:
            pass
        say(rises=picture.index > first.index)


if __name__ == "__main__":
    {"take": take, "close": close_while_reading, "replug": replug, "lock": lock}[sys.argv[1]]()
