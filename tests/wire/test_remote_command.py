"""Commands of the Remote: a table of requests, and an answer to everything else."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labwire.wire import remote_command
from labwire.wire.remote_command import (
    CONFIRMATIONS,
    Ask,
    Forward,
    Notify,
    Refuse,
    SetTime,
    forwarded_reply,
    parse_request,
)

VECTORS: list[dict[str, Any]] = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "vectors" / "remote_command.jsonl").read_text().splitlines()
]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["note"])
def test_recorded_requests_are_understood(vector: dict[str, Any]) -> None:
    kind = getattr(remote_command, vector["is"])
    fields: list[Any] = vector["fields"]
    if kind is Forward:
        fields = [[bytes.fromhex(part) for part in fields[0]], fields[1]]
    assert parse_request([bytes.fromhex(part) for part in vector["parts"]]) == kind(*fields)


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4))
@example([b""])
@example([b"T " + b"9" * 100_000])
@example([b"R " + b"\xff"])
@example(["T ١٢".encode()])
def test_everything_gets_an_answer(parts: list[bytes]) -> None:
    command = parse_request(parts)
    assert isinstance(command, (Ask, SetTime, Notify, Forward, Refuse))
    if isinstance(command, SetTime):
        assert math.isfinite(command.value)
    if isinstance(command, Refuse):
        assert command.reply
        assert len(command.reply.encode()) < 1000
    assert isinstance(command, Forward) or len(parts) == 1 or isinstance(command, Refuse)


@given(st.text())
def test_text_is_known_by_its_first_character(text: str) -> None:
    command = parse_request([text.encode()])
    match text[:1]:
        case "R" if text != "RPC_PORT":
            assert command == Notify("recording.should_start", {"session_name": text[2:]})
        case "r":
            assert command == Notify("recording.should_stop", {})
        case "t":
            assert command == Ask("time")
        case "v":
            assert command == Ask("version")
        case "T":
            assert isinstance(command, (SetTime, Refuse))
        case _:
            assert isinstance(command, (Ask, Notify, Refuse))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_finite_time_is_set_exactly(value: float) -> None:
    assert parse_request([f"T {value!r}".encode()]) == SetTime(value)


def test_a_forwarded_message_keeps_its_very_parts() -> None:
    parts = [b"annotation", b"\xc1 whatever", b"", b"\x00"]
    command = parse_request(parts)
    assert isinstance(command, Forward)
    assert command.parts is parts


@pytest.mark.parametrize(
    ("topic", "style", "reply"),
    [
        ("notify.x", "spec", "Notification received"),
        ("annotation", "spec", "Message forwarded."),
        ("notify.x", "pupil3", "Message forwarded."),
        ("notification", "spec", "Message forwarded."),
    ],
)
def test_confirmations(topic: str, style: remote_command.ReplyStyle, reply: str) -> None:
    assert forwarded_reply(topic, style) == reply
    assert reply in CONFIRMATIONS
