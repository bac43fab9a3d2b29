"""Payloads on the command line, in and out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.cli.fields import compact, parse_fields, printable, raw_sizes
from labwire.cli.output import to_json
from labwire.errors import UsageError

SCALARS = st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats() | st.text() | st.binary()
KEYS = st.text() | st.integers() | st.floats() | st.binary()
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("words", "payload"),
    [
        ([], {}),
        (["a=1", "b=1.5", "c=true", "d=null", 'e=[1, "x"]'], {"a": 1, "b": 1.5, "c": True, "d": None, "e": [1, "x"]}),
        (["name=pilot 1", "empty=", "path=/a=b"], {"name": "pilot 1", "empty": "", "path": "/a=b"}),
        (["text=007", 'quoted="7"', "nan=NaN"], {"text": "007", "quoted": "7", "nan": "NaN"}),
        (['{"a": 1}', "a=2"], {"a": 2}),
        (["a=2", ' {"a": {"b": 1}}'], {"a": {"b": 1}}),
    ],
)
def test_words_become_a_payload(words: list[str], payload: dict[str, Any]) -> None:
    assert parse_fields(words) == payload


@pytest.mark.parametrize("word", ["lonely", "=1", "{broken", "[1]", "", "{1: 2}"])
def test_other_words_are_refused_by_name(word: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_fields([word])
    assert repr(word) in caught.value.message


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1), VALUES, max_size=3))
def test_what_is_written_as_json_is_read_back(payload: dict[str, Any]) -> None:
    plain = msgspec.json.decode(to_json(payload))
    assert parse_fields([to_json(payload)]) == plain


@given(VALUES)
def test_any_payload_has_a_json_form_on_one_line(value: Any) -> None:
    text = to_json(value)
    msgspec.json.decode(text)
    assert "\n" not in text


def test_a_foreign_type_in_a_payload_has_a_json_form() -> None:
    assert "Ext" in to_json({"ext": msgspec.msgpack.Ext(13, b"x")})


def test_compact_shortens_what_is_long() -> None:
    payload = {
        "topic": "pupil.0",
        "confidence": 0.123456789,
        "eyes": list(range(100)),
        "image": b"x" * 2000,
        "ok": True,
    }
    assert compact(payload, "pupil.0") == "confidence=0.123457 eyes=[0, 1, 2, 3, 4, 5, … 100] image=<2.00 kB> ok=true"


def test_compact_keeps_the_milliseconds_of_a_timestamp() -> None:
    assert compact({"timestamp": 5377.53219, "far": 1e15, "near": 0.000012345678}) == (
        "timestamp=5377.532 far=1e+15 near=1.23457e-05"
    )


def test_compact_cuts_what_is_nested() -> None:
    (text,) = [compact({"base_data": [{"id": n, "topic": "pupil", "values": [1.5] * 9} for n in range(3)]})]
    assert text.startswith("base_data=[{id=0 topic=pupil values=[1.5, ")
    assert text.endswith("…")
    assert len(text) < 80


def test_compact_leaves_out_what_the_topic_says() -> None:
    assert compact({"subject": "a.b", "topic": "notify.a.b", "n": 1}, "notify.a.b") == "n=1"
    assert compact({"subject": "other"}, "notify.a.b") == "subject=other"


def test_compact_shows_texts_in_quotes_unless_they_are_words() -> None:
    assert compact({"a": "word", "b": "two words", 1: {"c": None}}) == 'a=word b="two words" 1={c=null}'


@given(st.dictionaries(KEYS, VALUES, max_size=3))
def test_no_payload_can_steer_the_terminal(payload: dict[Any, Any]) -> None:
    assert compact(payload).isprintable()


def test_control_characters_are_replaced() -> None:
    assert printable("a\x1b[31mb\nc") == "a\N{REPLACEMENT CHARACTER}[31mb\\nc"


def test_raw_sizes() -> None:
    assert raw_sizes([]) == ""
    assert raw_sizes([b"x" * 45_200, b"x" * 10]) == "+2 raw: 45.2 kB, 10 B"
