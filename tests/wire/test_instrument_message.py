"""The message between an instrument server and its workers: recorded bytes, round trips, garbage."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.errors import ProtocolError, TooLargeError, UsageError
from labwire.wire.instrument_message import (
    ISS,
    NATIVE,
    PROFILES,
    SPEC,
    Command,
    CommandResponse,
    Message,
    MessageType,
    Profile,
    WorkerError,
    counter_of,
    decode_command,
    decode_error,
    decode_message,
    decode_response,
    encode_message,
    encode_payload,
    pad,
)

VECTORS = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "vectors" / "instrument_message.jsonl").read_text().splitlines()
]
profiles = st.sampled_from(list(PROFILES.values()))
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
int_64 = st.integers(-(2**63), 2**63 - 1)


@st.composite
def messages(draw: st.DrawFn, profile: Profile) -> Message:
    return Message(
        draw(st.sampled_from(list(profile.numbers))),
        draw(st.integers(0, 2**64 - 1)),
        draw(st.binary(max_size=200)),
        draw(st.integers(0, 2**64 - 1)) if profile.has_sync_token else 0,
    )


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["story"] for vector in VECTORS])
def test_golden_bytes_are_read_and_written(vector: dict[str, Any]) -> None:
    profile = PROFILES[vector["profile"]]
    message = Message(
        MessageType(vector["type"]), vector["id"], vector["payload"].encode(), sync_token=vector["sync_token"]
    )
    data = bytes.fromhex(vector["bytes"])
    assert encode_message(message, profile) == data
    assert len(pad(data, profile)) == vector["size_bytes"] == profile.size_bytes
    for form in (data, pad(data, profile), bytearray(data), memoryview(pad(data, profile))):
        assert decode_message(form, profile) == message


def test_golden_bytes_show_every_type_of_every_profile_but_native() -> None:
    shown = {(vector["profile"], vector["type"]) for vector in VECTORS}
    assert {(p.name, kind.value) for p in (SPEC, ISS) for kind in p.numbers} - shown == {
        ("iss", "RESPONSE"),
    }


def test_the_spec_s_own_payloads_are_read() -> None:
    payloads = {vector["type"]: vector["payload"].encode() for vector in VECTORS if vector["profile"] == "spec"}
    command = decode_command(b'{"id":"DMM1-1234567890","verb":"V","params":{"range":10.0,"samples":100}}')
    assert (command.timeout_ms, command.priority, command.expects_response, command.return_type) == (5000, 0, True, "")
    assert type(command.params["range"]) is float
    assert type(command.params["samples"]) is int
    response = decode_response(payloads["RESPONSE"])
    assert encode_payload(response) == payloads["RESPONSE"]
    assert (response.return_value, response.text_response) == (3.14159, "3.14159")
    assert decode_error(payloads["ERROR"]) == WorkerError("Plugin crashed: segmentation fault", -1, fatal=True)


def test_a_response_of_no_foreign_profile_has_a_key_that_the_spec_does_not_know() -> None:
    spec_keys = ["command_id", "instrument_name", "success", "error_code", "error_message", "text_response"]
    response = CommandResponse(command_id="DMM1-1", success=True)
    assert list(json.loads(encode_payload(response))) == [*spec_keys, "return_value"]


def test_a_command_has_the_spec_s_keys_in_the_spec_s_order() -> None:
    example = next(v["payload"] for v in VECTORS if v["type"] == "COMMAND")
    command = Command(
        id="DMM1-1234567890",
        instrument_name="DMM1",
        verb="MEASURE_VOLTAGE",
        return_type="float",
        params={"range": 10.0, "samples": 100},
    )
    assert encode_payload(command).decode() == example


@given(st.data(), profiles)
def test_what_was_encoded_is_decoded_padded_or_not(data: st.DataObject, profile: Profile) -> None:
    message = data.draw(messages(profile))
    encoded = encode_message(message, profile)
    assert len(encoded) == profile.header_bytes + len(message.payload)
    if not message.payload or message.payload[:1] != b"\0":
        assert decode_message(pad(encoded, profile), profile) == message
    assert decode_message(encoded, profile) == message


@given(
    st.builds(
        Command,
        id=st.text(),
        instrument_name=st.text(),
        verb=st.text(),
        timeout_ms=int_64,
        priority=int_64,
        expects_response=st.booleans(),
        return_type=st.text(),
        params=st.dictionaries(st.text(), values, max_size=5),
    )
)
def test_any_command_survives_the_way(command: Command) -> None:
    assert decode_command(encode_payload(command)) == command


@given(
    st.builds(
        CommandResponse,
        command_id=st.text(),
        instrument_name=st.text(),
        success=st.booleans(),
        error_code=int_64,
        error_message=st.text(),
        text_response=st.text(),
        return_value=values,
        block=st.just(msgspec.UNSET) | st.integers(0, 2**63 - 1),
    )
)
def test_any_response_survives_the_way(response: CommandResponse) -> None:
    assert decode_response(encode_payload(response)) == response


@pytest.mark.parametrize("profile", PROFILES.values(), ids=list(PROFILES))
def test_the_largest_payload_fits_and_one_byte_more_is_refused_with_size_and_limit(profile: Profile) -> None:
    largest = b"x" * profile.payload_bytes
    data = encode_message(Message(MessageType.COMMAND, 1, largest), profile)
    assert len(data) <= profile.size_bytes
    assert decode_message(data, profile).payload == largest
    with pytest.raises(TooLargeError, match=f"{profile.payload_bytes + 1} bytes .*{profile.payload_bytes} bytes") as e:
        encode_message(Message(MessageType.COMMAND, 1, largest + b"x"), profile)
    assert e.value.data == {"size_bytes": profile.payload_bytes + 1, "limit_bytes": profile.payload_bytes}


@pytest.mark.parametrize("number", [-1, 2**64])
def test_an_id_that_has_no_64_bits_is_refused(number: int) -> None:
    with pytest.raises(UsageError, match=str(number)):
        encode_message(Message(MessageType.COMMAND, number))


@pytest.mark.parametrize(
    ("kind", "profile"), [(MessageType.ERROR, ISS), (MessageType.SYNC_ACK, SPEC), (MessageType.SYNC_CONTINUE, NATIVE)]
)
def test_a_type_that_a_profile_does_not_have_is_refused(kind: MessageType, profile: Profile) -> None:
    with pytest.raises(UsageError, match=f"{profile.name!r} has no {kind.value}"):
        encode_message(Message(kind), profile)


def _header(kind: int, size: int) -> bytes:
    return struct.pack("<IQI", kind, 1, size)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "16 to 8208 bytes, this one 0"),
        (_header(1, 0)[:-1], "this one 15"),
        (bytes(8209), "this one 8209"),
        (_header(0, 0), "type 0 is not known"),
        (_header(6, 0), "type 6 is not known"),
        (_header(2**32 - 1, 0), "type 4294967295 is not known"),
        (_header(1, 3) + b"{}", "18 bytes says that its payload has 3 bytes"),
        (_header(1, 8193).ljust(8208, b"x"), "payload has 8193 bytes"),
        (_header(1, 2**32 - 1).ljust(8208, b"x"), "payload has 4294967295 bytes"),
    ],
)
def test_what_is_no_message_is_refused_and_told_why(data: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError, match=re.escape(reason)):
        decode_message(data)


@given(st.binary(max_size=300) | st.binary(max_size=64).map(lambda tail: _header(1, 40) + tail), profiles)
def test_garbage_raises_nothing_but_a_protocol_error(data: bytes, profile: Profile) -> None:
    for one in (data, pad(data, profile)):
        try:
            message = decode_message(one, profile)
        except ProtocolError:
            continue
        assert len(message.payload) <= profile.payload_bytes
        decode_error(message.payload)
        for decode in (decode_command, decode_response):
            try:
                decode(message.payload)
            except ProtocolError:
                pass


@pytest.mark.parametrize("size", [8208, 8216])
def test_an_error_as_the_spec_s_snippet_writes_it_is_accepted(size: int) -> None:
    profile = SPEC if size == 8208 else NATIVE
    text = b'{"error_message": "Invalid JSON in command"}\0left over from before'
    for number in (0, 42):  # the snippet leaves id and payload_size as they are
        header = profile.header.pack(5, number, 0)
        message = decode_message((header + text).ljust(size, b"\0"), profile)
        assert message.id == number
        assert decode_error(message.payload) == WorkerError("Invalid JSON in command", -1, fatal=False)


def test_a_heartbeat_with_dirt_behind_its_header_is_empty() -> None:
    assert decode_message((_header(4, 0) + b"dirt").ljust(8208, b"\0")) == Message(MessageType.HEARTBEAT, 1)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b"{}",
        b'{"verb":1}',
        b'{"verb":null}',
        b'{"verb":"V","params":[1]}',
        b'{"verb":"V","params":null}',
        b'{"verb":"V","timeout_ms":"5"}',
        b'{"verb":"V","timeout_ms":5.5}',
        b'{"verb":"V"} ,',
        b'{"verb":"V","params":' + b'{"a":' * 5000,
    ],
)
def test_what_is_no_command_is_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError, match="COMMAND"):
        decode_command(payload)


def test_keys_that_nobody_knows_are_skipped() -> None:
    assert decode_command(b'{"verb":"V","sync_token":7,"channel_group":{"a":[1]}}') == Command(verb="V")
    assert decode_response(b'{"command_id":"a-1","success":true,"has_large_data":false}').success


@pytest.mark.parametrize("payload", [b"", b"not JSON", b"\xff", b'{"fatal":"yes"}', b"[1]"])
def test_an_error_that_is_no_json_is_its_own_message(payload: bytes) -> None:
    assert decode_error(payload) == WorkerError(payload.decode("utf-8", "replace"), -1, fatal=False)


@pytest.mark.parametrize("value", [object(), {1: object()}, "\ud800", {("a", "b"): 1}])
def test_what_json_has_no_form_for_is_a_usage_error(value: object) -> None:
    with pytest.raises(UsageError, match="JSON"):
        encode_payload(CommandResponse(command_id="a-1", success=True, return_value=value))


@pytest.mark.parametrize(
    ("command_id", "counter"),
    [
        ("DMM1-42", 42),
        ("DMM-1-42", 42),
        ("-1", 1),
        ("DMM1-", None),
        ("DMM1", None),
        ("42", None),
        ("DMM1-4²", None),
        ("DMM1- 4", None),
        ("DMM1-" + "9" * 19, int("9" * 19)),
        ("DMM1-" + "9" * 5000, None),
    ],
)
def test_the_counter_of_an_id(command_id: str, counter: int | None) -> None:
    assert counter_of(command_id) == counter
