"""Frames of the live WebSocket: a tag, a header in JSON, and a body of bytes.

``<BBHI``: tag, version, zero, length of the header in bytes; the header; zeros up to a multiple of eight; the body.
So numbers in the body stand where a browser can look at them without copying.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import msgspec

from labwire.errors import ProtocolError
from labwire.wire.json_text import encode_json

VERSION = 1
_HEAD = struct.Struct("<BBHI")
_ALIGN = 8


class Tag(IntEnum):
    """What a frame carries."""

    HELLO = 1
    """Header: about the server. First of all frames."""
    MESSAGES = 2
    """Header: ``newest``, the newest message of each topic, and ``all``, every message in order; both lists of
    ``[topic, payload, rig time of arrival]``; ``dropped``."""
    PICTURE = 3
    """Header: ``topic``, ``payload``, ``dropped``; body: the picture as its source sent it."""
    SERIES = 4
    """Header: ``series``, a list of ``[id, points, dropped]``; body: for each of them its times, then its values,
    as float64, little-endian."""
    STATUS = 5
    """Header: each second, what was dropped on the way to this reader, and whether the rig is there."""


class LiveFrame(msgspec.Struct, frozen=True):
    """A decoded frame."""

    tag: Tag
    header: dict[str, Any]
    body: memoryview


def encode_frame(tag: Tag, header: object, body: Sequence[bytes | memoryview] = ()) -> bytes:
    """Encode a frame; the pieces of the body follow each other."""
    text = encode_json(header)
    return b"".join([_HEAD.pack(tag, VERSION, 0, len(text)), text, bytes(_padding(len(text))), *body])


def decode_frame(data: bytes) -> LiveFrame:
    """Decode a frame.

    Raises:
        ProtocolError: It is none.
    """
    try:
        tag, version, _, length = _HEAD.unpack_from(data)
        start = _HEAD.size + length
        header = msgspec.json.decode(data[_HEAD.size : start], type=dict[str, Any])
        if version != VERSION or start + _padding(length) > len(data):
            raise ValueError(f"version {version}, {len(data)} bytes, a header of {length}")
        return LiveFrame(Tag(tag), header, memoryview(data)[start + _padding(length) :])
    except (struct.error, ValueError, msgspec.DecodeError) as error:
        raise ProtocolError(f"{data[:16]!r} ({len(data)} bytes) is no live frame: {error}") from error


def _padding(length: int) -> int:
    return -length % _ALIGN
