"""Read the array tags of CBOR: typed arrays, compressed ones, those of several dimensions; pixels are not copied.

Source: RFC 8746; DECTRIS' tag 56500. What holds a map or array counts against the reader's limits like any other.
"""

from __future__ import annotations

from reprlib import repr as brief
from typing import TYPE_CHECKING, Any, Final, cast

from labwire.errors import TooLargeError
from labwire.wire.cbor_values import TAG_COLUMN_MAJOR, TAG_COMPRESSED, TAG_ROW_MAJOR, Tag
from labwire.wire.image_array import DTYPES, FRAMED, ITEM_BYTES, Array, fault_of, read_chunk_header

if TYPE_CHECKING:
    from labwire.wire.cbor_reader import Reader

MULTI_DIMENSIONAL: Final = frozenset({TAG_ROW_MAJOR, TAG_COLUMN_MAJOR})
_BYTES, _ARRAY, _TAG = 2, 4, 6
_INDEFINITE = 31


def read_typed_array(reader: Reader, tag: int, depth: int) -> Array | Tag:
    """Read what a typed-array tag holds: a byte string, or a compressed one; the result has one dimension."""
    dtype, algorithm, modifier = DTYPES[tag], "", 0
    initial = reader.data[reader.at]
    reader.at += 1
    if initial >> 5 == _TAG:
        algorithm, modifier, data = _compressed(reader, initial & 31, depth)
        if algorithm not in FRAMED:  # nobody but the decompressor knows how large it is
            return Tag(tag, Tag(TAG_COMPRESSED, [algorithm, modifier, data]))
        if type(modifier) is not int:
            reader.fail(f"the element size of {algorithm} data is {brief(modifier)}")
    else:
        data = _raw_bytes(reader, initial)
    size = read_chunk_header(data).total_bytes if algorithm else len(data)
    _check_size(reader, size)
    if size % ITEM_BYTES[dtype]:
        reader.fail(f"{size} bytes are no whole number of elements of {dtype}")
    return Array((size // ITEM_BYTES[dtype],), dtype, data, algorithm, modifier)


def _compressed(reader: Reader, info: int, depth: int) -> tuple[str, Any, memoryview]:
    """Read a compressed byte string: algorithm, its modifier (element size), bytes."""
    if reader.argument(info) != TAG_COMPRESSED or reader.data[reader.at] >> 5 != _ARRAY:
        reader.fail(f"a typed array holds neither a byte string nor tag {TAG_COMPRESSED}")
    reader.at += 1
    length = reader.length(reader.data[reader.at - 1] & 31, depth, 1)
    if length not in {3, None}:
        reader.fail(f"tag {TAG_COMPRESSED} holds an array of {length} elements, not 3")
    algorithm, modifier = reader.item(depth + 1), reader.item(depth + 1)
    if type(algorithm) is not str or not algorithm:
        reader.fail(f"the name of a compression is {brief(algorithm)}")
    reader.at += 1
    data = _raw_bytes(reader, reader.data[reader.at - 1])
    if length is None and not reader.at_break():
        reader.fail(f"tag {TAG_COMPRESSED} holds an array of more than 3 elements")
    return algorithm, modifier, data


def _raw_bytes(reader: Reader, initial: int) -> memoryview:
    if initial >> 5 != _BYTES:
        reader.fail("a typed array holds something that is not a byte string")
    if initial & 31 == _INDEFINITE:  # nobody in this field sends pixels so; they have to be joined
        return memoryview(b"".join(reader.chunks(_BYTES)))
    return reader.string(initial & 31)


def with_dimensions(reader: Reader, tag: int, value: Any) -> Array | Tag:
    """Give a typed array its dimensions; plain arrays of values, which are allowed as well, stay as they are."""
    if type(value) is not list or len(cast("list[Any]", value)) != 2:
        reader.fail(f"tag {tag} holds no array of dimensions and elements")
    dimensions, flat = cast("list[Any]", value)
    if type(dimensions) is not list or not all(map(_is_length, cast("list[Any]", dimensions))):
        reader.fail(f"the dimensions of an array are {brief(cast('Any', dimensions))}")
    if type(flat) is Tag and type(flat.value) is Tag and flat.number in DTYPES:
        algorithm, modifier, data = flat.value.value
        flat = Array((), DTYPES[flat.number], data, algorithm, modifier if type(modifier) is int else 0)
    if type(flat) is not Array or len(flat.shape) > 1:
        return Tag(tag, value)
    flat.shape, flat.column_major = tuple(cast("list[int]", dimensions)), tag == TAG_COLUMN_MAJOR
    if fault := fault_of(flat):
        reader.fail(fault)
    _check_size(reader, flat.nbytes)
    return flat


def _check_size(reader: Reader, size_bytes: int) -> None:
    if size_bytes > reader.limits.max_array_bytes:
        raise TooLargeError(
            f"an array of {size_bytes} bytes is above the limit of {reader.limits.max_array_bytes} bytes"
        )


def _is_length(value: Any) -> bool:
    return type(value) is int and value >= 0
