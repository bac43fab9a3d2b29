"""Messages of the RPC port, without a socket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.errors import BY_NAME, DiskLowError, LabwireError, NotFoundError, ProtocolError
from labwire.wire.rpc_message import (
    _PARTS_OF,
    MAX_ERROR_CHARS,
    Kind,
    RpcMessage,
    decode_rpc,
    encode_rpc,
    read_error,
    report_error,
)


def test_the_bytes_are_these() -> None:
    call = RpcMessage(Kind.CALL, 258, [b"", b"record.start", b"\x80"])
    assert encode_rpc(call) == [b"LW1C\x02\x01\x00\x00\x00\x00\x00\x00", b"", b"record.start", b"\x80"]
    assert encode_rpc(RpcMessage(Kind.CANCEL, 258)) == [b"LW1X\x02\x01\x00\x00\x00\x00\x00\x00"]


@given(st.data())
def test_what_was_encoded_is_decoded(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(Kind))
    parts = data.draw(st.lists(st.binary(max_size=50), min_size=_PARTS_OF[kind], max_size=_PARTS_OF[kind]))
    message = RpcMessage(kind, data.draw(st.integers(0, 2**64 - 1)), parts)
    assert decode_rpc(encode_rpc(message)) == message


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b""],
        [b"LW1C"],
        [b"LW2C" + bytes(8), b"", b"", b""],
        [b"LW1?" + bytes(8)],
        [b"LW1C" + bytes(8)],
        [b"LW1X" + bytes(8), b"too much"],
        [b"LW1C" + bytes(9), b"", b"", b""],
    ],
)
def test_what_is_no_rpc_message_is_a_protocol_error(parts: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        decode_rpc(parts)


@given(st.lists(st.one_of(st.binary(max_size=20), st.binary(max_size=9).map(lambda tail: b"LW1" + tail)), max_size=5))
def test_garbage_raises_nothing_else(parts: list[bytes]) -> None:
    try:
        decode_rpc(parts)
    except ProtocolError:
        pass


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_every_error_survives_the_way(name: str) -> None:
    error = read_error(report_error(BY_NAME[name]("what failed", port=50020, path="/a b")))
    assert type(error) is BY_NAME[name]
    assert (error.message, error.data) == ("what failed", {"port": 50020, "path": "/a b"})


def test_an_error_of_somebodys_own_travels_as_its_nearest_ancestor() -> None:
    class LampError(NotFoundError):
        pass

    error = read_error(report_error(LampError("no lamp", lamp=3)))
    assert type(error) is NotFoundError
    assert (error.message, error.data) == ("no lamp", {"lamp": 3})


@pytest.mark.parametrize("value", [object(), 2**70, {1, 2}, len, "\ud800"])
def test_data_that_cannot_be_sent_does_not_cost_the_error(value: object) -> None:
    error = read_error(report_error(DiskLowError("low", odd=value)))
    assert type(error) is DiskLowError
    assert error.message == "low"


def test_a_message_that_cannot_be_sent_does_not_cost_the_error() -> None:
    error = read_error(report_error(NotFoundError("no file \udcff")))
    assert type(error) is NotFoundError
    assert error.message.startswith("no file ")


def test_a_long_text_is_cut() -> None:
    assert len(read_error(report_error(LabwireError("x" * 10**6))).message) == MAX_ERROR_CHARS


@given(st.binary(max_size=100))
def test_a_report_that_cannot_be_read_is_an_error_all_the_same(part: bytes) -> None:
    assert isinstance(read_error(part), LabwireError)


def test_an_endless_report_is_refused() -> None:
    assert isinstance(read_error(b"\x81\xa1x" + b"\x91" * 100_000), LabwireError)
