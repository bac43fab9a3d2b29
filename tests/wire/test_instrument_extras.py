"""What labwire adds to the instrument protocol: compression, batches, control commands."""

from __future__ import annotations

import json
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.errors import ProtocolError, TooLargeError
from labwire.wire import instrument_extras as extras
from labwire.wire.instrument_extras import (
    MAX_EXPANDED_BYTES,
    control_command,
    decode_commands,
    decode_responses,
    encode_batch,
    pack_payload,
    unpack_payload,
)
from labwire.wire.instrument_message import (
    Command,
    CommandResponse,
    Message,
    MessageType,
    decode_command,
    decode_message,
    encode_message,
    encode_payload,
    pad,
)

LIMIT = 8192
commands = st.lists(
    st.builds(Command, verb=st.text(max_size=9), params=st.dictionaries(st.text(), st.integers(0, 9))), max_size=5
)
responses = st.lists(st.builds(CommandResponse, command_id=st.text(max_size=9), success=st.booleans()), max_size=5)


def test_a_payload_that_fits_is_left_alone() -> None:
    payload = b"x" * LIMIT
    assert pack_payload(payload, LIMIT, compress=True) is payload
    assert unpack_payload(payload) is payload


@given(st.integers(LIMIT + 1, 200_000), st.binary(min_size=1, max_size=40))
def test_one_that_does_not_fit_is_compressed_and_comes_back(size: int, pattern: bytes) -> None:
    payload = (b"{" + pattern * (size // len(pattern) + 1))[:size]
    packed = pack_payload(payload, LIMIT, compress=True)
    assert len(packed) <= LIMIT
    assert unpack_payload(packed) == payload
    message = Message(MessageType.RESPONSE, 1, packed)
    assert decode_message(pad(encode_message(message))) == message


@pytest.mark.parametrize("compress", [False, True])
def test_one_that_does_not_fit_either_way_is_refused_with_size_and_limit(*, compress: bool, seed: int) -> None:
    payload = random.Random(seed).randbytes(20_000)
    with pytest.raises(TooLargeError, match=r"20000 bytes .* 8192 bytes") as error:
        pack_payload(payload, LIMIT, compress=compress)
    assert ("when compressed" in str(error.value)) == compress
    assert error.value.data == {"size_bytes": 20_000, "limit_bytes": LIMIT}


def test_one_that_would_expand_beyond_what_a_reader_takes_is_not_compressed() -> None:
    assert unpack_payload(pack_payload(b" " * MAX_EXPANDED_BYTES, LIMIT, compress=True)) == b" " * MAX_EXPANDED_BYTES
    with pytest.raises(TooLargeError):
        pack_payload(b" " * (MAX_EXPANDED_BYTES + 1), LIMIT, compress=True)


@pytest.mark.parametrize(
    "payload",
    [
        b"\0z",
        b"\0zgarbage",
        b"\0z" + zlib.compress(b"{}")[:-1],
        b"\0z" + zlib.compress(b"x" * 5000)[:-5],
        b"\0z" + zlib.compress(b" " * (MAX_EXPANDED_BYTES + 1)),
        b"\0z" + zlib.compress(b" " * (64 << 20)),
    ],
    ids=["nothing", "garbage", "cut", "cut more", "one byte too long", "a bomb"],
)
def test_damaged_and_dangerous_compression_is_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        unpack_payload(payload)


@given(commands)
def test_commands_survive_a_batch(batch: list[Command]) -> None:
    joined = encode_batch([encode_payload(command) for command in batch])
    assert decode_commands(joined) == batch
    assert json.loads(joined) == [json.loads(encode_payload(command)) for command in batch]


@given(responses)
def test_responses_survive_a_batch(batch: list[CommandResponse]) -> None:
    assert decode_responses(encode_batch([encode_payload(response) for response in batch])) == batch


def test_what_is_no_batch_is_one() -> None:
    assert decode_commands(b'{"verb":"V"}') == [Command(verb="V")]
    assert decode_responses(b'{"command_id":"a-1","success":true}') == [CommandResponse(command_id="a-1", success=True)]


@pytest.mark.parametrize("payload", [b"[", b"[{}]", b"[[]]", b"[1]", b'[{"verb":"V"},]', b"[" * 100_000, b"", b"\xff"])
def test_a_broken_batch_is_a_protocol_error(payload: bytes) -> None:
    for decode in (decode_commands, decode_responses):
        with pytest.raises(ProtocolError):
            decode(payload)


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda tail: b"\0z" + tail))
def test_garbage_raises_nothing_but_a_protocol_error(payload: bytes) -> None:
    for read in (unpack_payload, decode_commands, decode_responses):
        try:
            read(payload)
        except ProtocolError:
            pass


def test_a_control_command_needs_no_answer() -> None:
    command = decode_command(control_command(extras.CREDIT, id="SCOPE-3", blocks=8))
    assert command == Command(verb="@credit", expects_response=False, params={"id": "SCOPE-3", "blocks": 8})


def test_no_driver_s_verb_can_be_taken_for_a_control_verb() -> None:
    verbs = {extras.NOOP, extras.DESCRIBE, extras.BARRIER, extras.RELEASE, extras.CREDIT, extras.CANCEL}
    assert all(verb.startswith("@") and not verb.upper().isidentifier() for verb in verbs)
    assert verbs >= extras.URGENT
