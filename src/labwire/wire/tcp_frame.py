"""The header of the TCP image stream: 64 bytes before each payload.

Source: image-stream, "TCP frame header" and "ACK semantics". The spec gives the fields and that the header is aligned
to 64 bytes; integers are little-endian, as the machines that speak it are, and the fields need no padding.
"""

from __future__ import annotations

import errno
import struct
from enum import IntEnum, IntFlag
from typing import NamedTuple, TypeAlias

from labwire.errors import (
    DeviceError,
    DiskLowError,
    LabwireError,
    PeerError,
    ProtocolError,
    RefusedError,
    UsageError,
)

MAGIC = 0x4A464A54
"""``JFJT``; on the wire ``54 4a 46 4a``."""
VERSION = 2
HEADER = struct.Struct("<IHHQQIIQIHHQQ")
HEADER_BYTES = 64

MAX_PAYLOAD_BYTES = 512 << 20
"""Most bytes of a payload, unless a connection is told otherwise: a START with the mask of 16 million pixels has
64 MiB, calibration arrays of such a detector a few times that."""
MAX_TEXT_BYTES = 64 << 10
"""Most bytes of an error text that is read; a text is the only payload that an ACK has."""
MAX_SENT_TEXT_BYTES = 4 << 10
"""Most bytes of an error text that is sent: it may be repeated for every image of a run."""

MAX_UINT32 = (1 << 32) - 1
MAX_UINT64 = (1 << 64) - 1

_SHOWN_BYTES = 8
_MAGIC_BYTES = struct.pack("<I", MAGIC)

Readable: TypeAlias = bytes | bytearray | memoryview


class FrameType(IntEnum):
    """What a frame is. Source: image-stream, "Frame types"."""

    START = 1
    """Begins a run; carries its metadata."""
    DATA = 2
    """One image."""
    CALIBRATION = 3
    """One calibration array; only to connection 0."""
    END = 4
    """Ends a run; carries its metadata."""
    ACK = 5
    """Answers a frame, or reports an error."""
    CANCEL = 6
    """Takes a run back."""
    KEEPALIVE = 7
    """Is the peer there? And the answer to it."""


FRAME_TYPES = frozenset(int(kind) for kind in FrameType)
CBOR_FRAMES = frozenset({FrameType.START, FrameType.DATA, FrameType.CALIBRATION, FrameType.END})
"""Frames whose payload is a CBOR message; the others are control frames."""

ACK, DATA = FrameType.ACK, FrameType.DATA  # as Python looks up a member of an enumeration anew each time


class AckFlags(IntFlag):
    """Flags of an ACK. Source: image-stream, "ACK semantics"."""

    NONE = 0
    OK = 1
    """Accepted, or done."""
    FATAL = 2
    """The writer cannot go on with this run."""
    HAS_ERROR_TEXT = 4
    """The payload is UTF-8 text."""


# The same as plain integers: an operation on an IntFlag costs a microsecond, and there are several for each image.
FLAG_OK, FLAG_FATAL, FLAG_TEXT = int(AckFlags.OK), int(AckFlags.FATAL), int(AckFlags.HAS_ERROR_TEXT)


class AckCode(IntEnum):
    """Why an ACK says no. Source: image-stream, "ACK semantics"."""

    NONE = 0
    START_FAILED = 1
    DATA_WRITE_FAILED = 2
    END_FAILED = 3
    DISK_QUOTA_EXCEEDED = 4
    NO_SPACE_LEFT = 5
    PERMISSION_DENIED = 6
    IO_ERROR = 7
    PROTOCOL_ERROR = 8


ACK_CODE_NAMES: dict[int, str] = {
    AckCode.NONE: "None",
    AckCode.START_FAILED: "StartFailed",
    AckCode.DATA_WRITE_FAILED: "DataWriteFailed",
    AckCode.END_FAILED: "EndFailed",
    AckCode.DISK_QUOTA_EXCEEDED: "DiskQuotaExceeded",
    AckCode.NO_SPACE_LEFT: "NoSpaceLeft",
    AckCode.PERMISSION_DENIED: "PermissionDenied",
    AckCode.IO_ERROR: "IoError",
    AckCode.PROTOCOL_ERROR: "ProtocolError",
}
"""The spec's names, which messages for people use."""

ACK_CODE_OF_ERRNO: dict[int, AckCode] = {
    errno.EDQUOT: AckCode.DISK_QUOTA_EXCEEDED,
    errno.ENOSPC: AckCode.NO_SPACE_LEFT,
    errno.EACCES: AckCode.PERMISSION_DENIED,
    errno.EPERM: AckCode.PERMISSION_DENIED,
    errno.EROFS: AckCode.PERMISSION_DENIED,
}
"""What the operating system says, and its code; every other errno is an I/O error."""

FAILED: dict[FrameType, AckCode] = {
    FrameType.START: AckCode.START_FAILED,
    FrameType.DATA: AckCode.DATA_WRITE_FAILED,
    FrameType.END: AckCode.END_FAILED,
}
"""The code of a frame that failed for a reason that has no code of its own."""


class FrameHeader(NamedTuple):
    """One header. Magic, version and the reserved fields are not kept: there is one value for each."""

    type: int
    """A `FrameType`, or the bare number of a type that the spec does not know."""
    image_number: int = 0
    """Index of the image, from 0; DATA and its ACK."""
    payload_size: int = 0
    """Bytes that follow the header."""
    socket_number: int = 0
    """Index of the connection in its run, from 0."""
    flags: int = 0
    """`AckFlags`."""
    run_number: int = 0
    ack_processed_images: int = 0
    """ACK: images of this run that the writer has stored, modulo 2**32."""
    ack_code: int = 0
    """ACK: an `AckCode`, or the bare number of one that the spec does not know."""
    ack_for: int = 0
    """ACK: the type of the frame that is answered; 0 means the connection itself, which is then closed."""


