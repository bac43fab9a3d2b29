"""What CBOR has and Python has not, and the limits under which it is read.

Source: RFC 8949 (CBOR), RFC 8746 (typed arrays), DECTRIS' tag 56500 (compressed byte strings).
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgspec

Buffer: TypeAlias = bytes | bytearray | memoryview

SELF_DESCRIBED: Final = b"\xd9\xd9\xf7"
"""Tag 55799, which says "what follows is CBOR": DECTRIS' C parser refuses a message without it."""

TAG_DATE: Final = 0
TAG_ROW_MAJOR: Final = 40
TAG_COLUMN_MAJOR: Final = 1040
TAG_SELF_DESCRIBED: Final = 55799
TAG_COMPRESSED: Final = 56500

MAX_UINT: Final = (1 << 64) - 1
"""Largest integer that CBOR holds without a bignum; the smallest is ``-1 - MAX_UINT``."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What may come from outside; checked before memory is taken."""

    max_bytes: int = 128 << 20
    """Longest message."""
    max_array_bytes: int = 256 << 20
    """Largest array, uncompressed: 64 million pixels of 32 bits."""
    max_items: int = 1 << 20
    """Most elements of all maps and arrays of a message together; pixels are not elements."""
    max_depth: int = 24
    """Deepest nesting of maps, arrays and tags."""


DEFAULT_LIMITS: Final = Limits()


class Date(str):
    """A moment as RFC 3339 text, with the offset from UTC: tag 0.

    >>> Date("2026-05-01T12:00:00.5+02:00")
    '2026-05-01T12:00:00.5+02:00'
    """

    __slots__ = ()


class Tag(msgspec.Struct, frozen=True):
    """A tagged value that is not understood; it survives a round trip."""

    number: int
    value: Any


class Simple(msgspec.Struct, frozen=True):
    """A simple value other than false, true and null; 23 is ``undefined``."""

    number: int
