"""Encode image messages that look like the one before, in a third of the time.

The messages of a run differ in a few numbers and in their pixels, see `labwire.wire.image_layout`. So one that was
encoded in full is the form into which the numbers of those that follow are put.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import astuple, fields

from labwire.wire.cbor_values import Buffer
from labwire.wire.cbor_writer import GATHER_BYTES
from labwire.wire.image_array import Array, fault_of, flat_view
from labwire.wire.image_codec import encode_message
from labwire.wire.image_fields import Rational
from labwire.wire.image_layout import MISSES, Number, cut, numbers_of_written
from labwire.wire.image_message import ImageMessage

_RANGES: Final = {"b": (0, 23), "B": (24, 2**8 - 1), "H": (2**8, 2**16 - 1), "I": (2**16, 2**32 - 1)}
_LARGEST: Final = (2**32, 2**64 - 1)
_PLACES: Final = {field.encode_name: place for place, field in enumerate(fields(ImageMessage))}
_DATA: Final = _PLACES["data"]


class ImageEncoder:
    """Encodes the images of one run: what comes out is what `encode_message` gives. Any thread may use it.

    Args:
        self_described: Begin with tag 55799.
    """

    def __init__(self, *, self_described: bool = True) -> None:
        self._self_described = self_described
        self._template: _Template | None = None
        self._misses = 0

    def encode(self, message: ImageMessage) -> list[Buffer]:
        """Encode a message, see `encode_message`.

        Raises:
            UsageError: A value does not fit its field.
        """
        template = self._template
        if template is not None and (pieces := template.fill(message)) is not None:
            self._misses = 0
            return pieces
        pieces = encode_message(message, self_described=self._self_described)
        if self._misses < MISSES:
            self._misses += 1
            self._template = _template_of(pieces, message)
        return pieces


class _Template:
    """A message of one channel, with places for its numbers.

    Args:
        header: All of it but the pixels.
        message: What it says.
        numbers: All that may differ, in their order; the last one says how many bytes of pixels there are.
    """

    def __init__(self, header: bytes, message: ImageMessage, numbers: list[Number]) -> None:
        ((self._channel, array),) = message.data.items()
        self._array = (array.shape, array.dtype, array.compression, array.elem_size, array.column_major)
        self._nbytes = array.nbytes
        # It may be of any type: a date equals its text, and is written otherwise.
        self._user_data: type[Any] = type(message.user_data)
        form = cut(numbers)
        self._pack = form.pack
        self._parts = list(form.unpack(header))
        *others, length = numbers
        self._length = _RANGES.get(length.form, _LARGEST)
        self._numbers = [
            (
                2 * at + 1,
                _PLACES[number.name],
                float if number.form == "d" else int,
                *_RANGES.get(number.form, _LARGEST),
                number.denominator,
            )
            for at, number in enumerate(others)
        ]
        self._others = list(astuple(message))
        for place in (_DATA, *(number[1] for number in self._numbers)):
            self._others[place] = None

    def fill(self, message: ImageMessage) -> list[Buffer] | None:
        """Return the pieces of a message; None if it does not look like the first."""
        if type(message.user_data) is not self._user_data:
            return None
        values, parts = list(astuple(message)), self._parts.copy()
        for at, place, kind, least, most, denominator in self._numbers:
            value, values[place] = values[place], None
            if denominator is not None:
                if type(value) is not Rational or value.denominator != denominator:
                    return None
                value = value.numerator
            if type(value) is not kind or (kind is int and not least <= value <= most):
                return None
            parts[at] = value
        data, values[_DATA] = values[_DATA], None
        try:
            if values != self._others:
                return None
        except ValueError:  # an array of numpy's does not compare
            return None
        array = data.get(self._channel) if len(data) == 1 else None
        view = None if array is None else self._pixels(array)
        if view is None:
            return None
        parts[-1] = len(view)
        return [self._pack(*parts), view]

    def _pixels(self, array: Any) -> memoryview | None:
        if type(array) is not Array:
            return None
        about = (array.shape, array.dtype, array.compression, array.elem_size, array.column_major)
        if about != self._array:
            return None
        view = flat_view(array.data)
        size, (least, most) = len(view), self._length
        if not least <= size <= most or size < GATHER_BYTES:
            return None
        if (array.compression or size != self._nbytes) and fault_of(array):
            return None
        return view


def _template_of(pieces: list[Buffer], message: ImageMessage) -> _Template | None:
    """Return the form of messages that look like this one; None if it has parts that are not as simple."""
    if type(message) is not ImageMessage or len(pieces) != 2 or not isinstance(message.user_data, str | None):
        return None
    header, pixels = pieces
    numbers = numbers_of_written(memoryview(header), len(pixels), message)
    return None if numbers is None else _Template(bytes(header), message, numbers)
