"""Decode image messages that look like the one before, in a tenth of the time.

The messages of a run are the same byte for byte, but for a few numbers at the same places (the image's own number, its
times, what was found in it) and the pixels. So one that was decoded in full tells how to read those that follow.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from labwire.wire import cbor_writer as cbor
from labwire.wire.cbor_reader import Reader
from labwire.wire.cbor_values import DEFAULT_LIMITS, SELF_DESCRIBED, Limits
from labwire.wire.image_array import Array, fault_of
from labwire.wire.image_codec import decode_message
from labwire.wire.image_fields import Rational
from labwire.wire.image_message import ImageMessage, Message

_SAME_IN_A_RUN: Final = frozenset({"type", "series_id", "series_unique_id"})
MISSES: Final = 32
"""Messages in a row that look like none before: a stream that has that many is decoded in full."""
_IMMEDIATE: Final = 24
"""Below it, a number is its own initial byte."""
_FORMS: Final = {0x18: "B", 0x19: "H", 0x1A: "I", 0x1B: "Q", 0xFB: "d"}
"""What follows these initial bytes."""
_ANY: Final = Limits(max_bytes=1 << 62, max_array_bytes=1 << 62, max_items=1 << 62)
"""Of a message that was decoded already."""
_NUMBERS: Final = (int, float, Rational)
_CONSTANTS: Final = (str, bool)
_PIXELS: Final = "data"


class ImageDecoder:
    """Decodes the messages of one run: what comes out is what `decode_message` gives.

    Args:
        limits: What may come from outside.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._layout: ImageLayout | None = None
        self._misses = 0

    def decode(self, data: memoryview) -> Message:
        """Decode a message, see `decode_message`.

        Args:
            data: Flat bytes.
        """
        layout = self._layout
        if layout is not None and len(data) <= self._limits.max_bytes and (image := layout.read(data)) is not None:
            self._misses = 0
            return image
        message = decode_message(data, self._limits)
        if isinstance(message, ImageMessage) and self._misses < MISSES:
            self._misses += 1
            self._layout = layout_of(data, message)
        return message


class Number(NamedTuple):
    """A number of a message that may differ from one to the next."""

    name: str
    """Of the field; empty: how many bytes of pixels there are."""
    at: int
    """Where it begins, behind its initial byte if it has one of its own."""
    form: str
    """Of `struct`; ``b`` is one that is its own initial byte."""
    denominator: int | None
    """Of a fraction whose numerator this is."""


class ImageLayout:
    """Where the numbers stand in a message that has one channel, whose pixels come last.

    Args:
        data: The message.
        message: What it says.
        numbers: All that may differ, in their order.
        length: The number that says how many bytes of pixels there are.
    """

    def __init__(self, data: memoryview, message: ImageMessage, numbers: list[Number], length: Number) -> None:
        ((self._channel, array),) = message.data.items()
        self._array = (array.shape, array.dtype, array.compression, array.elem_size, array.column_major)
        self._nbytes = array.nbytes
        self._message = replace(message, data={})
        # What is unpacked: the bytes that stay the same, and behind each of them the number that follows.
        self._numbers = [(number.name, 2 * at + 1, number.denominator) for at, number in enumerate(numbers)]
        self._immediate = [2 * at + 1 for at, number in enumerate(numbers) if number.form == "b"]
        self._size = len(data) - len(array.data)
        self._unpack = cut([*numbers, length]).unpack_from
        self._same = self._unpack(data)[::2]

    def read(self, data: memoryview) -> ImageMessage | None:
        """Return what a message says; None if it does not look like the first."""
        size = self._size
        if len(data) < size:
            return None
        parts = self._unpack(data)
        if parts[::2] != self._same:
            return None
        length = parts[-1]
        if length != len(data) - size:
            return None
        for place in self._immediate:
            if not 0 <= parts[place] < _IMMEDIATE:
                return None
        shape, dtype, compression, elem_size, column_major = self._array
        array = Array(shape, dtype, data[size:], compression, elem_size, column_major=column_major)
        if (compression or length != self._nbytes) and fault_of(array):  # then a full decoding refuses it
            return None
        fields: dict[str, Any] = {"data": {self._channel: array}}
        for name, place, denominator in self._numbers:
            fields[name] = parts[place] if denominator is None else Rational(parts[place], denominator)
        return replace(self._message, **fields)


