"""The 64-byte header: recorded bytes, the spec's tables, and what is refused."""

from __future__ import annotations

import ctypes
import errno
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labwire.errors import (
    ERROR_CODES,
    DeviceError,
    DiskLowError,
    InternalError,
    LabwireError,
    PeerError,
    ProtocolError,
    RefusedError,
    TooLargeError,
    UsageError,
)
from labwire.wire.tcp_frame import (
    ACK_CODE_NAMES,
    HEADER,
    HEADER_BYTES,
    MAX_SENT_TEXT_BYTES,
    MAX_UINT32,
    MAX_UINT64,
    AckCode,
    AckFlags,
    FrameHeader,
    FrameType,
    ack_code_name,
    ack_code_of,
    decode_header,
    decode_text,
    encode_header,
    encode_text,
    error_of_ack,
    frame_name,
    printable,
)

MAX_UINT16 = (1 << 16) - 1
VECTORS: list[dict[str, Any]] = [
    json.loads(line) for line in (Path(__file__).parents[1] / "vectors" / "tcp_frame.jsonl").read_text().splitlines()
]


def name_of(vector: dict[str, Any]) -> str:
    return vector["name"]


@pytest.mark.parametrize("vector", VECTORS, ids=name_of)
def test_recorded_headers(vector: dict[str, Any]) -> None:
    data, header = bytes.fromhex(vector["header"]), FrameHeader(**vector["fields"])
    assert decode_header(data) == header
    assert encode_header(header) == data


class TcpFrameHeader(ctypes.LittleEndianStructure):
    """The spec's table, as a C compiler lays it out: no padding is needed."""

    _fields_ = [
        ("magic", ctypes.c_uint32),
        ("version", ctypes.c_uint16),
        ("type", ctypes.c_uint16),
        ("image_number", ctypes.c_uint64),
        ("payload_size", ctypes.c_uint64),
        ("socket_number", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("run_number", ctypes.c_uint64),
        ("ack_processed_images", ctypes.c_uint32),
        ("ack_code", ctypes.c_uint16),
        ("ack_for", ctypes.c_uint16),
        ("reserved", ctypes.c_uint64 * 2),
    ]


headers = st.builds(
    FrameHeader,
    type=st.integers(0, MAX_UINT16),
    image_number=st.integers(0, MAX_UINT64),
    payload_size=st.integers(0, MAX_UINT64),
    socket_number=st.integers(0, MAX_UINT32),
    flags=st.integers(0, MAX_UINT32),
    run_number=st.integers(0, MAX_UINT64),
    ack_processed_images=st.integers(0, MAX_UINT32),
    ack_code=st.integers(0, MAX_UINT16),
    ack_for=st.integers(0, MAX_UINT16),
)


@given(headers)
def test_every_field_stands_where_the_struct_of_the_spec_has_it(header: FrameHeader) -> None:
    data = encode_header(header)
    assert len(data) == HEADER_BYTES == ctypes.sizeof(TcpFrameHeader) == HEADER.size
    struct = TcpFrameHeader.from_buffer_copy(data)
    assert (struct.magic, struct.version, list(struct.reserved)) == (0x4A464A54, 2, [0, 0])
    assert {field: getattr(struct, field) for field in header._fields} == header._asdict()
    assert decode_header(b"xyz" + data, 3) == header


def test_the_tables_of_the_spec() -> None:
    assert [kind.name for kind in FrameType] == ["START", "DATA", "CALIBRATION", "END", "ACK", "CANCEL", "KEEPALIVE"]
    assert [kind.value for kind in FrameType] == [1, 2, 3, 4, 5, 6, 7]
    assert (AckFlags.NONE, AckFlags.OK, AckFlags.FATAL, AckFlags.HAS_ERROR_TEXT) == (0, 1, 2, 4)
    names = "None StartFailed DataWriteFailed EndFailed DiskQuotaExceeded NoSpaceLeft PermissionDenied IoError"
    assert [ACK_CODE_NAMES[code] for code in range(9)] == [*names.split(), "ProtocolError"]
    assert set(ACK_CODE_NAMES) == set(AckCode)


GOOD = encode_header(FrameHeader(FrameType.KEEPALIVE))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "a header has 64 bytes, and here are 0"),
        (GOOD[:63], "a header has 64 bytes, and here are 63"),
        (b"GET / HTTP/1.1\r\n".ljust(64), r"it begins with b'GET / HT' instead of b'TJFJ'"),
        (GOOD[3::-1] + GOOD[4:], "it begins with b'JFJT"),
        (bytes(64), "it begins with"),
        (
            GOOD[:4] + b"\x01\x00" + GOOD[6:],
            "the peer speaks version 1 of the TCP image stream, and this side version 2",
        ),
        (GOOD[:4] + b"\x03\x00" + GOOD[6:], "version 3"),
    ],
)
def test_what_is_no_header_is_a_protocol_error(data: bytes, text: str) -> None:
    with pytest.raises(ProtocolError, match=text):
        decode_header(data)


@given(st.binary(max_size=200), st.integers(0, 100))
@example(GOOD, 1)
def test_bytes_are_a_header_or_a_protocol_error(data: bytes, offset: int) -> None:
    try:
        header = decode_header(data, offset)
    except ProtocolError:
        return
    assert encode_header(header)[:48] == data[offset : offset + 48]


def test_an_unknown_type_and_a_used_reserved_field_are_no_error() -> None:
    data = encode_header(FrameHeader(8))[:48] + b"\xff" * 16
    assert decode_header(data) == FrameHeader(8)
    assert frame_name(8) == "frame type 8"
    assert frame_name(0) == "frame type 0"
    assert frame_name(2) == "DATA"
    assert ack_code_name(9) == "code 9"


