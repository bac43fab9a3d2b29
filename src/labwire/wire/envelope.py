"""The JSON envelope of the file backend: one typed object, one line.

Source: file-ipc, "JSON Envelope Structure". The keys stand in the spec's order: type, timestamp, payload.
"""

from __future__ import annotations

import base64
import binascii
import math
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, cast, get_args

import msgspec

from labwire.errors import ProtocolError, TooLargeError, UsageError

EnvelopeType: TypeAlias = Literal["core_metrics", "edge_metrics", "status", "frame"]
TYPES: tuple[EnvelopeType, ...] = get_args(EnvelopeType)

MAX_LINE_BYTES = 16 << 20
"""Longest line that is written or read: a 4K JPEG at quality 100 in base64 fits."""

MAX_TIMESTAMP_US = (1 << 63) - 1
Timestamp: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=MAX_TIMESTAMP_US)]

_SHOWN_BYTES = 60


class Envelope(msgspec.Struct, frozen=True):
    """One line of a ``.jsonl`` file.

    >>> encode_envelope(Envelope("status", 1234567890123458, {"code": 0, "message": "OK"})).decode().rstrip()
    '{"type":"status","timestamp":1234567890123458,"payload":{"code":0,"message":"OK"}}'
    """

    type: EnvelopeType
    timestamp: Timestamp
    """Microseconds since 1970-01-01 UTC."""
    payload: dict[str, Any]


class StatusPayload(msgspec.Struct, frozen=True):
    """Payload of a ``status`` envelope."""

    code: int
    """0 means all is well."""
    message: str


class FramePayload(msgspec.Struct, frozen=True):
    """Payload of a ``frame`` envelope."""

    data: str
    """The JPEG file in base64."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    format: str = "jpeg"


def encode_envelope(envelope: Envelope) -> bytes:
    """Encode an envelope to one line, with its newline.

    Raises:
        UsageError: The type or timestamp is not one that the format knows, or a value of the payload has no JSON form;
            NaN and infinity have none.
        TooLargeError: The line is above `MAX_LINE_BYTES`.
    """
    if envelope.type not in TYPES:
        raise UsageError(f"{envelope.type!r} is not an envelope type: use one of {', '.join(TYPES)}")
    if type(envelope.timestamp) is not int or not 0 <= envelope.timestamp <= MAX_TIMESTAMP_US:
        raise UsageError(f"a timestamp is a whole number of microseconds since 1970, not {envelope.timestamp!r}")
    try:
        line = _encoder.encode(envelope)
        if b"null" in line:  # perhaps a number that is not finite: the encoder writes null for it
            _refuse_not_finite(msgspec.to_builtins(envelope.payload, enc_hook=_plain_number, str_keys=True), "payload")
    except (TypeError, ValueError, NotImplementedError, OverflowError, RecursionError) as error:
        raise UsageError(f"{envelope.type} payload cannot be written as JSON: {error}") from error
    if len(line) >= MAX_LINE_BYTES:
        raise TooLargeError(f"a line of {len(line)} bytes is above the limit of {MAX_LINE_BYTES} bytes")
    return line + b"\n"


def decode_envelope(line: bytes | bytearray | memoryview) -> Envelope:
    """Decode one line, with or without its newline; keys that the format does not know are ignored.

    Raises:
        ProtocolError: It is not one envelope.
        TooLargeError: It is above `MAX_LINE_BYTES`.
    """
    if len(line) > MAX_LINE_BYTES:
        raise TooLargeError(f"a line of {len(line)} bytes is above the limit of {MAX_LINE_BYTES} bytes")
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"not an envelope ({error}): {_show(line)}") from error


def status_envelope(code: int, message: str, timestamp_us: int) -> Envelope:
    """Make a ``status`` envelope."""
    return Envelope("status", timestamp_us, {"code": code, "message": message})


def frame_envelope(jpeg: bytes | memoryview, width: int, height: int, timestamp_us: int) -> Envelope:
    """Make a ``frame`` envelope, which carries a JPEG file in base64."""
    data = base64.b64encode(jpeg).decode()
    return Envelope("frame", timestamp_us, {"data": data, "width": width, "height": height, "format": "jpeg"})


def read_status(envelope: Envelope) -> StatusPayload:
    """Return the typed payload of a ``status`` envelope.

    Raises:
        ProtocolError: The payload is not a status.
    """
    return _convert(envelope, "status", StatusPayload)


def read_frame(envelope: Envelope) -> tuple[FramePayload, bytes]:
    """Return the typed payload of a ``frame`` envelope and the JPEG file that it carries.

    Raises:
        ProtocolError: The payload is not a frame, or its data is not base64.
    """
    frame = _convert(envelope, "frame", FramePayload)
    try:
        return frame, base64.b64decode(frame.data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProtocolError(f"the data of a frame is not base64: {error}") from error


_P = TypeVar("_P", StatusPayload, FramePayload)


def _convert(envelope: Envelope, expected: EnvelopeType, payload_type: type[_P]) -> _P:
    if envelope.type != expected:
        raise ProtocolError(f"a {envelope.type} envelope where a {expected} was expected")
    try:
        return msgspec.convert(envelope.payload, payload_type)
    except msgspec.ValidationError as error:
        raise ProtocolError(f"not the payload of a {expected} envelope: {error}") from error


def _plain_number(value: object) -> object:
    # numpy scalars, which algorithms return where a float is expected.
    item = getattr(value, "item", None)
    if callable(item):
        return item()
    raise NotImplementedError


def _refuse_not_finite(value: Any, where: str) -> None:
    # A reader could not tell null from "not measured".
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where} is {value}, and JSON has finite numbers only")
    elif isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            _refuse_not_finite(inner, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(cast("list[Any]", value)):
            _refuse_not_finite(inner, f"{where}[{index}]")


def _show(line: bytes | bytearray | memoryview) -> str:
    head = bytes(line[:_SHOWN_BYTES])
    return f"{head!r}{'…' if len(line) > _SHOWN_BYTES else ''} ({len(line)} bytes)"


_encoder = msgspec.json.Encoder(enc_hook=_plain_number)
_decoder = msgspec.json.Decoder(Envelope)
