"""What happened while a session was recorded, as its log tells: who died, stood still or was lost, and when."""

from __future__ import annotations

from typing import Any

from labwire.errors import ProtocolError
from labwire.names import NOTIFY
from labwire.wire.bus_message import decode_payload

_MAX_TOLD = 200
_MAX_TEXT = 200

_WORDS = {
    "actor.died": "actor {actor} died: {reason}",
    "actor.silent": "actor {actor} had been silent for {silent_s} s",
    "actor.answers": "actor {actor} answered again",
    "instrument.died": "instrument {instrument} died: {why}",
    "instrument.restarted": "instrument {instrument} was there again",
    "instrument.given_up": "instrument {instrument} was given up: {why}",
    "source.lost": "source {source} was lost: {reason}",
    "source.found": "source {source} was found",
}
_GAP = "recording.gap"
_HEARD = {f"{NOTIFY}{subject}".encode(): subject for subject in (*_WORDS, _GAP)}


class _Fields(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "?"


class Happenings:
    """Takes the notifications that tell why data may be missing, though no number does."""

    def __init__(self) -> None:
        self.remarks: list[str] = []
        """One sentence each, in order."""
        self.gaps: list[str] = []
        """Of cameras that did not work for a while: pictures are known to be missing."""
        self.untold = 0
        """Beyond the first 200."""

    def take(self, topic: bytes, payload: bytes, at_s: float) -> None:
        """Take note of a message.

        Args:
            topic: Its topic.
            payload: Its payload.
            at_s: When it came, in seconds since the start of the session.
        """
        subject = _HEARD.get(topic)
        if subject is None:
            return
        try:
            fields = decode_payload(payload)
        except ProtocolError:
            return
        if len(self.remarks) + len(self.gaps) >= _MAX_TOLD:
            self.untold += 1
        elif subject == _GAP:
            self.gaps.append(_gap_text(fields, at_s))
        else:
            known = _Fields({str(key): _short(value) for key, value in fields.items()})
            self.remarks.append(f"at {at_s:.3f} s {_WORDS[subject].format_map(known)}")


def _gap_text(fields: dict[Any, Any], at_s: float) -> str:
    begin, end = fields.get("begin"), fields.get("end")
    numbers = isinstance(begin, float) and isinstance(end, float)
    how_long = f"for {end - begin:.3f} s " if numbers else ""  # pyright: ignore[reportOperatorIssue]
    return f"{_short(fields.get('stream'))}: no pictures {how_long}before {at_s:.3f} s: {_short(fields.get('reason'))}"


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)[:_MAX_TEXT]
