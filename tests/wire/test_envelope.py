"""Envelopes: the spec's own examples byte for byte, any payload there and back, nothing that is not JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.errors import LabwireError, ProtocolError, TooLargeError, UsageError
from labwire.wire import envelope as envelope_module
from labwire.wire.envelope import (
    MAX_TIMESTAMP_US,
    TYPES,
    Envelope,
    EnvelopeType,
    decode_envelope,
    encode_envelope,
    frame_envelope,
    read_frame,
    read_status,
    status_envelope,
)

# The four examples of file-ipc, "Output Format", as compact lines (base64 cut to whole groups of four).
LINES = (Path(__file__).parents[1] / "vectors" / "envelope.jsonl").read_bytes().splitlines(keepends=True)

numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
envelopes = st.builds(
    Envelope, st.sampled_from(TYPES), st.integers(0, MAX_TIMESTAMP_US), st.dictionaries(st.text(), values, max_size=5)
)


@pytest.mark.parametrize("line", LINES)
def test_golden_lines_are_read_and_written_byte_for_byte(line: bytes) -> None:
    assert encode_envelope(decode_envelope(line)) == line


def test_golden_lines_are_the_four_types() -> None:
    assert tuple(decode_envelope(line).type for line in LINES) == TYPES


@given(envelopes)
def test_round_trip_and_what_others_read(envelope: Envelope) -> None:
    line = encode_envelope(envelope)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert decode_envelope(line) == envelope
    read: dict[str, Any] = json.loads(line)
    assert list(read) == ["type", "timestamp", "payload"]
    assert read["payload"] == envelope.payload


@given(values, st.sampled_from([math.nan, math.inf, -math.inf, np.float32("nan"), np.float64("inf")]))
def test_not_a_number_is_never_written(value: object, bad: float) -> None:
    for payload in ({"a": bad}, {"a": [value, {"b": bad}]}, {"a": (1, bad)}):
        with pytest.raises(UsageError, match=r"payload\.a.*finite"):
            encode_envelope(Envelope("core_metrics", 1, payload))


def test_numpy_scalars_are_written_as_numbers() -> None:
    payload = {"eda": np.float64(0.5), "count": np.int64(3), "ok": np.bool_(1)}
    assert decode_envelope(encode_envelope(Envelope("edge_metrics", 1, payload))).payload == {
        "eda": 0.5,
        "count": 3,
        "ok": True,
    }


@pytest.mark.parametrize("value", [object(), "\ud800", 1j])
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(UsageError, match="cannot be written as JSON"):
        encode_envelope(Envelope("status", 1, {"value": value}))


def test_payload_without_end_is_refused() -> None:
    payload: dict[str, Any] = {}
    payload["self"] = payload
    with pytest.raises(UsageError):
        encode_envelope(Envelope("status", 1, payload))


@pytest.mark.parametrize("timestamp", [-1, 1 << 63, 1.5, True, "1", None])
def test_timestamp_must_be_whole_microseconds(timestamp: object) -> None:
    with pytest.raises(UsageError, match="whole number of microseconds"):
        encode_envelope(Envelope("status", cast("int", timestamp), {}))


def test_unknown_type_is_not_written() -> None:
    with pytest.raises(UsageError, match="core_metrics, edge_metrics, status, frame"):
        encode_envelope(Envelope(cast("EnvelopeType", "metrics"), 1, {}))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"null",
        b"[]",
        b"{}",
        b'{"type":"status","timestamp":1}',
        b'{"type":"other","timestamp":1,"payload":{}}',
        b'{"type":"status","timestamp":1.5,"payload":{}}',
        b'{"type":"status","timestamp":-1,"payload":{}}',
        b'{"type":"status","timestamp":true,"payload":{}}',
        b'{"type":"status","timestamp":1,"payload":[]}',
        b'{"type":"status","timestamp":1,"payload":{"a":NaN}}',
        b'{"type":"status","timestamp":1,"payload":{"a":"\xff"}}',
        b'{"type":"status","timestamp":1,"payload":{}} x',
        b'{"type":"status","timestamp":1,"payload":{}}{"type":"status","timestamp":1,"payload":{}}',
        LINES[0][:-20],
        b"[" * 100_000,
        b'{"type":"status","timestamp":1,"payload":{"a":' + b"[" * 100_000,
    ],
)
def test_line_that_is_no_envelope_is_a_protocol_error(line: bytes) -> None:
    with pytest.raises(ProtocolError, match="not an envelope"):
        decode_envelope(line)


def test_keys_that_a_later_version_may_add_are_ignored() -> None:
    line = b'{"version":2,"type":"status","timestamp":1,"payload":{}}'
    assert decode_envelope(line) == Envelope("status", 1, {})


@given(st.binary(max_size=200), st.integers(0, 2**32))
def test_any_bytes_are_read_or_refused_in_our_words(tail: bytes, at: int) -> None:
    line = LINES[at % len(LINES)]
    cut = at % len(line)
    for data in (tail, line[:cut] + tail, line[:cut] + tail + line[cut + len(tail) :]):
        try:
            decode_envelope(data)
        except LabwireError:
            pass


def test_line_above_the_limit_is_refused_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelope_module, "MAX_LINE_BYTES", 100)
    with pytest.raises(TooLargeError):
        encode_envelope(Envelope("status", 1, {"message": "x" * 100}))
    with pytest.raises(TooLargeError):
        decode_envelope(b" " * 101)


def test_status_is_typed() -> None:
    status = read_status(decode_envelope(encode_envelope(status_envelope(7, "no chest", 5))))
    assert (status.code, status.message) == (7, "no chest")
    with pytest.raises(ProtocolError, match="frame envelope where a status"):
        read_status(frame_envelope(b"", 1, 1, 1))
    with pytest.raises(ProtocolError, match="payload of a status"):
        read_status(Envelope("status", 1, {"code": "0"}))


def test_frame_carries_its_jpeg() -> None:
    frame, jpeg = read_frame(decode_envelope(encode_envelope(frame_envelope(b"\xff\xd8\x00\xff\xd9", 640, 480, 5))))
    assert jpeg == b"\xff\xd8\x00\xff\xd9"
    assert (frame.width, frame.height, frame.format) == (640, 480, "jpeg")
    with pytest.raises(ProtocolError, match="base64"):
        read_frame(Envelope("frame", 1, {"data": "%%", "width": 1, "height": 1}))
