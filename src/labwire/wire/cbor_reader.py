"""Read one CBOR item: every length, depth and count is checked before memory is taken, and pixels are never copied.

A reader of our own, because the payload must come out as a view of the buffer that it arrived in, and because what the
common decoders give for the same bytes differs between their versions.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeAlias

from labwire.errors import ProtocolError, TooLargeError
from labwire.wire.cbor_arrays import MULTI_DIMENSIONAL, read_typed_array, with_dimensions
from labwire.wire.cbor_values import (
    DEFAULT_LIMITS,
    TAG_DATE,
    TAG_SELF_DESCRIBED,
    Buffer,
    Date,
    Limits,
    Simple,
    Tag,
)
from labwire.wire.image_array import DTYPES

_BYTES, _TEXT, _ARRAY, _MAP, _TAG = range(2, 7)
_INDEFINITE = 31
_BREAK = 0xFF
_LATER: Final = object()
_NUMBERS = {24 + power: (struct.Struct(f">{code}").unpack_from, 1 << power) for power, code in enumerate("BHIQ")}


def _immediates() -> list[Any]:
    """Values that one byte says: small integers, empty strings, false, true, null, other simple values."""
    values: list[Any] = [_LATER] * 256
    for number in range(24):
        values[number], values[0x20 + number] = number, -1 - number
        values[0xE0 + number] = Simple(number)
    values[0x40], values[0x60] = b"", ""
    values[0xF4:0xF7] = False, True, None
    return values


_IMMEDIATES: Final = _immediates()


def decode_item(data: Buffer, limits: Limits = DEFAULT_LIMITS) -> Any:
    """Decode exactly one CBOR item.

    Maps become dict, arrays list, byte strings bytes; typed and multi-dimensional arrays `Array` (a view of `data`),
    tag 0 `Date`; tags and simple values without a meaning here stay `Tag` and `Simple`.

    Raises:
        ProtocolError: It is cut, malformed, or followed by something; a map has a key twice.
        TooLargeError: A limit is exceeded.
    """
    view = memoryview(data)
    if view.format != "B" or view.ndim != 1:
        view = view.cast("B")
    if len(view) > limits.max_bytes:
        raise TooLargeError(f"a message of {len(view)} bytes is above the limit of {limits.max_bytes} bytes")
    reader = Reader(view, limits)
    try:
        value = reader.item(0)
    except (IndexError, struct.error) as error:
        raise ProtocolError(f"the message ends too early, after {len(view)} bytes: {_show(view)}") from error
    except UnicodeDecodeError as error:
        raise ProtocolError(f"text that is not UTF-8 before byte {reader.at}: {error.reason}") from error
    if reader.at != len(view):
        raise ProtocolError(f"{len(view) - reader.at} bytes follow the message: {_show(view[reader.at :])}")
    return value


class Reader:
    """A place in the bytes, and what is left of the limits."""

    __slots__ = ("at", "data", "end", "items_left", "limits")

    def __init__(self, data: memoryview, limits: Limits) -> None:
        self.data = data
        self.at = 0
        self.end = len(data)
        self.items_left = limits.max_items
        self.limits = limits

    def item(self, depth: int) -> Any:
        """Read any item."""
        at = self.at
        initial = self.data[at]
        self.at = at + 1
        value = _IMMEDIATES[initial]
        if value is not _LATER:
            return value
        return _READERS[initial](self, initial & 31, depth)

    def fail(self, what: str) -> NoReturn:
        """Refuse the message."""
        raise ProtocolError(f"{what}, before byte {self.at} of {self.end}", at_byte=self.at)

    def argument(self, info: int) -> int:
        """Read what follows the initial byte: a number of 0, 1, 2, 4 or 8 bytes."""
        if info < 24:
            return info
        if (number := _NUMBERS.get(info)) is None:
            self.fail(f"a length or number of reserved or indefinite kind {info}")
        at = self.at
        self.at = at + number[1]
        return number[0](self.data, at)[0]

    def unsigned(self, info: int, depth: int) -> int:
        """Read an unsigned integer."""
        return self.argument(info)

    def negative(self, info: int, depth: int) -> int:
        """Read a negative integer."""
        return -1 - self.argument(info)

    def string(self, info: int) -> memoryview:
        """Read a string of definite length."""
        size = info if info < 24 else self.argument(info)
        at = self.at
        end = at + size
        if end > self.end:
            self.fail(f"a string of {size} bytes where {self.end - at} are left")
        self.at = end
        return self.data[at:end]

    def chunks(self, major: int) -> list[memoryview]:
        """Read the parts of a string of indefinite length: strings of the same kind, of definite length."""
        parts: list[memoryview] = []
        while (initial := self.data[self.at]) != _BREAK:
            self.at += 1
            if initial >> 5 != major:
                self.fail("a string of indefinite length has a part of another kind")
            self.count(1)
            parts.append(self.string(initial & 31))
        self.at += 1
        return parts

    def byte_string(self, info: int, depth: int) -> bytes:
        """Read a byte string that is no array; copied, so that it outlives the buffer."""
        return b"".join(self.chunks(_BYTES)) if info == _INDEFINITE else bytes(self.string(info))

    def text(self, info: int, depth: int) -> str:
        """Read text."""
        if info == _INDEFINITE:
            return "".join(str(part, "utf-8") for part in self.chunks(_TEXT))
        return str(self.string(info), "utf-8")

    def key(self, depth: int) -> Any:
        """Read the key of a map."""
        at = self.at
        initial = self.data[at]
        if not 0x60 < initial < 0x78:
            return self.item(depth)
        # Short text, as nearly all keys are. If the message ends in it, reading its value fails.
        self.at = end = at + initial - 0x5F
        return str(self.data[at + 1 : end], "utf-8")

    def count(self, items: int) -> int:
        """Take elements from what the limits allow, before room is made for them; return how many are left."""
        self.items_left -= items
        if self.items_left < 0:
            raise TooLargeError(f"a message of more than {self.limits.max_items} elements")
        return self.items_left

    def length(self, info: int, depth: int, per_entry: int) -> int | None:
        """Read how many entries an array or map has; None: until a break."""
        if depth >= self.limits.max_depth:
            self.fail(f"nested deeper than {self.limits.max_depth} levels")
        if info == _INDEFINITE:
            return None
        length = info if info < 24 else self.argument(info)
        if length * per_entry > self.end - self.at:
            self.fail(f"{length} entries where {self.end - self.at} bytes are left")
        self.items_left -= length * per_entry
        return length if self.items_left >= 0 else self.count(0)

    def at_break(self) -> bool:
        """Tell whether something of indefinite length ends here, and if so, pass the break."""
        if self.data[self.at] != _BREAK:
            self.count(1)
            return False
        self.at += 1
        return True

    def array(self, info: int, depth: int) -> list[Any]:
        """Read an array."""
        inner = depth + 1
        length = self.length(info, depth, 1)
        if length is not None:
            return [self.item(inner) for _ in range(length)]
        items: list[Any] = []
        while not self.at_break():
            items.append(self.item(inner))
        return items

    def map(self, info: int, depth: int) -> dict[Any, Any]:
        """Read a map."""
        length = self.length(info, depth, 2)
        entries: dict[Any, Any] = {}
        inner = depth + 1
        entry = 0
        try:
            while entry != length if length is not None else not self.at_break():
                key = self.key(inner)
                entries[key] = self.item(inner)
                entry += 1
        except TypeError:
            self.fail("a map has an array, a map or something like it as key")
        if len(entries) != entry:
            self.fail(f"a map has {entry - len(entries)} of its keys twice")
        return entries

    def simple(self, info: int, depth: int) -> Simple:
        """Read a simple value of two bytes; what else comes here is malformed."""
        value = self.data[self.at] if info == 24 else 0
        if value < 32:
            self.fail("a break where a value should be" if info == _INDEFINITE else "a malformed simple value")
        self.at += 1
        return Simple(value)

    def tagged(self, info: int, depth: int) -> Any:
        """Read what a tag stands before."""
        number = info if info < 24 else self.argument(info)
        if depth >= self.limits.max_depth:
            self.fail(f"nested deeper than {self.limits.max_depth} levels")
        if number in DTYPES:
            return read_typed_array(self, number, depth + 1)
        value = self.item(depth + 1)
        if number == TAG_DATE and type(value) is str:
            return Date(value)
        if number in MULTI_DIMENSIONAL:
            return with_dimensions(self, number, value)
        return value if number == TAG_SELF_DESCRIBED else Tag(number, value)


_Read: TypeAlias = Callable[[Reader, int, int], Any]


def _fixed(code: str) -> _Read:
    """Return what reads a number of fixed size."""
    form = struct.Struct(f">{code}")
    unpack, size = form.unpack_from, form.size

    def read(reader: Reader, _info: int, _depth: int) -> Any:
        at = reader.at
        reader.at = at + size
        return unpack(reader.data, at)[0]

    return read


def _readers() -> list[_Read]:
    """Return what reads on after each initial byte."""
    by_major: list[_Read] = [
        Reader.unsigned,
        Reader.negative,
        Reader.byte_string,
        Reader.text,
        Reader.array,
        Reader.map,
        Reader.tagged,
        Reader.simple,
    ]
    readers = [by_major[initial >> 5] for initial in range(256)]
    readers[0x18:0x1C] = map(_fixed, "BHIQ")
    readers[0xF9:0xFC] = map(_fixed, "efd")
    return readers


_READERS: Final = _readers()


def _show(data: memoryview) -> str:
    return f"{bytes(data[:40])!r}{'…' if len(data) > 40 else ''}"
