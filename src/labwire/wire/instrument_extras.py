"""What labwire's server and its own workers add to the instrument protocol; a foreign peer never meets any of it.

The spec lists these as future: large data beside the queue, compression, priorities, batches, continuous acquisition.
The server tells a worker that it starts itself which `Feature` it may use. Everything still travels in the spec's
messages: a *control verb* begins with ``@``, which no driver's verb can.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from enum import Enum

import msgspec

from labwire.errors import ProtocolError, TooLargeError
from labwire.wire.instrument_message import (
    Command,
    CommandResponse,
    decode_command,
    decode_response,
    encode_payload,
)


class Feature(Enum):
    """What a worker may use towards its server, and the server towards it."""

    CONTROL = "control"
    """Control verbs, and blocks of a continuous acquisition."""
    WAVEFORMS = "waveforms"
    """Arrays in shared memory."""
    COMPRESSION = "compression"
    """Payloads that would not fit are compressed."""
    BATCHES = "batches"
    """Several commands in one COMMAND, several responses in one RESPONSE."""


# Control verbs. Each is a COMMAND; those marked (answered) get a RESPONSE, the others none.
NOOP = "@noop"
"""Do nothing (answered): the time of a round trip."""
DESCRIBE = "@describe"
"""Tell the driver's API (answered): return_value is an InstrumentApi."""
BARRIER = "@barrier"
"""Say that this command has been reached (answered), then wait for `RELEASE` with the same params.token, at most
timeout_ms."""
RELEASE = "@release"
"""Go on from the barrier params.token. Never waits behind other commands."""
CREDIT = "@credit"
"""The consumer of the acquisition params.id has room for params.blocks more. Never waits behind other commands."""
CANCEL = "@cancel"
"""End the acquisition params.id after the block that is being made. Never waits behind other commands."""

URGENT = frozenset({RELEASE, CREDIT, CANCEL})
"""Control verbs that a worker looks for while a command runs."""

MAX_EXPANDED_BYTES = 1 << 20
"""Largest payload that a compressed one may expand to."""

_COMPRESSED = b"\0z"  # no JSON begins with NUL
_LEVEL = 1


class WaveformHandle(msgspec.Struct, frozen=True):
    """Where an array is: a file in shared memory that the receiver maps and unlinks at once."""

    file: str
    """Its name, without a folder."""
    dtype: str
    """As numpy writes it, little-endian: ``<f4``."""
    shape: tuple[int, ...]


def pack_payload(payload: bytes, limit_bytes: int, *, compress: bool) -> bytes:
    """Return a payload that fits, compressed if it must be and may be.

    Raises:
        TooLargeError: It does not fit.
    """
    if len(payload) <= limit_bytes:
        return payload
    note = ""
    if compress and len(payload) <= MAX_EXPANDED_BYTES:
        packed = _COMPRESSED + zlib.compress(payload, _LEVEL)
        if len(packed) <= limit_bytes:
            return packed
        note = f", {len(packed)} bytes when compressed"
    raise TooLargeError(
        f"a payload of {len(payload)} bytes does not fit into a message: the limit is {limit_bytes} bytes{note}",
        size_bytes=len(payload),
        limit_bytes=limit_bytes,
    )


def unpack_payload(payload: bytes) -> bytes:
    """Return a payload as it was before `pack_payload`.

    Raises:
        ProtocolError: It is not compressed data, or would expand to more than `MAX_EXPANDED_BYTES`.
    """
    if not payload.startswith(_COMPRESSED):
        return payload
    expander = zlib.decompressobj()
    try:
        expanded = expander.decompress(payload[len(_COMPRESSED) :], MAX_EXPANDED_BYTES)
    except zlib.error as error:
        raise ProtocolError(f"a compressed payload is damaged: {error}") from error
    if expander.unconsumed_tail or not expander.eof:
        raise ProtocolError(f"a compressed payload is cut, or expands to more than {MAX_EXPANDED_BYTES} bytes")
    return expanded


def encode_batch(payloads: Sequence[bytes]) -> bytes:
    """Join encoded payloads to one: a JSON array."""
    return b"[" + b",".join(payloads) + b"]"


def decode_commands(payload: bytes) -> list[Command]:
    """Decode a COMMAND's payload that may be a batch.

    Raises:
        ProtocolError: It is neither a command nor an array of commands.
    """
    if not payload.startswith(b"["):
        return [decode_command(payload)]
    try:
        return _command_batches.decode(payload)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"not a batch of commands: {error}") from error


def decode_responses(payload: bytes) -> list[CommandResponse]:
    """Decode a RESPONSE's payload that may be a batch.

    Raises:
        ProtocolError: It is neither a response nor an array of responses.
    """
    if not payload.startswith(b"["):
        return [decode_response(payload)]
    try:
        return _response_batches.decode(payload)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"not a batch of responses: {error}") from error


def control_command(verb: str, **params: object) -> bytes:
    """Encode the payload of a control command that is not answered."""
    return encode_payload(Command(verb=verb, expects_response=False, params=params))


_command_batches = msgspec.json.Decoder(list[Command])
_response_batches = msgspec.json.Decoder(list[CommandResponse])
