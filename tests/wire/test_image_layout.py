"""What is decoded by the layout of the message before is what a full decoding gives."""

from __future__ import annotations

import math
import random
import struct
from typing import Any, cast

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.errors import LabwireError, ProtocolError, TooLargeError
from labwire.wire import cbor_writer as cbor
from labwire.wire.cbor_values import Date, Limits
from labwire.wire.image_array import Array, array_of
from labwire.wire.image_codec import decode_message, encode_message
from labwire.wire.image_fields import Rational, UnitCell
from labwire.wire.image_layout import ImageDecoder, layout_of
from labwire.wire.image_message import ImageMessage
from tests.wire.image_strategies import images, messages

PIXELS = array_of(np.arange(6000, dtype="<u2").reshape(60, 100))
COMPRESSED_HEAD = struct.pack(">QI", 12000, 8192)
COMPRESSED = Array((60, 100), "<u2", COMPRESSED_HEAD + bytes(300), "bslz4", 2)
RICH = ImageMessage(
    series_id=7,
    series_unique_id="run",
    image_id=300,
    real_time=Rational(1000, 50_000_000),
    series_date=Date("2026-05-01T12:00:00Z"),
    start_time=Rational(70_000, 50_000_000),
    stop_time=Rational(80_000, 50_000_000),
    indexing_result=False,
    bkg_estimate=1.5,
    pixel_sum=70_000,
    data={"default": PIXELS},
)


def joined(message: Any) -> memoryview:
    return memoryview(b"".join(map(bytes, encode_message(message))))


def test_layout_reads_what_follows() -> None:
    layout = layout_of(joined(RICH), RICH)
    assert layout is not None
    fields = {
        "image_id": 301,
        "start_time": Rational(90_000, 50_000_000),
        "bkg_estimate": math.inf,
        "pixel_sum": 65_537,
    }
    later = msgspec.structs.replace(RICH, **fields, data={"default": array_of(np.ones((60, 100), "<u2"))})
    data = joined(later)
    read = layout.read(data)
    assert read == later == decode_message(data)
    assert read is not None
    assert cast("memoryview", read.data["default"].data).obj is data.obj, "pixels are a view of the message"
    assert type(read.image_id) is int
    assert layout.read(joined(RICH)) == RICH, "what was read later has changed nothing"


@pytest.mark.parametrize(
    "change",
    [
        {"image_id": 70_000},  # of another width
        {"real_time": Rational(1000, 50_000_001)},
        {"series_id": 8},
        {"series_date": Date("2026-05-01T12:00:01Z")},
        {"indexing_result": True},
        {"stop_time": None},
        {"user_data": "x"},
        {"data": {"other": PIXELS}},
        {"data": {"default": array_of(np.ones((100, 60), "<u2"))}},
        {"data": {"default": array_of(np.ones((60, 101), "<u2"))}},
        {"data": {"default": array_of(np.ones((60, 100), ">u2"))}},
        {"data": {"default": COMPRESSED}},
    ],
)
def test_what_looks_otherwise_is_decoded_in_full(change: dict[str, Any]) -> None:
    decoder, other = ImageDecoder(), msgspec.structs.replace(RICH, **change)
    layout = layout_of(joined(RICH), RICH)
    assert layout is not None
    assert layout.read(joined(other)) is None
    for message in (RICH, other, RICH, other, other):
        assert decoder.decode(joined(message)) == message


@pytest.mark.parametrize("numbers", [range(30), range(200, 300, 3), range(65_500, 65_600, 7), range(30, 0, -1)])
def test_numbers_of_any_width(numbers: range) -> None:
    decoder = ImageDecoder()
    for number in numbers:
        message = msgspec.structs.replace(RICH, image_id=number, pixel_sum=number % 7, data={"default": PIXELS})
        assert decoder.decode(joined(message)) == message


def test_compressed_images_of_other_sizes() -> None:
    first = ImageMessage(image_id=1000, data={"default": COMPRESSED})
    layout = layout_of(joined(first), first)
    assert layout is not None
    for size in (256, 5000, 60_000):
        data = struct.pack(">QI", 12000, 8192) + bytes(size)
        message = msgspec.structs.replace(
            first, image_id=size, data={"default": Array((60, 100), "<u2", data, "bslz4", 2)}
        )
        assert layout.read(joined(message)) == message
    lying = msgspec.structs.replace(first, data={"default": Array((60, 100), "<u2", bytes(312), "bslz4", 2)})
    good = joined(first)
    head = len(good) - len(COMPRESSED.data)
    damaged = memoryview(bytes(good[:head]) + bytes(lying.data["default"].data))
    assert layout.read(damaged) is None, "the data's own header contradicts the shape"


@pytest.mark.parametrize(
    "parts",
    [
        {"data": {"a": PIXELS, "b": PIXELS}},
        {"az_int_profile": array_of(np.zeros(5, "<f4"))},
        {"indexing_unit_cell": UnitCell(a=1.0, b=1.0, c=1.0, alpha=90.0, beta=90.0, gamma=90.0)},
        {"user_data": {"a": [1]}},
        {"extra": {"new": 1}},
        {"min_viable_pixel_value": -1},
    ],
)
def test_what_is_not_simple_has_no_layout(parts: dict[str, Any]) -> None:
    message = msgspec.structs.replace(RICH, **parts)
    data = joined(message)
    assert layout_of(data, decode_message(data)) is None  # pyright: ignore[reportArgumentType]


@given(st.lists(messages | images, min_size=1, max_size=6))
def test_any_messages_in_any_order(sent: list[Any]) -> None:
    decoder = ImageDecoder()
    for message in [one for one in sent for _ in range(2)]:
        data = joined(message)
        assert encode_message(decoder.decode(data)) == encode_message(decode_message(data))


def test_the_limits_hold_for_what_looks_like_the_message_before() -> None:
    small, large = (
        joined(
            ImageMessage(image_id=1000, data={"default": Array((60, 100), "<u2", COMPRESSED_HEAD + bytes(size), "lz4")})
        )
        for size in (300, 3000)
    )
    decoder = ImageDecoder(Limits(max_bytes=len(small)))
    decoder.decode(small)
    decoder.decode(small)
    with pytest.raises(TooLargeError):
        decoder.decode(large)


@pytest.mark.parametrize("size", [300, 11_998, 12_002, 60_000])
def test_pixels_that_do_not_fill_the_shape_are_refused(size: int) -> None:
    decoder, good = ImageDecoder(), joined(RICH)
    decoder.decode(good)
    head = len(good) - len(PIXELS.data) - len(cbor.head(cbor.BYTES, 12_000))
    other = memoryview(bytes(good[:head]) + b"\x59" + struct.pack(">H", size) + bytes(size))
    with pytest.raises(ProtocolError, match=f"has 12000 bytes, its data {size}"):
        decoder.decode(other)


def test_damaged_bytes_are_what_a_full_decoding_makes_of_them() -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    decoder, good = ImageDecoder(), bytes(joined(RICH))
    decoder.decode(memoryview(good))
    for _ in range(500):
        data = bytearray(good)
        for _ in range(chance.randint(1, 3)):
            data[chance.randrange(len(good) - len(PIXELS.data))] = chance.randrange(256)
        cut = memoryview(data)[: chance.choice([len(data), len(data), chance.randrange(len(data))])]
        assert outcome(decoder.decode, cut) == outcome(decode_message, cut)


def outcome(decode: Any, data: memoryview) -> Any:
    try:
        return repr(decode(data))
    except LabwireError as error:
        return type(error)
