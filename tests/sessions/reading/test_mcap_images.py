"""Pictures that came as raw pixels, as viewers of MCAP show them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from labwire.clock import RigClock, monotonic_s
from labwire.sessions.config import RecorderConfig
from labwire.sessions.reading.export import export_session
from labwire.sessions.record.recording import SessionRecorder
from tests.sessions.making import picture_parts

WIDTH, HEIGHT = 64, 48
BGR = np.full((HEIGHT, WIDTH, 3), (200, 120, 40), np.uint8)
RAW = {
    "bgr": BGR.tobytes(),
    "rgb": BGR[:, :, ::-1].tobytes(),
    "gray": np.arange(WIDTH * HEIGHT).astype(np.uint8).tobytes(),
    "yuv": bytes([90]) * WIDTH * HEIGHT + bytes([60]) * (WIDTH * HEIGHT // 2) + bytes([170]) * (WIDTH * HEIGHT // 2),
}
ENCODINGS = {"bgr": "bgr8", "rgb": "rgb8", "gray": "mono8", "yuv": "yuyv"}


def exported(tmp_path: Path, **config: Any) -> dict[str, tuple[str, dict[str, Any]]]:
    """Record one picture of each format and export it: schema and content by topic, of the channels with images."""
    reader = pytest.importorskip("mcap.reader")
    clock = RigClock.create()
    settings = {"sync_s": 0.0, "disk_warn_bytes": 0, "disk_stop_bytes": 0, **config}
    recorder = SessionRecorder(RecorderConfig(root=str(tmp_path / "recordings"), **settings), clock)
    folder = Path(recorder.start("raw").rec_path)
    for name, data in RAW.items():
        now_s = monotonic_s()
        assert recorder.put(picture_parts(f"frame.{name}", clock.at(now_s), data, format=name), now_s)
    broken = picture_parts("frame.broken", 1.0, b"too short", format="bgr")
    assert recorder.put(broken, monotonic_s())
    recorder.stop()
    clock.close()
    export_session(folder, tmp_path / "out", to="mcap")
    with (tmp_path / "out" / "session.mcap").open("rb") as file:
        return {
            channel.topic: (schema.name, json.loads(message.data))
            for schema, channel, message in reader.make_reader(file).iter_messages()
        }


def test_what_was_encoded_for_the_video_is_a_compressed_image(tmp_path: Path) -> None:
    rows = exported(tmp_path)
    for name in RAW:
        schema, image = rows[f"frame.{name}/image"]
        assert (schema, image["format"]) == ("foxglove.CompressedImage", "jpeg")
        pixels = cv2.imdecode(np.frombuffer(base64.b64decode(image["data"]), np.uint8), cv2.IMREAD_COLOR)
        assert pixels is not None
        assert pixels.shape == BGR.shape
        if name in ("bgr", "rgb"):
            assert np.abs(pixels.astype(int) - BGR).max() < 4
        assert rows[f"frame.{name}"][1]["format"] == name
    assert not [topic for topic in rows if topic.endswith("/raw_image")]
    assert base64.b64decode(rows["frame.broken"][1]["raw"][0]) == b"too short"


def test_what_stands_in_the_log_is_a_raw_image(tmp_path: Path) -> None:
    rows = exported(tmp_path, raw_in_log=True)
    for name, encoding in ENCODINGS.items():
        schema, image = rows[f"frame.{name}/raw_image"]
        assert (schema, image["encoding"]) == ("foxglove.RawImage", encoding)
        assert (image["width"], image["height"]) == (WIDTH, HEIGHT)
        data = base64.b64decode(image["data"])
        assert len(data) == image["step"] * HEIGHT
        assert data == RAW[name] if name != "yuv" else data[:8] == bytes([90, 60, 90, 170] * 2)
