"""Pictures of foreign videos, from any one on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from labwire.sessions.replay.player_video import VideoPicture, pictures_from

COUNT = 100
OPEN_GOP = {"g": "20", "bf": "3", "x264-params": "open-gop=1:keyint=20:min-keyint=5:scenecut=0"}
KINDS: dict[str, tuple[str, dict[str, str]]] = {
    "h264 with open groups": ("libx264", OPEN_GOP),
    "h264 with closed groups": ("libx264", {"g": "20", "bf": "2"}),
    "mpeg4": ("mpeg4", {"g": "12"}),
    "motion jpeg": ("mjpeg", {}),
}


def make_video(path: Path, kind: str) -> Path:
    """Make a video of `COUNT` pictures, each as bright as twice its number."""
    av: Any = pytest.importorskip("av")
    codec, options = KINDS[kind]
    if codec not in av.codecs_available:
        pytest.skip(f"PyAV has no {codec} here")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options=options)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(COUNT):
            pixels = np.full((48, 64, 3), 2 * number, np.uint8)
            pixels[:4, :4] = 31 * number % 256  # no two are alike
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="bgr24")))
        container.mux(stream.encode())
    return path


def brightness(picture: VideoPicture) -> float:
    pixels = cv2.imdecode(np.frombuffer(picture.jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert pixels is not None
    assert pixels.shape == (picture.height, picture.width)
    return float(pixels.mean())


@pytest.mark.parametrize("kind", KINDS)
def test_each_picture_has_its_number_wherever_one_begins(tmp_path: Path, kind: str) -> None:
    path = make_video(tmp_path / "world.mp4", kind)
    whole = list(pictures_from(path, 0))
    assert [picture.number for picture in whole] == list(range(COUNT))
    assert [brightness(picture) for picture in whole] == pytest.approx(list(range(0, 2 * COUNT, 2)), abs=8)
    for first in (1, 19, 20, 21, 37, 38, 39, 40, 41, 59, 80, 99):
        assert list(pictures_from(path, first)) == whole[first:]
    assert list(pictures_from(path, COUNT)) == []


def test_what_lies_before_is_not_decoded(tmp_path: Path) -> None:
    path = make_video(tmp_path / "world.mp4", "h264 with open groups")
    whole = list(pictures_from(path, 0))
    data = bytearray(path.read_bytes())
    at = data.index(b"mdat") + 4
    data[at : at + 200] = bytes(200)
    path.write_bytes(data)
    assert list(pictures_from(path, 70)) == whole[70:]
