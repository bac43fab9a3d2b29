"""Commands of the Remote: request parts in, one typed command out, and the texts of the replies.

Source: ipc-backbone, "Pupil Remote". Like the real Remote, ``R r T t v`` are known by their first character and
``C c SUB_PORT PUB_PORT`` only as a whole. Unlike it, every input gets an answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

TIME = b"t"
OK = "OK"
TIMESYNC = "Timesync successful."
UNKNOWN = "Unknown command."
NOTIFICATION_RECEIVED = "Notification received"
MESSAGE_FORWARDED = "Message forwarded."
CONFIRMATIONS = frozenset({NOTIFICATION_RECEIVED, MESSAGE_FORWARDED, "Notification recevied."})
"""What a Remote says when it took a message; the misspelt one is what Pupil Capture said from 0.8 to 1.9."""
NOT_FLOAT = "{!r} cannot be converted to float."
NOT_FINITE = "{!r} is not a finite number; the time stays as it was."
NOT_UTF8 = "Not understood: not UTF-8 text."
TOPIC_NOT_UTF8 = "Not forwarded: the topic is not UTF-8."
NOT_CONFIRMED = "Not confirmed: the bus did not take the message within {:g} s."

MAX_COMMAND_BYTES = 4096
"""No command is longer, and whoever answers all clients must not read a hundred megabytes to find that out."""

ReplyStyle: TypeAlias = Literal["spec", "pupil3"]
Question: TypeAlias = Literal["SUB_PORT", "PUB_PORT", "PUSH_PORT", "RPC_PORT", "time", "version"]


class Ask(NamedTuple):
    """A question that is answered at once."""

    what: Question


class SetTime(NamedTuple):
    """``T 1234.56``: let rig time count from `value` seconds from now on."""

    value: float


class Notify(NamedTuple):
    """``R r C c``: put this notification on the bus, reply ``OK``."""

    subject: str
    payload: dict[str, Any]


class Forward(NamedTuple):
    """Put these parts on the bus, byte for byte."""

    parts: Sequence[bytes]
    topic: str


class Refuse(NamedTuple):
    """Not understood; answer with `reply`."""

    reply: str


RemoteCommand: TypeAlias = Ask | SetTime | Notify | Forward | Refuse

_ASK: dict[bytes, Ask] = {
    TIME: Ask("time"),
    b"SUB_PORT": Ask("SUB_PORT"),
    b"PUB_PORT": Ask("PUB_PORT"),
    b"PUSH_PORT": Ask("PUSH_PORT"),
    b"RPC_PORT": Ask("RPC_PORT"),
    b"v": Ask("version"),
}


def parse_request(parts: Sequence[bytes]) -> RemoteCommand:
    """Understand one request; never raises, whatever the bytes are.

    Args:
        parts: The request's ZeroMQ parts, at least one.
    """
    if len(parts) > 1:
        try:
            return Forward(parts, parts[0].decode())
        except UnicodeDecodeError:
            return Refuse(TOPIC_NOT_UTF8)
    if len(parts[0]) > MAX_COMMAND_BYTES:
        return Refuse(UNKNOWN)
    if question := _ASK.get(parts[0]):
        return question
    try:
        text = parts[0].decode()
    except UnicodeDecodeError:
        return Refuse(NOT_UTF8)
    return _parse_text(text)


def _parse_text(text: str) -> RemoteCommand:
    match text[:1]:
        case "R":
            return Notify("recording.should_start", {"session_name": text[2:]})
        case "r":
            return Notify("recording.should_stop", {})
        case "T":
            return _parse_time(text[2:])
        case "t":
            return Ask("time")
        case "v":
            return Ask("version")
        case "C" if text == "C":
            return Notify("calibration.should_start", {})
        case "c" if text == "c":
            return Notify("calibration.should_stop", {})
        case _:
            return Refuse(UNKNOWN)


def _parse_time(text: str) -> SetTime | Refuse:
    try:
        value = float(text)
    except ValueError:
        return Refuse(NOT_FLOAT.format(text[:80]))
    return SetTime(value) if math.isfinite(value) else Refuse(NOT_FINITE.format(text[:80]))


def forwarded_reply(topic: str, style: ReplyStyle) -> str:
    """Return the confirmation for a forwarded message.

    ``spec`` says 'Notification received' for notifications, as the spec does, and the newer text for other topics;
    ``pupil3`` says the newer text for all, as Pupil Core has since 1.10.
    """
    return NOTIFICATION_RECEIVED if style == "spec" and topic.startswith("notify.") else MESSAGE_FORWARDED