@pytest.mark.parametrize(
    "header",
    [
        FrameHeader(FrameType.DATA, image_number=-1),
        FrameHeader(FrameType.DATA, image_number=1 << 64),
        FrameHeader(FrameType.DATA, socket_number=1 << 32),
        FrameHeader(FrameType.DATA, run_number=1.5),  # pyright: ignore[reportArgumentType]
        FrameHeader(1 << 16),
    ],
)
def test_a_number_that_does_not_fit_is_a_usage_error(header: FrameHeader) -> None:
    with pytest.raises(UsageError, match="does not fit into its field"):
        encode_header(header)


@given(st.text(max_size=50))
def test_texts_survive(text: str) -> None:
    header = FrameHeader(FrameType.ACK, flags=AckFlags.HAS_ERROR_TEXT)
    assert decode_text(header, encode_text(text)) == text.encode("utf-8", "replace").decode()
    assert decode_text(header._replace(flags=AckFlags.FATAL), encode_text(text)) == ""


def test_a_long_text_is_cut_between_characters() -> None:
    for start in ("", "a", "ab", "abc"):
        data = encode_text(start + "€" * MAX_SENT_TEXT_BYTES)
        assert MAX_SENT_TEXT_BYTES - 3 < len(data) <= MAX_SENT_TEXT_BYTES
        assert set(data.decode()) <= set("abc€")


@given(st.binary(max_size=100))
def test_any_bytes_are_a_text(data: bytes) -> None:
    assert isinstance(decode_text(FrameHeader(5, flags=AckFlags.HAS_ERROR_TEXT), data), str)


def wrapped(error: BaseException) -> BaseException:
    try:
        try:
            raise error
        except BaseException as inner:
            raise RuntimeError("a library's own words") from inner
    except RuntimeError as outer:
        return outer


@pytest.mark.parametrize(
    ("error", "frame", "code"),
    [
        (OSError(errno.ENOSPC, "full"), FrameType.DATA, AckCode.NO_SPACE_LEFT),
        (OSError(errno.EDQUOT, "quota"), FrameType.DATA, AckCode.DISK_QUOTA_EXCEEDED),
        (OSError(errno.EACCES, "no"), FrameType.START, AckCode.PERMISSION_DENIED),
        (OSError(errno.EPERM, "no"), FrameType.START, AckCode.PERMISSION_DENIED),
        (OSError(errno.EROFS, "read-only"), FrameType.END, AckCode.PERMISSION_DENIED),
        (OSError(errno.EIO, "broken"), FrameType.DATA, AckCode.IO_ERROR),
        (OSError("no errno"), FrameType.DATA, AckCode.DATA_WRITE_FAILED),
        (ValueError("x"), FrameType.START, AckCode.START_FAILED),
        (ValueError("x"), FrameType.DATA, AckCode.DATA_WRITE_FAILED),
        (ValueError("x"), FrameType.END, AckCode.END_FAILED),
        (ProtocolError("x"), FrameType.DATA, AckCode.PROTOCOL_ERROR),
        (TooLargeError("x"), FrameType.START, AckCode.PROTOCOL_ERROR),
        (DiskLowError("x"), FrameType.START, AckCode.NO_SPACE_LEFT),
        (RefusedError("x"), FrameType.START, AckCode.PERMISSION_DENIED),
        (DeviceError("x"), FrameType.DATA, AckCode.IO_ERROR),
        (InternalError("x"), FrameType.END, AckCode.END_FAILED),
        (wrapped(OSError(errno.ENOSPC, "full")), FrameType.DATA, AckCode.NO_SPACE_LEFT),
        (wrapped(wrapped(DiskLowError("x"))), FrameType.DATA, AckCode.NO_SPACE_LEFT),
        (ValueError("x"), FrameType.CANCEL, AckCode.PROTOCOL_ERROR),
    ],
)
def test_each_error_has_its_code(error: BaseException, frame: FrameType, code: AckCode) -> None:
    assert ack_code_of(error, frame) is code


@pytest.mark.parametrize(
    ("code", "error_type", "name"),
    [
        (1, PeerError, "StartFailed"),
        (2, PeerError, "DataWriteFailed"),
        (4, DiskLowError, "DiskQuotaExceeded"),
        (5, DiskLowError, "NoSpaceLeft"),
        (6, RefusedError, "PermissionDenied"),
        (7, DeviceError, "IoError"),
        (8, ProtocolError, "ProtocolError"),
        (99, PeerError, "code 99"),
    ],
)
def test_each_code_is_an_error_again(code: int, error_type: type[LabwireError], name: str) -> None:
    error = error_of_ack(
        FrameHeader(FrameType.ACK, ack_code=code), "what\n went  wrong" + "!" * 9999, "10.0.0.5 did not"
    )
    assert type(error) is error_type
    assert str(error).startswith(f"10.0.0.5 did not: {name}: what went wrong!")
    assert len(str(error)) < 600
    assert error.data["ack_code"] == code
    assert str(error_of_ack(FrameHeader(FrameType.ACK, ack_code=code), "", "x")) == f"x: {name}"


def test_what_a_peer_writes_cannot_play_with_a_terminal() -> None:
    assert printable("\x1b[31mred\x00\r\n\tand  \u202eevil") == "�[31mred� and �evil"
    assert printable("Schön, 日本") == "Schön, 日本"
    assert len(printable("x" * 9999)) == 500


def test_the_table_of_errors_has_only_codes_of_the_spec() -> None:
    assert {codes.ack_code for codes in ERROR_CODES.values()} <= set(AckCode)
