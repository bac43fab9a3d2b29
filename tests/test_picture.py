"""Pictures keep their form, are converted once, and never crash on what a camera sends."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from labwire import picture as picture_module
from labwire.errors import LabwireError, ProtocolError, TooLargeError, UsageError
from labwire.picture import Picture, check_jpeg, decode_jpeg, encode_jpeg, picture_of, picture_pixels, to_format


def gradient(width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 3, y * 4, (x + y) * 2], axis=-1).astype(np.uint8)


def jpeg_picture(data: bytes, width: int = 64, height: int = 48) -> Picture:
    return Picture(index=7, monotonic_s=1.5, epoch_us=123, width=width, height=height, format="jpeg", data=data)


JPEG = encode_jpeg(gradient())


def test_own_format_is_returned_as_it_is() -> None:
    picture = jpeg_picture(JPEG)
    assert to_format(picture, "jpeg", 10) is picture


def test_jpeg_survives_a_round_trip_through_pixels_byte_for_byte() -> None:
    bgr = to_format(jpeg_picture(JPEG), "bgr")
    assert to_format(bgr, "jpeg", 30).data == JPEG
    assert to_format(to_format(bgr, "gray"), "jpeg").data == JPEG


def test_conversion_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = jpeg_picture(JPEG)
    first = to_format(picture, "bgr")
    monkeypatch.setattr(picture_module, "decode_jpeg", lambda *_, **__: pytest.fail("decoded again"))
    assert to_format(picture, "bgr").data is first.data
    assert picture_pixels(picture).shape == (48, 64, 3)


def test_conversion_keeps_index_times_and_size() -> None:
    for name in ("bgr", "gray"):
        made = to_format(jpeg_picture(JPEG), name)
        assert (made.index, made.monotonic_s, made.epoch_us, made.width, made.height) == (7, 1.5, 123, 64, 48)


def test_each_jpeg_quality_is_its_own_form() -> None:
    picture = picture_of(gradient(), index=0, monotonic_s=0, epoch_us=0)
    assert len(to_format(picture, "jpeg", 20).data) < len(to_format(picture, "jpeg", 95).data)


def test_pixels_come_close_to_what_was_encoded() -> None:
    pixels = picture_pixels(jpeg_picture(encode_jpeg(gradient(), 95)))
    assert np.abs(pixels.astype(int) - gradient()).mean() < 6


def test_gray_is_the_luma_of_bgr() -> None:
    picture = picture_of(gradient(), index=0, monotonic_s=0, epoch_us=0)
    gray = picture_pixels(to_format(picture, "gray"))
    assert gray.shape == (48, 64)
    assert np.array_equal(gray, cv2.cvtColor(gradient(), cv2.COLOR_BGR2GRAY))


def test_gray_pixels_make_gray_jpegs() -> None:
    picture = picture_of(gradient()[:, :, 0].copy(), index=0, monotonic_s=0, epoch_us=0)
    assert picture.format == "gray"
    assert picture_pixels(to_format(to_format(picture, "jpeg"), "bgr")).shape == (48, 64, 3)


def test_pixels_that_are_not_contiguous_are_made_so() -> None:
    picture = picture_of(gradient()[::2, ::2], index=0, monotonic_s=0, epoch_us=0)
    assert (picture.width, picture.height, len(picture.data)) == (32, 24, 32 * 24 * 3)
    assert np.array_equal(picture_pixels(picture), gradient()[::2, ::2])


def test_unknown_format_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="'yuv' is not a picture format: use one of jpeg, bgr, gray"):
        to_format(jpeg_picture(JPEG), "yuv")


@pytest.mark.parametrize("quality", [0, 101, -5])
def test_impossible_quality_is_refused(quality: int) -> None:
    with pytest.raises(UsageError, match="1 to 100"):
        encode_jpeg(gradient(), quality)


@pytest.mark.parametrize("shape", [(4,), (4, 4, 4), (4, 4, 1), (2, 2, 3, 3)])
def test_pixels_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="uint8"):
        picture_of(np.zeros(shape, np.uint8), index=0, monotonic_s=0, epoch_us=0)


def test_empty_pixels_are_refused() -> None:
    with pytest.raises(UsageError, match="at least one pixel"):
        encode_jpeg(np.zeros((0, 4), np.uint8))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a JPEG"),
        (b"\x89PNG", "not a JPEG"),
        (b"\xff\xd8", "without a size"),
        (b"\xff\xd8\xff\xd9", "without a size"),
        (JPEG[: len(JPEG) // 2], "end is missing"),
        (JPEG[:-2], "end is missing"),
    ],
)
def test_broken_jpeg_is_a_protocol_error(data: bytes, says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        to_format(jpeg_picture(data), "bgr")


def test_zeros_behind_a_jpeg_are_allowed() -> None:
    assert check_jpeg(JPEG + bytes(100)) == (64, 48)
    assert decode_jpeg(JPEG + bytes(100)).shape == (48, 64, 3)


def test_size_is_read_behind_other_segments() -> None:
    # APP1 with an embedded thumbnail: its size and its end marker must not be taken for the picture's.
    thumbnail = encode_jpeg(gradient(16, 8))
    app1 = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    assert check_jpeg(JPEG[:2] + app1 + JPEG[2:]) == (64, 48)
    with pytest.raises(ProtocolError, match="end is missing"):
        check_jpeg((JPEG[:2] + app1 + JPEG[2:])[:-30])


def test_size_that_would_take_too_much_memory_is_refused_before_decoding() -> None:
    at = JPEG.index(b"\xff\xc0")
    huge = JPEG[: at + 5] + b"\xff\xff\xff\xff" + JPEG[at + 9 :]
    with pytest.raises(TooLargeError, match="65535 x 65535"):
        decode_jpeg(huge)


def test_picture_whose_size_is_a_lie_is_refused() -> None:
    with pytest.raises(ProtocolError, match="says 99 x 48 is 64 x 48"):
        to_format(jpeg_picture(JPEG, width=99), "bgr")
    raw = Picture(index=0, monotonic_s=0, epoch_us=0, width=9, height=9, format="bgr", data=b"123")
    with pytest.raises(ProtocolError, match="has 243 bytes, this one has 3"):
        to_format(raw, "jpeg")


@given(st.binary(max_size=200), st.integers(0, 2**32))
def test_any_bytes_decode_or_are_refused_in_our_words(tail: bytes, at: int) -> None:
    cut = at % len(JPEG)
    for data in (tail, JPEG[:cut] + tail, JPEG[:cut] + tail + JPEG[cut + len(tail) :]):
        try:
            assert decode_jpeg(data).dtype == np.uint8
        except LabwireError:
            pass


@pytest.mark.parametrize(("reduce", "size"), [(1, (48, 64)), (2, (24, 32)), (4, (12, 16)), (8, (6, 8))])
def test_jpeg_is_decoded_to_a_part_of_its_size(reduce: Literal[1, 2, 4, 8], size: tuple[int, int]) -> None:
    assert decode_jpeg(JPEG, reduce=reduce).shape == (*size, 3)
    assert decode_jpeg(JPEG, gray=True, reduce=reduce).shape == size
