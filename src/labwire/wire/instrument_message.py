"""The fixed-size message between an instrument server and its workers, and its JSON payloads.

Source: instrument-ipc, "Message Structure" and "Message Types". The spec's struct is packed, little-endian, 8208 bytes.
Other systems lay the same fields out differently or give the types other numbers; each such layout is a `Profile`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple, TypeVar

import msgspec

from labwire.errors import ProtocolError, TooLargeError, UsageError

DEFAULT_TIMEOUT_MS = 5000
FATAL_CODE = -1
_SHOWN_BYTES = 60


class MessageType(Enum):
    """What a message is; its number on the wire depends on the profile."""

    COMMAND = "COMMAND"
    RESPONSE = "RESPONSE"
    SHUTDOWN = "SHUTDOWN"
    HEARTBEAT = "HEARTBEAT"
    ERROR = "ERROR"
    SYNC_ACK = "SYNC_ACK"
    """Only in profile ``iss``: a worker has reached a barrier."""
    SYNC_CONTINUE = "SYNC_CONTINUE"
    """Only in profile ``iss``: go on from a barrier."""


class Message(NamedTuple):
    """One message: header and payload, without padding."""

    type: MessageType
    id: int = 0
    """Unsigned, 64 bits; a RESPONSE carries the id of its COMMAND."""
    payload: bytes = b""
    """JSON, or nothing."""
    sync_token: int = 0
    """Only in profile ``iss``."""


class Profile(NamedTuple):
    """A layout of the message."""

    name: str
    header: struct.Struct
    """Type, id, (sync token,) payload size."""
    payload_bytes: int
    """Room for the payload."""
    size_bytes: int
    """The whole message, padding included."""
    numbers: Mapping[MessageType, int]
    types: Mapping[int, MessageType]
    has_sync_token: bool = False

    @property
    def header_bytes(self) -> int:
        """Where the payload begins."""
        return self.header.size


def _profile(name: str, header: str, payload_bytes: int, size_bytes: int, types: str) -> Profile:
    numbers = {MessageType(word): number for number, word in enumerate(types.split(), 1)}
    by_number = {number: kind for kind, number in numbers.items()}
    return Profile(name, struct.Struct(header), payload_bytes, size_bytes, numbers, by_number, header.count("Q") > 1)


_SPEC_TYPES = "COMMAND RESPONSE SHUTDOWN HEARTBEAT ERROR"

SPEC = _profile("spec", "<IQI", 8192, 8208, _SPEC_TYPES)
"""The spec's own: packed."""
NATIVE = _profile("native", "<I4xQI", 8192, 8216, _SPEC_TYPES)
"""The spec's struct as a C++ compiler for 64 bits lays it out."""
ISS = _profile("iss", "<I4xQQI", 4096, 4128, "COMMAND RESPONSE HEARTBEAT SHUTDOWN SYNC_ACK SYNC_CONTINUE")
"""What the C++ instrument-script-server uses today: another size, other numbers, no ERROR."""

PROFILES: Mapping[str, Profile] = {profile.name: profile for profile in (SPEC, NATIVE, ISS)}


def encode_message(message: Message, profile: Profile = SPEC) -> bytes:
    """Encode header and payload, without the padding; `pad` adds it where a transport needs the whole size.

    Raises:
        TooLargeError: The payload does not fit; nothing is ever cut.
        UsageError: The profile has no such type, or the id is no unsigned 64-bit number.
    """
    size = len(message.payload)
    if size > profile.payload_bytes:
        raise TooLargeError(
            f"a payload of {size} bytes does not fit into a {message.type.value} message: "
            f"the limit of profile {profile.name!r} is {profile.payload_bytes} bytes",
            size_bytes=size,
            limit_bytes=profile.payload_bytes,
        )
    number = profile.numbers.get(message.type)
    if number is None:
        raise UsageError(f"profile {profile.name!r} has no {message.type.value} messages")
    try:
        if profile.has_sync_token:
            return profile.header.pack(number, message.id, message.sync_token, size) + message.payload
        return profile.header.pack(number, message.id, size) + message.payload
    except struct.error as error:
        raise UsageError(f"a message id is a whole number from 0 to 2**64 - 1, not {message.id!r}: {error}") from error


def pad(data: bytes, profile: Profile = SPEC) -> bytes:
    """Return an encoded message at its fixed size."""
    return data.ljust(profile.size_bytes, b"\0")


