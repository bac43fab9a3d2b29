from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.sessions.pictures.jpeg_encoder import JpegEncoder
from labwire.sessions.pictures.picture_message import BadPictureError, PictureMessage, read_picture
from labwire.wire.bus_message import encode_payload
from tests.sessions.making import jpeg, picture_parts

GRAY = bytes(64 * 48)


def test_a_camera_picture_is_read() -> None:
    picture = read_picture(picture_parts("frame.world", 12.5, jpeg()), 3.0)
    assert picture == PictureMessage(b"frame.world", 64, 48, 12.5, "jpeg", jpeg(), 3.0)


def test_the_jpegs_own_size_counts() -> None:
    assert read_picture(picture_parts("frame.world", 1.0, jpeg(), width=9, height=9), 0.0)[1:3] == (64, 48)


@pytest.mark.parametrize(("kind", "size"), [("gray", 1), ("bgr", 3), ("rgb", 3), ("yuv", 2)])
def test_raw_pictures_are_read(kind: str, size: int) -> None:
    assert read_picture(picture_parts("f", 1.0, GRAY * size, format=kind), 0.0).format == kind
    with pytest.raises(BadPictureError, match=f"needs {64 * 48 * size} bytes"):
        read_picture(picture_parts("f", 1.0, GRAY * size + b"x", format=kind), 0.0)


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ([b"frame.world"], "one raw part, not 0"),
        (picture_parts("f", 1.0, jpeg())[:2], "one raw part, not 0"),
        ([*picture_parts("f", 1.0, jpeg()), b""], "one raw part, not 2"),
        ([b"f", b"\xc1", jpeg()], "does not describe"),
        ([b"f", b"", jpeg()], "does not describe"),
        ([b"f", encode_payload({"width": 1}), jpeg()], "does not describe"),
        (picture_parts("f", float("nan"), jpeg()), "timestamp is nan"),
        (picture_parts("f", float("inf"), jpeg()), "timestamp is inf"),
        (picture_parts("f", 1.0, b""), "not a JPEG"),
        (picture_parts("f", 1.0, jpeg()[:-40]), "end is missing"),
        (picture_parts("f", 1.0, b"\xff\xd8\xff\xd9"), "size"),
        (picture_parts("f", 1.0, GRAY, format="gray", width=0), "no size"),
        (picture_parts("f", 1.0, GRAY, format="gray", width=-64, height=-48), "no size"),
        (picture_parts("f", 1.0, b"", format="gray", width=1 << 40, height=1), "no size"),
        (picture_parts("f", 1.0, bytes(3 * 2 * 2), format="yuv", width=3, height=2), "yuv"),
        (picture_parts("f", 1.0, GRAY, format="h264"), "'h264' is none of"),
        (picture_parts("f", 1.0, GRAY, format=3), "does not describe"),
    ],
)
def test_what_is_no_picture_is_refused_with_a_reason(parts: list[bytes], why: str) -> None:
    with pytest.raises(BadPictureError, match=why):
        read_picture(parts, 0.0)


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_bytes_are_a_picture_or_refused(payload: bytes, data: bytes) -> None:
    with pytest.raises(BadPictureError):
        read_picture([b"frame.world", payload, data], 0.0)


def decode(data: bytes, flags: int) -> Any:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    assert pixels is not None
    return pixels


@pytest.mark.parametrize("size", [(64, 48), (65, 47)])
@pytest.mark.parametrize("kind", ["gray", "bgr", "rgb"])
def test_raw_pictures_become_jpegs_that_look_the_same(kind: str, size: tuple[int, int]) -> None:
    width, height = size
    across = np.linspace(0, 255, width)[None, :, None] + np.zeros((height, 1, 3))
    pixels = across.astype(np.uint8)
    pixels[..., 1] //= 2
    pixels[..., 2] = 255 - pixels[..., 2]
    if kind == "gray":
        pixels = np.ascontiguousarray(pixels[..., 0])
    data = JpegEncoder(width, height, kind).encode(PictureMessage(b"", width, height, 0.0, kind, pixels.tobytes(), 0.0))
    decoded = decode(data, cv2.IMREAD_UNCHANGED)
    if kind == "rgb":
        decoded = decoded[..., ::-1]
    elif kind == "gray" and decoded.ndim == 3:
        assert (decoded.max(axis=2).astype(int) - decoded.min(axis=2)).max() <= 2
        decoded = decoded[..., 0]
    assert np.abs(decoded.astype(int) - pixels).max() <= 6


def test_planar_colour_from_a_camera_keeps_its_planes() -> None:
    data = np.concatenate(
        [np.full(n, value, np.uint8) for n, value in ((64 * 48, 100), (32 * 48, 128), (32 * 48, 128))]
    )
    encoded = JpegEncoder(64, 48, "yuv").encode(PictureMessage(b"", 64, 48, 0.0, "yuv", data.tobytes(), 0.0))
    decoded = decode(encoded, cv2.IMREAD_COLOR)
    assert np.abs(decoded.astype(int) - 100).max() <= 2
