"""Images as pictures: what is bright, what is bad, and that the file is a PNG."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from labwire.errors import UsageError
from labwire.images.rendering import BAD_COLOR, bad_pixels, encode_png, render, shrink

NOTHING = np.zeros((4, 6), np.uint16)


def decode_png(data: bytes) -> np.ndarray:
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    at, packed, header = 8, b"", b""
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", data, at + 8 + size)[0] == zlib.crc32(kind + body)
        header = body if kind == b"IHDR" else header
        packed += body if kind == b"IDAT" else b""
        at += 12 + size
    width, height, depth, color = struct.unpack_from(">IIBB", header)
    assert depth == 8
    rows = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, -1)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape((height, width, 3) if color == 2 else (height, width))


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_a_png_has_the_pixels(shape: tuple[int, ...]) -> None:
    picture = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    assert np.array_equal(decode_png(encode_png(picture)), picture)


def test_other_arrays_are_no_pictures() -> None:
    with pytest.raises(UsageError):
        encode_png(np.zeros((2, 2, 4), np.uint8))


def test_what_is_bad_comes_from_the_mask_and_the_error_value() -> None:
    pixels = NOTHING.copy()
    pixels[0, 0], pixels[1, 1] = 65535, 9
    mask = np.zeros((4, 6), np.uint32)
    mask[2, 2] = 8
    assert np.argwhere(bad_pixels(pixels)).tolist() == [[0, 0]]
    assert np.argwhere(bad_pixels(pixels, mask=mask)).tolist() == [[2, 2]]
    assert np.argwhere(bad_pixels(pixels, mask=mask, error_value=9)).tolist() == [[1, 1], [2, 2]]
    assert np.argwhere(bad_pixels(pixels, mask=mask[:2])).tolist() == [[0, 0]]
    assert np.argwhere(bad_pixels(np.array([[-128, 5, 127]], np.int8))).tolist() == [[0, 0]]
    assert bad_pixels(np.array([[1.0, np.nan, np.inf]])).tolist() == [[False, True, True]]


@pytest.mark.parametrize("scale", ["log", "linear"])
def test_more_counts_are_darker_and_bad_pixels_apart(scale: str) -> None:
    pixels = np.arange(100, dtype=np.uint16).reshape(10, 10)
    bad = np.zeros((10, 10), np.bool_)
    bad[5, 5] = True
    picture = render(pixels, bad, scale)  # pyright: ignore[reportArgumentType]
    gray = np.delete(picture[:, :, 0].reshape(-1), 55)
    assert gray[0] == 255
    assert gray[-1] == 0
    assert (np.diff(gray.astype(int)) <= 0).all()
    assert tuple(picture[5, 5]) == BAD_COLOR


@pytest.mark.parametrize("pixels", [NOTHING, NOTHING + 7, np.full((4, 6), -3.5), np.zeros((3, 3), np.int8)])
def test_images_without_contrast_are_white(pixels: np.ndarray) -> None:
    assert (render(pixels, np.zeros(pixels.shape, np.bool_)) == 255).all()


def test_an_image_of_bad_pixels_only() -> None:
    assert (render(NOTHING, np.ones((4, 6), np.bool_)) == BAD_COLOR).all()


def test_a_smaller_picture_keeps_the_brightest_good_pixel() -> None:
    pixels = np.zeros((10, 7), np.uint16)
    pixels[3, 5], pixels[9, 6], pixels[0, 0] = 50, 60, 65535
    bad = np.zeros((10, 7), np.bool_)
    bad[0, 0] = bad[0, 1] = bad[1, 0] = bad[1, 1] = True
    small, none = shrink(pixels, bad, 5)
    assert small.shape == (5, 4)
    assert (small[1, 2], small[4, 3]) == (50, 60)
    assert np.argwhere(none).tolist() == [[0, 0]]
    assert shrink(pixels, bad, 10)[0] is pixels