HeaderFields: TypeAlias = FrameHeader | tuple[int, int, int, int, int, int, int, int, int]
"""A header, or its bare fields: to make a named tuple of them takes as long as to encode them."""


def encode_header(header: HeaderFields, payload_size: int | None = None) -> bytes:
    """Encode a header to its 64 bytes.

    Args:
        header: What to encode.
        payload_size: Goes in the place of the header's own, if given.

    Raises:
        UsageError: A number does not fit into its field.
    """
    kind, image, size, socket, flags, run, processed, code, ack_for = header
    size = size if payload_size is None else payload_size
    try:
        return HEADER.pack(MAGIC, VERSION, kind, image, size, socket, flags, run, processed, code, ack_for, 0, 0)
    except struct.error as error:
        raise UsageError(f"a number of {header} does not fit into its field: {error}") from error


def decode_header(data: Readable, offset: int = 0) -> FrameHeader:
    """Decode the 64 bytes at `offset`. The reserved fields may hold anything.

    An unknown frame type is no error: it is a sign of life of a peer that knows more than we do, and what its payload
    says can be skipped.

    Raises:
        ProtocolError: Fewer than 64 bytes, another magic number, or another version.
    """
    if len(data) - offset < HEADER_BYTES:
        raise ProtocolError(f"a header has {HEADER_BYTES} bytes, and here are {max(len(data) - offset, 0)}")
    fields = HEADER.unpack_from(data, offset)
    if fields[0] != MAGIC:
        found = bytes(data[offset : offset + _SHOWN_BYTES])
        raise ProtocolError(
            f"no frame of the TCP image stream: it begins with {found!r} instead of {_MAGIC_BYTES!r}", found=found
        )
    version = fields[1]
    if version != VERSION:
        raise ProtocolError(
            f"the peer speaks version {version} of the TCP image stream, and this side version {VERSION}",
            version=version,
        )
    return FrameHeader._make(fields[2:-2])


def frame_name(kind: int) -> str:
    """Return the name of a frame type for messages: ``START``, or ``frame type 9``."""
    return FrameType(kind).name if kind in FRAME_TYPES else f"frame type {kind}"


def ack_code_name(code: int) -> str:
    """Return the spec's name of a code for messages: ``NoSpaceLeft``, or ``code 42``."""
    return ACK_CODE_NAMES.get(code, f"code {code}")


def encode_text(text: str) -> bytes:
    """Encode an error text as the payload of an ACK; what is above `MAX_SENT_TEXT_BYTES` is cut between characters."""
    data = text.encode("utf-8", "replace")
    return data if len(data) <= MAX_SENT_TEXT_BYTES else data[:MAX_SENT_TEXT_BYTES].decode("utf-8", "ignore").encode()


def decode_text(header: FrameHeader, payload: Readable) -> str:
    """Return the error text of an ACK; empty if it has none. Bytes that are not UTF-8 are replaced, never refused."""
    return bytes(payload).decode("utf-8", "replace") if header.flags & FLAG_TEXT else ""


def printable(text: str) -> str:
    """Return what a peer wrote as one line that may go into a log or onto a terminal, at most 500 characters."""
    words = " ".join(text[:_MAX_TEXT_CHARS].split())
    return words if words.isprintable() else "".join(char if char.isprintable() else "�" for char in words)


def ack_code_of(error: BaseException, frame: FrameType) -> AckCode:
    """Return the code with which a writer answers `frame` after `error`.

    An operating system's error goes by its errno, one of ours by the table in `labwire.errors`; where neither says why,
    the code says which frame failed. The first cause in the chain that has a code of its own counts, because libraries
    wrap the operating system's errors in their own.
    """
    cause: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        if isinstance(cause, OSError) and cause.errno is not None:
            return ACK_CODE_OF_ERRNO.get(cause.errno, AckCode.IO_ERROR)
        if isinstance(cause, LabwireError) and cause.codes.ack_code:
            return AckCode(cause.codes.ack_code)
        if cause is None:
            break
        cause = cause.__cause__ or cause.__context__
    return FAILED.get(frame, AckCode.PROTOCOL_ERROR)


_MAX_CAUSES = 16

ERROR_OF_ACK_CODE: dict[int, type[LabwireError]] = {
    AckCode.DISK_QUOTA_EXCEEDED: DiskLowError,
    AckCode.NO_SPACE_LEFT: DiskLowError,
    AckCode.PERMISSION_DENIED: RefusedError,
    AckCode.IO_ERROR: DeviceError,
    AckCode.PROTOCOL_ERROR: ProtocolError,
}
"""What an ACK's code is on the sending side; every other code is a plain `PeerError`."""

_MAX_TEXT_CHARS = 500


def error_of_ack(header: FrameHeader, text: str, what: str) -> LabwireError:
    """Return a bad ACK as an error.

    Args:
        header: The header of the ACK.
        text: Its error text; what is beyond 500 characters is left out.
        what: Who did not do what, for the message: ``"10.0.0.5:41234 refuses START of run 7"``.
    """
    code = ack_code_name(header.ack_code)
    words = printable(text)
    error_type = ERROR_OF_ACK_CODE.get(header.ack_code, PeerError)
    return error_type(f"{what}: {code}" + (f": {words}" if words else ""), ack_code=header.ack_code, text=words)
