"""Bus messages: recorded bytes, byte for byte what the reference encoder gives, and nothing that garbage can break."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from enum import IntEnum, StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgpack
import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labwire.errors import ProtocolError, UsageError
from labwire.wire.bus_message import (
    BusMessage,
    Header,
    decode_message,
    decode_payload,
    encode_message,
    encode_payload,
    notification_topic,
    peek_header,
)

VECTORS: list[dict[str, Any]] = [
    json.loads(line) for line in (Path(__file__).parents[1] / "vectors" / "bus_message.jsonl").read_text().splitlines()
]
CANONICAL = [vector for vector in VECTORS if vector["canonical"]]


def name_of(vector: dict[str, Any]) -> str:
    return vector["name"]


def parts_of(vector: dict[str, Any]) -> list[bytes]:
    return [bytes.fromhex(part) for part in vector["parts"]]


def message_of(vector: dict[str, Any]) -> BusMessage:
    payload = {key: value for key, value in vector["pairs"]} if "pairs" in vector else vector["payload"]  # noqa: C416
    return BusMessage(vector["topic"], payload, tuple(bytes.fromhex(part) for part in vector["raw"]))


@pytest.mark.parametrize("vector", VECTORS, ids=name_of)
def test_recorded_bytes_are_understood(vector: dict[str, Any]) -> None:
    assert decode_message(parts_of(vector)) == message_of(vector)


@pytest.mark.parametrize("vector", CANONICAL, ids=name_of)
def test_messages_become_the_recorded_bytes(vector: dict[str, Any]) -> None:
    assert encode_message(*message_of(vector)) == parts_of(vector)


plain = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text()
    | st.binary(max_size=300)
    | st.text(min_size=250, max_size=300)
)
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=20)
        | st.dictionaries(st.text(), inner, max_size=20)
        | st.dictionaries(st.integers(-(2**63), 2**64 - 1), inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
    ),
    max_leaves=30,
)
payloads = st.dictionaries(st.text(), values, max_size=20)


@given(payloads)
def test_bytes_equal_those_of_the_reference_encoder(payload: dict[str, Any]) -> None:
    assert encode_payload(payload) == msgpack.packb(payload, use_bin_type=True)


@given(payloads)
def test_the_reference_decoder_understands_the_same(payload: dict[str, Any]) -> None:
    body = encode_payload(payload)
    ours, reference = decode_payload(body), msgpack.unpackb(body, strict_map_key=False)
    assert repr(ours) == repr(reference)  # repr, because NaN does not equal itself


@given(st.text(max_size=40), payloads, st.lists(st.binary(max_size=20), max_size=3))
def test_round_trip(topic: str, payload: dict[str, Any], raw: list[bytes]) -> None:
    parts = encode_message(topic, payload, raw)
    message = decode_message([bytes(part) for part in parts])
    assert message.topic == topic
    assert message.raw == tuple(raw)
    assert encode_payload(message.payload) == parts[1]


@given(st.lists(st.binary(max_size=60), max_size=4))
@example([])
@example([b"t", b"\xde\xff\xff"])
@example([b"t", b"\xdf\xff\xff\xff\xff\xa1x"])
@example([b"t", b"\x81" * 100_000])
@example([b"t", b"\x81\xa1x\xc7\x05\x0dhello"])
@example([b"t", b"\x81\xa1x\xd7\xff" + bytes(8)])
@example([b"t", b"\x81\xa1x\xc7\x0c\xff\xff\xff\xff\xff" + bytes(8)])
@example([b"t", b"\x81\x90\x01"])
@example([b"t", b"\x81\x80\x01"])
@example([b"t", b"\x81\xa2\xff\xfe\x01"])
def test_garbage_is_a_protocol_error_and_nothing_else(parts: list[bytes]) -> None:
    try:
        message = decode_message(parts)
    except ProtocolError as error:
        text = str(error)
    else:
        text = ""
        assert isinstance(message.payload, dict)
    assert len(text) < 1000
    if len(parts) > 1:
        try:
            header = peek_header(parts[1])
        except ProtocolError:
            with pytest.raises(ProtocolError):
                decode_payload(parts[1])
        else:
            assert isinstance(header, Header)


@given(st.dictionaries(st.sampled_from(["subject", "timestamp", "seq", "emitter", "other"]), values))
def test_the_header_is_what_the_payload_says_where_it_has_the_right_type(payload: dict[str, Any]) -> None:
    header = peek_header(encode_payload(payload))
    subject, timestamp, seq, emitter = (payload.get(key) for key in ("subject", "timestamp", "seq", "emitter"))
    assert header.subject == (subject if isinstance(subject, str) else None)
    assert header.emitter == (emitter if isinstance(emitter, str) else None)
    assert header.seq == (seq if type(seq) is int else None)
    if isinstance(timestamp, (int, float)) and not isinstance(timestamp, bool) and not math.isnan(timestamp):
        assert header.timestamp == float(timestamp)
    elif not isinstance(timestamp, float):
        assert header.timestamp is None


class Level(IntEnum):
    HIGH = 3


class Colour(StrEnum):
    RED = "red"


class Metres(float):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "same_as"),
    [
        (np.float64(1.5), 1.5),
        (np.float32(0.5), 0.5),
        (np.int16(-7), -7),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (Level.HIGH, 3),
        (Colour.RED, "red"),
        (Metres(2.5), 2.5),
        (OrderedDict(a=1), {"a": 1}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        ((1, 2), [1, 2]),
        (bytearray(b"x"), b"x"),
        (memoryview(b"x"), b"x"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_of_other_types_are_sent_as_what_they_are_like(value: object, same_as: object) -> None:
    assert encode_payload({"x": value}) == msgpack.packb({"x": same_as})


@pytest.mark.parametrize("value", [object(), 2**64, -(2**63) - 1, np.zeros(3), "\ud800", 1j], ids=type)
def test_what_has_no_form_is_a_usage_error(value: object) -> None:
    with pytest.raises(UsageError, match="cannot be sent"):
        encode_payload({"x": value})


def test_what_has_no_form_is_named_with_its_keys_and_what_to_do() -> None:
    with pytest.raises(UsageError) as caught:
        encode_payload({"fine": 1, "eye": {"rows": [0, np.zeros(3)]}}, "pupil.own")
    assert caught.value.message == (
        "payload of 'pupil.own' cannot be sent: ['eye']['rows'][1]: a value of type ndarray has no MessagePack form: "
        "send its .tolist(), or its bytes as a raw part"
    )


def test_a_payload_without_end_is_a_usage_error() -> None:
    payload: dict[str, Any] = {}
    payload["self"] = payload
    with pytest.raises(UsageError):
        encode_payload(payload)


def test_structs_are_payloads() -> None:
    class Wind(msgspec.Struct):
        speed: float

    assert encode_payload(Wind(3.5)) == msgpack.packb({"speed": 3.5})


def test_raw_parts_are_not_copied() -> None:
    raw = bytearray(100)
    assert encode_message("x", {}, [raw])[2] is raw


def test_an_error_shows_the_beginning_only() -> None:
    with pytest.raises(ProtocolError, match=r"… \(1000000 bytes\)$"):
        decode_payload(b"\xc1" * 1_000_000)


@pytest.mark.parametrize(
    ("notification", "topic"),
    [
        ({"subject": "a.b"}, "notify.a.b"),
        ({"subject": "a", "delay": 0.1}, "delayed_notify.a"),
        ({"subject": "a", "delay": 0}, "notify.a"),
        ({"subject": "a", "remote_notify": "all", "delay": 1}, "remote_notify.a"),
    ],
)
def test_the_topic_of_a_notification(notification: dict[str, Any], topic: str) -> None:
    assert notification_topic(notification) == topic


@pytest.mark.parametrize("notification", [{}, {"subject": None}, {"subject": ""}, {"subject": b"x"}])
def test_a_notification_needs_a_subject(notification: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="subject"):
        notification_topic(notification)
