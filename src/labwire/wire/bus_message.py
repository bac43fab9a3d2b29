"""Messages of the bus: a topic, a MessagePack map, and raw parts behind it.

Source: ipc-backbone, "Message Format". Part 1 is the topic (UTF-8, no terminator), part 2 one MessagePack map, parts 3
and up are raw bytes. For people who come from Pupil, `labwire.zmq_tools` keeps the raw parts under ``__raw_data__`` in
the payload; that key is never on the wire.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

import msgspec

from labwire.errors import ProtocolError, UsageError
from labwire.names import DELAYED, NOTIFY

Part: TypeAlias = bytes | bytearray | memoryview
Payload: TypeAlias = dict[str, Any]

_SHOWN_BYTES = 40
_SHOWN_DEPTH = 10
# What msgspec and `_encode_other` raise on a value that has no form.
_NOT_ENCODED = (TypeError, NotImplementedError, OverflowError, ValueError, RecursionError)


class BusMessage(NamedTuple):
    """One decoded message."""

    topic: str
    payload: Payload
    """The MessagePack map. Keys are usually str; foreign senders may use integers."""
    raw: tuple[bytes, ...] = ()
    """Raw parts after the payload, byte for byte."""


class Header(msgspec.Struct, frozen=True):
    """The payload keys that the bus itself looks at; the rest of a payload is skipped unread."""

    subject: str | None = None
    timestamp: float | None = None
    seq: int | None = None
    emitter: str | None = None


def _encode_other(value: object) -> object:
    # numpy scalars and subclasses of float, int, str: real senders have them in gaze data (facts: numpy.float64).
    item = getattr(value, "item", None)
    if callable(item):
        return item()
    for plain in (float, int, str, bytes):
        if isinstance(value, plain):
            return cast("type[Any]", plain)(value)
    if isinstance(value, Mapping):
        return dict(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    raise TypeError(f"a value of type {type(value).__name__} has no MessagePack form")


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_other)
_map_decoder = msgspec.msgpack.Decoder(dict[Any, Any])
_header_decoder = msgspec.msgpack.Decoder(Header)

# What msgspec and the UTF-8 codec raise on bytes that are not one well-formed MessagePack value.
_MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, ValueError, TypeError, RecursionError, OverflowError)


def encode_payload(payload: Mapping[str, Any] | msgspec.Struct, topic: str = "") -> bytes:
    """Encode a payload; the bytes equal those of the reference MessagePack encoder.

    Args:
        payload: A map of what MessagePack can hold.
        topic: Where it is to go, for the error.

    Raises:
        UsageError: A value has no MessagePack form, or an integer does not fit 64 bits.
    """
    try:
        return _encoder.encode(payload)
    except _NOT_ENCODED as error:
        raise UsageError(
            f"payload{f' of {topic!r}' if topic else ''} cannot be sent: {_reason(payload, error)}"
        ) from error


def _reason(payload: object, error: Exception) -> str:
    path, value = _culprit(payload)
    where = f"{path}: " if path else ""
    if hasattr(value, "tolist"):
        advice = "send its .tolist(), or its bytes as a raw part"
        return f"{where}a value of type {type(value).__name__} has no MessagePack form: {advice}"
    return f"{where}{error}"


def _culprit(value: object, path: str = "", depth: int = _SHOWN_DEPTH) -> tuple[str, object]:
    """Return the innermost value that cannot be encoded, with the keys that lead to it: ``['eye'][2]``."""
    if isinstance(value, Mapping):
        items = list(cast("Mapping[object, object]", value).items())
    elif isinstance(value, (list, tuple)):
        items = list(enumerate(cast("Sequence[object]", value)))
    else:
        items = []
    for key, inner in items if depth else ():
        try:
            _encoder.encode(inner)
        except _NOT_ENCODED:
            return _culprit(inner, f"{path}[{key!r}]", depth - 1)
    return path, cast("object", value)


def decode_payload(part: Part) -> Payload:
    """Decode a payload part.

    Raises:
        ProtocolError: It is not exactly one MessagePack map.
    """
    try:
        return _map_decoder.decode(part)
    except _MALFORMED as error:
        raise ProtocolError(f"payload is not a MessagePack map ({error}): {_show(part)}") from error


def peek_header(part: Part) -> Header:
    """Read subject, timestamp, seq and emitter of a payload; keys of another type count as absent.

    The rest is skipped and not checked: it may still hold text that is not UTF-8.

    Raises:
        ProtocolError: It is not exactly one MessagePack map.
    """
    try:
        return _header_decoder.decode(part)
    except _MALFORMED:
        payload = decode_payload(part)
    subject, timestamp, seq = payload.get("subject"), payload.get("timestamp"), payload.get("seq")
    emitter = payload.get("emitter")
    return Header(
        subject if isinstance(subject, str) else None,
        float(timestamp) if isinstance(timestamp, (int, float)) and not isinstance(timestamp, bool) else None,
        seq if isinstance(seq, int) and not isinstance(seq, bool) else None,
        emitter if isinstance(emitter, str) else None,
    )


def encode_message(
    topic: str, payload: Mapping[str, Any] | msgspec.Struct, raw: Sequence[Part] = ()
) -> list[bytes | bytearray | memoryview]:
    """Encode a message into its parts; raw parts are passed through uncopied.

    Raises:
        UsageError: A value of the payload has no MessagePack form.
    """
    return [topic.encode(), encode_payload(payload), *raw]


def notification_topic(notification: Mapping[str, Any]) -> str:
    """Return the topic that a notification goes out under: ``notify.<subject>``.

    With a truthy ``delay`` (seconds) it is ``delayed_notify.<subject>``, with a truthy ``remote_notify`` (a group, or
    a peer) ``remote_notify.<subject>``, as the original dispatcher has it.

    Raises:
        UsageError: There is no ``subject``, or it is not text.
    """
    subject = notification.get("subject")
    if not isinstance(subject, str) or not subject:
        raise UsageError(f"a notification needs a 'subject': {dict(notification)!r:.200}")
    if notification.get("remote_notify"):
        return f"remote_notify.{subject}"
    return f"{DELAYED if notification.get('delay') else NOTIFY}{subject}"


def decode_message(parts: Sequence[bytes]) -> BusMessage:
    """Decode the parts of a message as they came off a socket.

    A message of one part is legal on the bus; its payload is empty.

    Raises:
        ProtocolError: No part at all, a topic that is not UTF-8, or a payload that is not a MessagePack map.
    """
    if not parts:
        raise ProtocolError("a message must have at least one part")
    payload = decode_payload(parts[1]) if len(parts) > 1 else {}
    return BusMessage(decode_topic(parts[0]), payload, tuple(parts[2:]))


def decode_topic(part: bytes) -> str:
    """Decode a topic part.

    Raises:
        ProtocolError: It is not UTF-8.
    """
    try:
        return part.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError(f"topic is not UTF-8: {_show(part)}") from error


def _show(part: Part) -> str:
    head = bytes(part[:_SHOWN_BYTES])
    return f"{head!r}{f'… ({len(part)} bytes)' if len(part) > _SHOWN_BYTES else ''}"