def decode_message(data: bytes | bytearray | memoryview, profile: Profile = SPEC) -> Message:
    """Decode a message, padded or not.

    A COMMAND, RESPONSE or ERROR with payload size 0 whose payload is not empty is taken to hold NUL-ended text, as the
    spec's own snippet writes it ("Error Handling", "Invalid Message").

    Raises:
        ProtocolError: It is too short, too long, of unknown type, or its payload size exceeds what is there.
    """
    length, start = len(data), profile.header.size
    if not start <= length <= profile.size_bytes:
        raise ProtocolError(
            f"a message of profile {profile.name!r} has {start} to {profile.size_bytes} bytes, this one {length}"
        )
    fields = profile.header.unpack_from(data)
    kind, size = profile.types.get(fields[0]), fields[-1]
    if kind is None:
        raise ProtocolError(f"message type {fields[0]} is not known to profile {profile.name!r}")
    if size > profile.payload_bytes or start + size > length:
        raise ProtocolError(f"a {kind.value} of {length} bytes says that its payload has {size} bytes")
    payload = bytes(data[start : start + size])
    if size == 0 and kind not in _EMPTY and length > start and data[start]:
        payload = bytes(data[start : start + profile.payload_bytes]).partition(b"\0")[0]
    return Message(kind, fields[1], payload, fields[2] if profile.has_sync_token else 0)


_EMPTY = frozenset({MessageType.HEARTBEAT, MessageType.SHUTDOWN, MessageType.SYNC_ACK, MessageType.SYNC_CONTINUE})


# --- payloads


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """Payload of a COMMAND: the spec's SerializedCommand, key by key, in the spec's order."""

    id: str = ""
    """``<instrument>-<counter>``; the counter is the id in the header."""
    instrument_name: str = ""
    verb: str
    timeout_ms: int = DEFAULT_TIMEOUT_MS
    priority: int = 0
    """Higher goes first among the commands that wait; equal ones keep their order."""
    expects_response: bool = True
    return_type: str = ""
    params: dict[str, Any] = {}


class CommandResponse(msgspec.Struct, frozen=True, kw_only=True):
    """Payload of a RESPONSE: the spec's keys, then what labwire's own workers add, absent unless used."""

    command_id: str
    instrument_name: str = ""
    success: bool
    error_code: int = 0
    """Non-zero on failure."""
    error_message: str = ""
    text_response: str = ""
    """What the instrument said, as text."""
    return_value: Any = None
    waveform: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    """See `labwire.wire.instrument_extras.WaveformHandle`."""
    block: int | msgspec.UnsetType = msgspec.UNSET
    """Number of this block of a continuous acquisition, from 0; the last response of one has none."""
    return_type: str | msgspec.UnsetType = msgspec.UNSET
    """Only in profile ``iss``, whose server needs it: ``double``, ``int64``, ``string``, ``bool``, ``array`` or ""."""


class WorkerError(msgspec.Struct, frozen=True):
    """Payload of an ERROR."""

    error_message: str = ""
    error_code: int = FATAL_CODE
    fatal: bool = False
    """True: the worker is about to end. False: only the command that the header's id names has failed."""


_P = TypeVar("_P", bound=msgspec.Struct)


def encode_payload(payload: msgspec.Struct) -> bytes:
    """Encode a payload as JSON.

    Raises:
        UsageError: It holds something that JSON has no form for.
    """
    try:
        return _encoder.encode(payload)
    except (TypeError, ValueError, OverflowError, RecursionError, NotImplementedError) as error:
        raise UsageError(f"cannot be written as JSON: {error}") from error


def decode_command(payload: bytes) -> Command:
    """Decode the payload of a COMMAND.

    Raises:
        ProtocolError: It is not one.
    """
    return _decode(payload, _commands, "COMMAND")


def decode_response(payload: bytes) -> CommandResponse:
    """Decode the payload of a RESPONSE.

    Raises:
        ProtocolError: It is not one.
    """
    return _decode(payload, _responses, "RESPONSE")


def decode_error(payload: bytes) -> WorkerError:
    """Decode the payload of an ERROR; one that is no JSON is taken as the message itself."""
    try:
        return _errors.decode(payload)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return WorkerError(payload.decode("utf-8", "replace"))


def counter_of(command_id: str) -> int | None:
    """Return the counter of an id ``<name>-<counter>``, None if it has no such form.

    >>> counter_of("DMM1-1234567890")
    1234567890
    """
    _, dash, counter = command_id.rpartition("-")
    return int(counter) if dash and counter.isascii() and counter.isdigit() and len(counter) <= _MAX_DIGITS else None


_MAX_DIGITS = 19
_encoder = msgspec.json.Encoder()
_commands = msgspec.json.Decoder(Command)
_responses = msgspec.json.Decoder(CommandResponse)
_errors = msgspec.json.Decoder(WorkerError)


def _decode(payload: bytes, decoder: msgspec.json.Decoder[_P], what: str) -> _P:
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"not the payload of a {what} ({error}): {payload[:_SHOWN_BYTES]!r}") from error