def cut(numbers: list[Number]) -> struct.Struct:
    """Return what takes a message apart: what stays the same, number, what stays the same, number and so on."""
    form, end = ">", 0
    for number in numbers:
        form += f"{number.at - end}s{number.form}"
        end = number.at + struct.calcsize(number.form)
    return struct.Struct(form)


def layout_of(data: memoryview, message: ImageMessage) -> ImageLayout | None:
    """Return how to read messages that look like this one; None if it has parts that are not as simple."""
    if message.extra or len(message.data) != 1:
        return None
    (array,) = message.data.values()
    length = _length_before(data[: len(data) - len(array.data)], len(array.data))
    fields = list(_fields(data))
    if length is None or not fields or fields.pop()[0] != _PIXELS:
        return None
    numbers = _numbers_in(fields, data, message)
    return None if numbers is None else ImageLayout(data, message, numbers, length)


def numbers_of_written(header: memoryview, size: int, message: ImageMessage) -> list[Number] | None:
    """Return the numbers in a message that `encode_message` made, the last one for how many bytes of pixels follow.

    Args:
        header: All that stands before the pixels.
        size: Bytes of pixels.
        message: What it says.

    Returns:
        None if it has parts that are not as simple.
    """
    length = _length_before(header, size)
    if message.extra or len(message.data) != 1 or length is None:
        return None
    numbers = _numbers_in(takewhile(lambda field: field[0] != _PIXELS, _fields(header)), header, message)
    return None if numbers is None else [*numbers, length]


def _length_before(header: memoryview, size: int) -> Number | None:
    head = cbor.head(cbor.BYTES, size)
    at = len(header) - len(head)
    if at < 0 or bytes(header[at:]) != head or head[0] not in _LENGTHS:
        return None
    return Number("", at + 1, _LENGTHS[head[0]], None)


def _numbers_in(fields: Iterable[tuple[str, int]], data: memoryview, message: ImageMessage) -> list[Number] | None:
    numbers: list[Number] = []
    for name, place in fields:
        value: Any = getattr(message, name, None)
        if name in _SAME_IN_A_RUN or isinstance(value, _CONSTANTS):
            continue
        number = _number(name, value, data, place) if isinstance(value, _NUMBERS) else None
        if number is None:
            return None
        numbers.append(number)
    return numbers


_LENGTHS: Final = {cbor.BYTES + info: form for info, form in zip(range(24, 28), "BHIQ", strict=True)}


def _fields(data: memoryview) -> Iterator[tuple[str, int]]:
    """Yield the names of a message's fields, and where their values begin; the message can be decoded."""
    reader = Reader(data, _ANY)
    reader.at = len(SELF_DESCRIBED) if bytes(data[: len(SELF_DESCRIBED)]) == SELF_DESCRIBED else 0
    count = data[reader.at] - cbor.MAP
    if not 0 <= count < _IMMEDIATE:
        return
    reader.at += 1
    for _ in range(count):
        name = reader.key(1)
        yield name, reader.at
        reader.item(1)


def _number(name: str, value: float | Rational, data: memoryview, at: int) -> Number | None:
    denominator = None
    if isinstance(value, Rational):
        if data[at] != cbor.ARRAY + len(value):
            return None
        at, denominator = at + 1, value.denominator
    initial = data[at]
    if (initial == 0xFB) != isinstance(value, float):
        return None  # such as a float that came as an integer
    if initial < _IMMEDIATE:
        return Number(name, at, "b", denominator)
    form = _FORMS.get(initial)
    return None if form is None else Number(name, at + 1, form, denominator)
