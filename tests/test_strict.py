"""Mistakes are found all at once and said in plain words."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.strict import Mistake, Strict, find_mistakes, help_of, nearest


class Lamp(Strict, tag_field="kind", tag="lamp"):
    """A lamp."""

    watts: Annotated[float, msgspec.Meta(gt=0)]
    """How bright, in watts.
    Over two lines."""
    colour: Literal["red", "green"] = "red"
    nothing_said: int = 0


class Motor(Strict, tag_field="kind", tag="motor"):
    """A motor."""

    low: int = 0
    high: int = 1

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is above high")


Device: TypeAlias = Lamp | Motor


class Bench(Strict):
    """A bench."""

    devices: dict[str, Device] = {}
    size: tuple[int, ...] = ()
    note: str | None = None
    on: bool = False


class Fancy(Motor):
    """Inherits."""

    high: int = 2
    """The inherited field, with help now."""


def said(value: object) -> list[Mistake]:
    return list(find_mistakes(value, Bench))


def test_nothing_wrong() -> None:
    bench = {"devices": {"a": {"kind": "lamp", "watts": 5}, "b": {"kind": "motor"}}, "size": [1], "note": None}
    assert said(bench) == []
    assert msgspec.convert(bench, Bench).devices["a"] == Lamp(watts=5.0)


def test_each_member_of_a_union_is_checked_by_its_own_rules() -> None:
    wrong = {
        "a": {"kind": "lamp", "wats": 5, "colour": "gren"},
        "b": {"kind": "motor", "low": 3},
        "c": {"kind": "pump"},
        "d": {},
    }
    found = said({"devices": wrong, "size": [1, "2"], "on": "yes"})
    assert found[:3] == [
        (("devices", "a", "wats"), "unknown key", "did you mean watts?"),
        (("devices", "a", "colour"), 'must be one of "red", "green", not "gren"', 'did you mean "green"?'),
        (("devices", "a", "watts"), "is missing", "how bright, in watts"),
    ]
    assert found[3] == (("devices", "b"), "low is above high", "")
    assert found[4:6] == [
        (("devices", "c", "kind"), 'must be one of "lamp", "motor", not "pump"', ""),
        (("devices", "d", "kind"), "is missing", 'it is one of "lamp", "motor"'),
    ]
    assert found[6:] == [
        (("size", 1), 'must be a whole number, not "2"', "without the quotes"),
        (("on",), 'must be true or false, not "yes"', ""),
    ]


def test_unknown_key_far_from_all_names_what_is_known() -> None:
    assert said({"zzz": 1}) == [(("zzz",), "unknown key", "known here: devices, size, note, on")]


@pytest.mark.parametrize(
    ("name", "expected"), [("Pub-Port", "pub_port"), ("pub_prot", "pub_port"), ("xyz", ""), ("", "")]
)
def test_nearest(name: str, expected: str) -> None:
    assert nearest(name, ["pub_port", "sub_port"]) == expected


def test_a_mistake_in_a_line() -> None:
    assert Mistake(("bus", 0), "must be text").in_a_line() == "bus.0: must be text"
    assert Mistake((), "unknown key", "did you mean port?").in_a_line() == "options: unknown key; did you mean port?"


def test_help_is_on_one_line_and_inherited() -> None:
    assert help_of(Lamp) == {"watts": "How bright, in watts. Over two lines."}
    assert help_of(Fancy) == {"high": "The inherited field, with help now."}


KEYS = st.sampled_from(
    ["devices", "size", "note", "on", "kind", "lamp", "motor", "watts", "colour", "low", "high", "x"]
)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | KEYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(KEYS, TREES, max_size=4))
def test_no_mistake_means_that_it_converts_and_the_other_way_round(tree: dict[str, object]) -> None:
    mistakes: list[Mistake] = list(find_mistakes(tree, Bench))
    try:
        msgspec.convert(tree, Bench)
    except msgspec.ValidationError:
        assert mistakes
    else:
        assert mistakes == []
