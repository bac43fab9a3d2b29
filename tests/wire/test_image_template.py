"""What is encoded by the form of the message before is what a full encoding gives."""

from __future__ import annotations

import math
import struct
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from labwire.errors import UsageError
from labwire.wire import image_template
from labwire.wire.cbor_values import Date
from labwire.wire.image_array import Array, array_of
from labwire.wire.image_codec import encode_message
from labwire.wire.image_fields import Rational
from labwire.wire.image_message import ImageMessage
from labwire.wire.image_template import ImageEncoder
from tests.wire.image_strategies import images
from tests.wire.test_image_layout import COMPRESSED, PIXELS, RICH


def outcome(encode: Any, message: ImageMessage) -> list[bytes] | str:
    try:
        return [bytes(piece) for piece in encode(message)]
    except UsageError as error:
        return error.message


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> list[ImageMessage]:
    """Messages that were encoded in full."""
    seen: list[ImageMessage] = []

    def encode(message: ImageMessage, *, self_described: bool) -> Any:
        seen.append(message)
        return encode_message(message, self_described=self_described)

    monkeypatch.setattr(image_template, "encode_message", encode)
    return seen


@pytest.mark.parametrize("self_described", [True, False])
def test_what_follows_is_filled_in(full: list[ImageMessage], self_described: bool) -> None:  # noqa: FBT001
    encoder = ImageEncoder(self_described=self_described)
    encoder.encode(RICH)
    later = replace(
        RICH,
        image_id=301,
        start_time=Rational(90_000, 50_000_000),
        bkg_estimate=math.inf,
        pixel_sum=65_537,
        data={"default": array_of(np.ones((60, 100), "<u2"))},
    )
    for message in (later, RICH, later):
        assert outcome(encoder.encode, message) == outcome(
            lambda one: encode_message(one, self_described=self_described), message
        )
    assert len(full) == 1
    pixels = encoder.encode(later)[1]
    assert cast("memoryview", pixels).obj is cast("memoryview", later.data["default"].data).obj, "nothing is copied"


@pytest.mark.parametrize(
    "change",
    [
        {"image_id": 255},
        {"image_id": 65_536},
        {"image_id": 2**64},
        {"image_id": -1},
        {"image_id": 300.0},
        {"image_id": True},
        {"image_id": np.int64(300)},
        {"real_time": Rational(1000, 50_000_001)},
        {"real_time": (1000, 50_000_000)},
        {"real_time": None},
        {"bkg_estimate": 2},
        {"bkg_estimate": math.nan},
        {"bkg_estimate": "x"},
        {"series_id": 8},
        {"series_unique_id": 5},
        {"series_date": Date("2026-05-01T12:00:01Z")},
        {"indexing_result": True},
        {"stop_time": None},
        {"spot_count": 4},
        {"user_data": "x"},
        {"user_data": np.zeros(3)},
        {"extra": {"new": 1}},
        {"data": {}},
        {"data": {"other": PIXELS}},
        {"data": {"default": PIXELS, "other": PIXELS}},
        {"data": {"default": b"abc"}},
        {"data": {"default": array_of(np.ones((100, 60), "<u2"))}},
        {"data": {"default": array_of(np.ones((60, 100), ">u2"))}},
        {"data": {"default": Array((60, 100), "<u2", bytes(11_998))}},
        {"data": {"default": COMPRESSED}},
    ],
)
def test_what_looks_otherwise_is_encoded_in_full(change: dict[str, Any]) -> None:
    encoder, other = ImageEncoder(), replace(RICH, **change)
    for message in (RICH, other, RICH, other, other):
        assert outcome(encoder.encode, message) == outcome(encode_message, message)


@pytest.mark.parametrize("values", [("x", Date("x")), (Date("x"), "x"), (None, "x"), ("x", "y"), (True, 1), (1, 1.0)])
def test_what_equals_is_not_always_written_alike(values: tuple[Any, Any]) -> None:
    encoder = ImageEncoder()
    for value in (*values, *values):
        message = replace(RICH, user_data=value)
        assert outcome(encoder.encode, message) == outcome(encode_message, message)


@pytest.mark.parametrize("numbers", [range(30), range(200, 300, 3), range(65_500, 65_600, 7), range(30, 0, -1)])
def test_numbers_of_any_width(numbers: range) -> None:
    encoder = ImageEncoder()
    for number in numbers:
        message = replace(RICH, image_id=number, pixel_sum=number % 7)
        assert outcome(encoder.encode, message) == outcome(encode_message, message)


def test_compressed_images_of_other_sizes(full: list[ImageMessage]) -> None:
    encoder = ImageEncoder()
    for size in (4000, 4090, 5000, 60_000, 65_523, 65_524, 70_000, 300, 70_000):
        data = struct.pack(">QI", 12000, 8192) + bytes(size)
        message = ImageMessage(image_id=1000, data={"default": Array((60, 100), "<u2", data, "bslz4", 2)})
        assert outcome(encoder.encode, message) == outcome(encode_message, message)
    assert len(full) < 9
    lying = ImageMessage(image_id=1000, data={"default": Array((60, 100), "<u2", bytes(70_000), "bslz4", 2)})
    with pytest.raises(UsageError, match="header of the bslz4 data"):
        encoder.encode(lying)


def test_a_stream_of_messages_that_are_not_simple_is_left_alone(
    full: list[ImageMessage], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[ImageMessage] = []
    monkeypatch.setattr(image_template, "numbers_of_written", lambda *about: looked.append(about[2]))
    encoder = ImageEncoder()
    for number in range(100):
        encoder.encode(ImageMessage(image_id=number, data={"default": PIXELS}))
    assert len(full) == 100
    assert len(looked) < 40


@given(st.lists(images, min_size=1, max_size=6))
def test_any_images_in_any_order(sent: list[ImageMessage]) -> None:
    encoder = ImageEncoder()
    for message in [one for one in sent for _ in range(2)]:
        assert outcome(encoder.encode, message) == outcome(encode_message, message)
