"""What has no form in JSON gets one."""

from __future__ import annotations

import json
import math

import pytest

from labwire.operations.bus import LastValue
from labwire.wire.json_text import encode_json


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": 1}, {"a": 1}),
        ({1: {2.5: "x"}}, {"1": {"2.5": "x"}}),
        ({b"k": 1, (1, 2): 2}, {"aw==": 1, "(1, 2)": 2}),
        ([math.nan, math.inf], [None, None]),
        (b"ab", "YWI="),
        ({"big": -(1 << 70)}, {"big": -(1 << 70)}),
        (LastValue("t", {(1,): 1}, 0.5), {"topic": "t", "payload": {"(1,)": 1}, "received_monotonic_s": 0.5}),
    ],
)
def test_everything_has_a_form(value: object, text: object) -> None:
    assert json.loads(encode_json(value)) == text
