"""Fragmented MP4 of JPEG pictures: boxes to bytes, and bytes to fragments as far as a repair needs them.

Every picture is a fragment of its own: once its bytes are written it is safe, and nothing has to be known of the next
one. The fragment carries its own decode time, so times are exact, wherever the file begins.

Source: ISO/IEC 14496-12 (boxes), 14496-14 (the ``mp4v`` entry), 14496-1 (object type 0x6C is JPEG).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

TIME_BASE_HZ = 65535
"""Ticks per second. Source: the recordings of Pupil Core: the time base of a recorded video is 1/65535."""

_TRACK = 1
_MATRIX = struct.pack(">9I", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
_JPEG_OBJECT_TYPE = 0x6C
_VISUAL_STREAM = 4 << 2 | 1
_DEPENDS_ON_NOTHING = 0x0200_0000
_DEFAULT_BASE_IS_MOOF = 0x02_0000
_HAS_OFFSET_DURATION_SIZE = 0x000301
_MAX_DURATION = 0xFFFF_FFFF


def _box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _full_box(kind: bytes, version: int, flags: int, *content: bytes) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags), *content)


# The last brand is ours: by it a repair knows that it may cut the file. Readers look for brands that they know.
_FILE_TYPE = _box(b"ftyp", b"isom", struct.pack(">I", 0x200), b"isomiso5iso6mp41lwre")


def is_ours(fd: int) -> bool:
    """Tell whether a file, or the stump of one, begins as ours do."""
    head = os.pread(fd, len(_FILE_TYPE), 0)
    return head == _FILE_TYPE[: len(head)] if head else True


def encode_head(width: int, height: int) -> bytes:
    """Encode everything before the first fragment.

    Args:
        width: In pixels, at most 65535.
        height: In pixels, at most 65535.
    """
    movie = _full_box(
        b"mvhd", 0, 0,
        struct.pack(">IIIIIH10x", 0, 0, TIME_BASE_HZ, 0, 1 << 16, 1 << 8), _MATRIX, bytes(24), struct.pack(">I", 2),
    )  # fmt: skip
    track = _full_box(
        b"tkhd", 0, 3,
        struct.pack(">IIIIIQHHHH", 0, 0, _TRACK, 0, 0, 0, 0, 0, 0, 0), _MATRIX,
        struct.pack(">II", width << 16, height << 16),
    )  # fmt: skip
    media = _full_box(b"mdhd", 0, 0, struct.pack(">IIIIHH", 0, 0, TIME_BASE_HZ, 0, 0x55C4, 0))
    handler = _full_box(b"hdlr", 0, 0, struct.pack(">I4s12x", 0, b"vide"), b"VideoHandler\0")
    extends = _full_box(b"trex", 0, 0, struct.pack(">IIIII", _TRACK, 1, 0, 0, _DEPENDS_ON_NOTHING))
    information = _box(
        b"minf",
        _full_box(b"vmhd", 0, 1, bytes(8)),
        _box(b"dinf", _full_box(b"dref", 0, 0, struct.pack(">I", 1), _full_box(b"url ", 0, 1))),
        _encode_sample_table(width, height),
    )
    trak = _box(b"trak", track, _box(b"mdia", media, handler, information))
    return _FILE_TYPE + _box(b"moov", movie, trak, _box(b"mvex", extends))


def _encode_sample_table(width: int, height: int) -> bytes:
    decoder = bytes((_JPEG_OBJECT_TYPE, _VISUAL_STREAM)) + bytes(11)  # sizes and rates unknown
    stream = struct.pack(">HB", _TRACK, 0) + _descriptor(4, decoder) + _descriptor(6, b"\x02")
    entry = _box(
        b"mp4v",
        struct.pack(">6xH16xHHIIIH32sHh", 1, width, height, 72 << 16, 72 << 16, 0, 1, b"", 24, -1),
        _full_box(b"esds", 0, 0, _descriptor(3, stream)),
    )
    return _box(
        b"stbl",
        _full_box(b"stsd", 0, 0, struct.pack(">I", 1), entry),
        _full_box(b"stts", 0, 0, bytes(4)),
        _full_box(b"stsc", 0, 0, bytes(4)),
        _full_box(b"stsz", 0, 0, bytes(8)),
        _full_box(b"stco", 0, 0, bytes(4)),
    )


def _descriptor(tag: int, content: bytes) -> bytes:
    return bytes((tag, len(content))) + content


_FRAGMENT = struct.Struct(
    ">I4s"  # moof
    "I4sII"  # mfhd: version and flags, number
    "I4s"  # traf
    "I4sII"  # tfhd: version and flags, track
    "I4sIQ"  # tfdt: version and flags, decode time
    "I4sIIIII"  # trun: version and flags, samples, offset of the data, duration, size
    "I4s"  # mdat
)
FRAGMENT_HEAD_BYTES = _FRAGMENT.size
"""Bytes of a fragment before its picture."""
_MOOF_BYTES = FRAGMENT_HEAD_BYTES - 8
_NUMBER, _NUMBER_AT = struct.Struct(">I"), 20
_PTS, _PTS_AT = struct.Struct(">Q"), 60
_DURATION_AND_SIZE, _DURATION_AND_SIZE_AT = struct.Struct(">II"), 88


def encode_fragment_head(number: int, pts: int, duration: int, size_bytes: int) -> bytes:
    """Encode what stands before the bytes of one picture.

    Args:
        number: Counts the fragments of a file from 1.
        pts: Time of the picture in ticks, not negative.
        duration: In ticks; the next fragment's time corrects it.
        size_bytes: Of the picture.
    """
    duration = min(duration, _MAX_DURATION)
    return _FRAGMENT.pack(
        _MOOF_BYTES, b"moof",
        16, b"mfhd", 0, number,
        _MOOF_BYTES - 24, b"traf",
        16, b"tfhd", _DEFAULT_BASE_IS_MOOF, _TRACK,
        20, b"tfdt", 1 << 24, pts,
        28, b"trun", _HAS_OFFSET_DURATION_SIZE, 1, FRAGMENT_HEAD_BYTES, duration, size_bytes,
        8 + size_bytes, b"mdat",
    )  # fmt: skip


class Fragment(NamedTuple):
    """One picture in a file."""

    offset: int
    pts: int


def encode_index(fragments: Iterable[Fragment]) -> bytes:
    """Encode the random access index that ends a file."""
    entries = [struct.pack(">QQ3B", pts, offset, 1, 1, 1) for offset, pts in fragments]
    table = _full_box(b"tfra", 1, 0, struct.pack(">III", _TRACK, 0, len(entries)), *entries)
    return _box(b"mfra", table, _full_box(b"mfro", 0, 0, struct.pack(">I", 8 + len(table) + 16)))


class Mp4Scan(NamedTuple):
    """What is whole in a file."""

    fragments: list[Fragment]
    end: int
    """Where the last whole fragment ends; 0 if not even the head is there."""
    finished: bool
    """The index stands behind it, and nothing else."""


def walk_fragments(fd: int) -> Iterator[tuple[Fragment, int]]:
    """Yield the whole fragments of a file that was made of these boxes, each with where it ends."""
    size = os.fstat(fd).st_size
    at = _end_of_head(fd, size)
    while at and (fragment := _fragment_at(fd, at)):
        pts, end = fragment
        if end > size:
            return
        yield Fragment(at, pts), end
        at = end


def scan_fragments(fd: int) -> Mp4Scan:
    """Find the whole fragments of a file that was made of these boxes, and whether its index is there."""
    size = os.fstat(fd).st_size
    at = _end_of_head(fd, size)
    if at == 0:
        return Mp4Scan([], 0, False)
    fragments: list[Fragment] = []
    for fragment, end in walk_fragments(fd):
        fragments.append(fragment)
        at = end
    index = os.pread(fd, size - at, at) if size - at <= len(encode_index(())) + 19 * len(fragments) else b""
    return Mp4Scan(fragments, at, index == encode_index(fragments))


def _fragment_at(fd: int, at: int) -> tuple[int, int] | None:
    """Return time and end of the fragment at a place; None if none of ours begins there."""
    head = os.pread(fd, FRAGMENT_HEAD_BYTES, at)
    if len(head) < FRAGMENT_HEAD_BYTES:
        return None
    number, pts = _NUMBER.unpack_from(head, _NUMBER_AT)[0], _PTS.unpack_from(head, _PTS_AT)[0]
    duration, size_bytes = _DURATION_AND_SIZE.unpack_from(head, _DURATION_AND_SIZE_AT)
    if head != encode_fragment_head(number, pts, duration, size_bytes):
        return None
    return pts, at + FRAGMENT_HEAD_BYTES + size_bytes


def _end_of_head(fd: int, size: int) -> int:
    at = 0
    for expected in (b"ftyp", b"moov"):
        head = os.pread(fd, 8, at)
        if len(head) < 8 or head[4:] != expected:
            return 0
        at += int.from_bytes(head[:4], "big")
    return at if at <= size else 0
