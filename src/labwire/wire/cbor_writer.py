"""Write CBOR for a gather write: small things joined, pixels left where they are.

What is written: definite lengths, shortest integers, floats of 64 bits, text keys as they come.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import index
from typing import Any, Final, TypeAlias, cast

from labwire.errors import UsageError
from labwire.wire.cbor_values import (
    MAX_UINT,
    TAG_COLUMN_MAJOR,
    TAG_COMPRESSED,
    TAG_DATE,
    TAG_ROW_MAJOR,
    Buffer,
    Date,
    Simple,
    Tag,
)
from labwire.wire.image_array import TAGS, Array, fault_of, flat_view

GATHER_BYTES: Final = 4096
"""An array's bytes from this size on go out as a piece of their own; shorter ones are copied into the piece before."""

_UINT, _NEGATIVE, BYTES, _TEXT, ARRAY, MAP, _TAG, _SIMPLE = range(0, 256, 32)
_U8, _U16, _U32, _U64 = (struct.Struct(f">B{code}").pack for code in "BHIQ")
_F64 = struct.Struct(">Bd").pack
_FALSE, _TRUE, _NULL = b"\xf4", b"\xf5", b"\xf6"


class Output:
    """What has been written, in order: `pieces` that are complete, then `parts` that will be joined to one more."""

    __slots__ = ("parts", "pieces")

    def __init__(self, start: bytes = b"") -> None:
        self.parts: list[Buffer] = [start]
        self.pieces: list[Buffer] = []

    def take(self) -> list[Buffer]:
        """Return all pieces, none of them empty."""
        if rest := b"".join(self.parts):
            self.pieces.append(rest)
        return self.pieces


Write: TypeAlias = Callable[[Output, Any], None]


def head(major: int, argument: int) -> bytes:
    """Return the head of an item: its major type (times 32) and its number or length, in the fewest bytes.

    Raises:
        UsageError: The number does not fit 64 bits.
    """
    if argument < 24:
        return bytes((major + argument,))
    if argument < 1 << 8:
        return _U8(major + 24, argument)
    if argument < 1 << 16:
        return _U16(major + 25, argument)
    if argument < 1 << 32:
        return _U32(major + 26, argument)
    if argument <= MAX_UINT:
        return _U64(major + 27, argument)
    raise UsageError(f"{argument} does not fit into 64 bits")


_SMALL: Final = tuple(head(_UINT, number) for number in range(256))
_SMALL_MAPS: Final = tuple(head(MAP, length) for length in range(32))


def array_head(length: int) -> bytes:
    """Return the head of an array of so many items, which follow."""
    return head(ARRAY, length)


def map_head(length: int) -> bytes:
    """Return the head of a map of so many pairs of key and value, which follow."""
    return _SMALL_MAPS[length] if length < len(_SMALL_MAPS) else head(MAP, length)


def text_item(value: str) -> bytes:
    """Return text as an item.

    Raises:
        UnicodeEncodeError: It holds a lone surrogate.
    """
    data = value.encode()
    return head(_TEXT, len(data)) + data


# Names of runs and channels, dates, algorithms: the same ones in each image of a run.
_SHORT_CHARS: Final = 64
_short_text = lru_cache(maxsize=512)(text_item)


def write_int(output: Output, value: Any) -> None:
    """Write an integer, also numpy's."""
    number = index(value)
    if 0 <= number < 256:
        output.parts.append(_SMALL[number])
    else:
        output.parts.append(head(_UINT, number) if number >= 0 else head(_NEGATIVE, -1 - number))


def write_float(output: Output, value: Any) -> None:
    """Write a number as a float, whatever it was: DECTRIS' C parser refuses integers where it expects floats."""
    output.parts.append(_F64(0xFB, value))


def write_bool(output: Output, value: Any) -> None:
    """Write true or false."""
    output.parts.append(_TRUE if value else _FALSE)


def write_text(output: Output, value: Any) -> None:
    """Write text."""
    if not isinstance(value, str):
        raise TypeError(f"text was expected, not {type(value).__name__}")
    output.parts.append(_short_text(value) if len(value) <= _SHORT_CHARS else text_item(value))


_DATE = head(_TAG, TAG_DATE)


