"""Messages of the RPC port: twelve bytes of head, then the parts that the kind asks for.

The head is ``LW1``, one letter for the kind, and the request's number as eight bytes little-endian. Many requests can
be in flight on one connection; each side numbers its own.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import Enum
from typing import Any, NamedTuple

import msgspec

from labwire.errors import ERROR_CODES, LabwireError, ProtocolError, error_from_name

_HEAD = struct.Struct("<3scQ")
_MAGIC = b"LW1"
MAX_ERROR_CHARS = 4000


class Kind(Enum):
    """What a message is; who sends it is told in brackets."""

    CALL = b"C"
    """(client, broker) target actor or empty, operation, request."""
    CANCEL = b"X"
    """(client, broker) no parts."""
    GONE = b"G"
    """(broker) no parts: who sent this request is not there any more."""
    OK = b"O"
    """(actor, broker) reply."""
    ERROR = b"E"
    """(actor, broker) `ErrorReport`."""
    PROGRESS = b"P"
    """(actor, broker) progress report."""
    HELLO = b"H"
    """(actor, every second) `Hello`: it is ready and offers these services."""
    BYE = b"B"
    """(actor) no parts: it ends on purpose."""


_PARTS_OF = {
    Kind.CALL: 3,
    Kind.CANCEL: 0,
    Kind.GONE: 0,
    Kind.OK: 1,
    Kind.ERROR: 1,
    Kind.PROGRESS: 1,
    Kind.HELLO: 1,
    Kind.BYE: 0,
}


class RpcMessage(NamedTuple):
    """One message: kind, number of the request, parts."""

    kind: Kind
    number: int
    parts: Sequence[bytes] = ()


class Hello(msgspec.Struct, frozen=True):
    """An actor introduces itself."""

    actor: str
    actor_class: str
    services: list[str]
    reacts_to: list[str] = []
    """Subjects of the notifications it acts on, as prefixes."""
    pid: int = 0
    host: str = ""


class ErrorReport(msgspec.Struct, frozen=True):
    """An error on its way to the caller."""

    error: str
    """Class name of the error in `labwire.errors`."""
    message: str
    data: dict[str, Any] = {}


def encode_rpc(message: RpcMessage) -> list[bytes]:
    """Encode a message into its parts."""
    return [_HEAD.pack(_MAGIC, message.kind.value, message.number), *message.parts]


def decode_rpc(parts: Sequence[bytes]) -> RpcMessage:
    """Decode a message.

    Raises:
        ProtocolError: Wrong magic, unknown kind, or a wrong number of parts.
    """
    if not parts or len(parts[0]) != _HEAD.size:
        raise ProtocolError(f"an RPC message begins with {_HEAD.size} bytes of head")
    magic, letter, number = _HEAD.unpack(parts[0])
    if magic != _MAGIC:
        raise ProtocolError(f"an RPC message begins with {_MAGIC!r}, not {magic!r}")
    try:
        kind = Kind(letter)
    except ValueError as error:
        raise ProtocolError(f"unknown kind of RPC message {letter!r}") from error
    if len(parts) - 1 != _PARTS_OF[kind]:
        raise ProtocolError(f"{kind.name} has {_PARTS_OF[kind]} parts after the head, not {len(parts) - 1}")
    return RpcMessage(kind, number, parts[1:])


def report_error(error: LabwireError) -> bytes:
    """Encode an error for the wire; data that has no MessagePack form is left out.

    An error of somebody's own travels as the nearest one that `labwire.errors` has.
    """
    name = next(base.__name__ for base in type(error).__mro__ if base in ERROR_CODES)
    message = error.message[:MAX_ERROR_CHARS].encode("utf-8", "backslashreplace").decode()
    try:
        return msgspec.msgpack.encode(ErrorReport(name, message, error.data))
    except (TypeError, OverflowError, ValueError, RecursionError):
        return msgspec.msgpack.encode(ErrorReport(name, message))


def read_error(part: bytes) -> LabwireError:
    """Rebuild an error from the wire; garbage gives a `ProtocolError`."""
    try:
        report = msgspec.msgpack.decode(part, type=ErrorReport)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        return ProtocolError(f"the peer reported an error that cannot be read: {error}")
    return error_from_name(report.error, report.message, report.data)