def write_date(output: Output, value: Any) -> None:
    """Write RFC 3339 text as a date."""
    output.parts.append(_DATE)
    write_text(output, value)


def write_bytes(output: Output, value: Any) -> None:
    """Write a byte string; a long one as a piece of its own."""
    view, parts = flat_view(value), output.parts
    size = len(view)
    parts.append(head(BYTES, size))
    if size < GATHER_BYTES:
        parts.append(view)
        return
    output.pieces += b"".join(parts), view
    parts.clear()


def write_array(output: Output, value: Any) -> None:
    """Write an `Array`: with dimensions from two on, else as a plain typed array.

    Raises:
        UsageError: Its bytes do not agree with its shape.
    """
    if type(value) is not Array:
        raise TypeError(f"an Array was expected, not {type(value).__name__}")
    if fault := fault_of(value):
        raise UsageError(fault)
    order = _COLUMN_MAJOR if value.column_major else _ROW_MAJOR
    output.parts.append(_head_of_array(order, value.shape, value.dtype, value.compression, value.elem_size))
    write_bytes(output, value.data)


@lru_cache(maxsize=64)
def _head_of_array(order: bytes, shape: tuple[int, ...], dtype: str, compression: str, elem_size: int) -> bytes:
    """Return all that stands before an array's bytes: the same for each image of a run."""
    output = Output()
    if len(shape) > 1:
        output.parts += [order, array_head(len(shape))]
        for length in shape:
            write_int(output, length)
    output.parts.append(_TYPED[dtype])
    if compression:
        output.parts += [_COMPRESSED, text_item(compression)]
        write_int(output, elem_size)
    return b"".join(output.parts)


_ROW_MAJOR = head(_TAG, TAG_ROW_MAJOR) + array_head(2)
_COLUMN_MAJOR = head(_TAG, TAG_COLUMN_MAJOR) + array_head(2)
_COMPRESSED = head(_TAG, TAG_COMPRESSED) + array_head(3)
_TYPED = {dtype: head(_TAG, tag) for dtype, tag in TAGS.items()}


def list_of(write: Write) -> Write:
    """Return what writes a list of such values."""

    def write_list(output: Output, value: Any) -> None:
        output.parts.append(array_head(len(value)))
        for item in value:
            write(output, item)

    return write_list


def map_of(write: Write) -> Write:
    """Return what writes a map from text, or from anything else, to such values."""

    def write_map(output: Output, value: Any) -> None:
        output.parts.append(map_head(len(value)))
        for key, item in value.items():
            (write_text if type(key) is str else write_any)(output, key)
            write(output, item)

    return write_map


def write_any(output: Output, value: Any) -> None:
    """Write any value that has a form in CBOR, by its type.

    Raises:
        TypeError: It has none.
    """
    write = _WRITERS.get(cast("type[Any]", type(value)))
    if write is None:
        write, value = _writer_of_other(value)
    write(output, value)


def _write_null(output: Output, _value: Any) -> None:
    output.parts.append(_NULL)


def _write_tag(output: Output, value: Tag) -> None:
    output.parts.append(head(_TAG, value.number))
    write_any(output, value.value)


def _write_simple(output: Output, value: Simple) -> None:
    output.parts.append(head(_SIMPLE, value.number))


def _writer_of_other(value: Any) -> tuple[Write, Any]:
    # numpy scalars, and subclasses of what has a form: enumerations, named tuples, ordered maps.
    item = getattr(value, "item", None)
    if callable(item) and not getattr(value, "shape", ()):
        return write_any, item()
    for plain, write in _WRITERS.items():
        if isinstance(value, plain):
            return write, value
    if isinstance(value, Mapping):
        return map_of(write_any), cast("Mapping[Any, Any]", value)
    raise TypeError(f"{type(value).__name__} has no form in CBOR")


_WRITERS: Final[dict[type[Any], Write]] = {
    type(None): _write_null,
    bool: write_bool,
    int: write_int,
    float: write_float,
    Date: write_date,
    str: write_text,
    bytes: write_bytes,
    bytearray: write_bytes,
    memoryview: write_bytes,
    list: list_of(write_any),
    tuple: list_of(write_any),
    dict: map_of(write_any),
    Array: write_array,
    Tag: _write_tag,
    Simple: _write_simple,
}
