"""A tree as TOML: what the standard parser reads is the tree again."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from labwire.cli.toml_text import to_toml
from labwire.rig.demo import demo_config
from labwire.rig.rig_file import dump, parse_rig

TEXTS = st.text(st.characters(codec="utf-8"))
PLAIN = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | TEXTS
NESTED = st.lists(PLAIN, max_size=3) | st.dictionaries(TEXTS, PLAIN, max_size=3)
VALUES = PLAIN | st.lists(PLAIN | NESTED, max_size=3)
TREES: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.dictionaries(TEXTS, VALUES, max_size=3),
    lambda inner: st.dictionaries(TEXTS, VALUES | inner, max_size=3),
    max_leaves=5,
)


@given(TREES)
def test_every_tree_is_read_back(tree: dict[str, Any]) -> None:
    assert tomllib.loads(to_toml(tree)) == tree


def test_what_is_not_set_is_left_out() -> None:
    assert tomllib.loads(to_toml({"a": None, "b": {"c": None, "d": [1, None]}})) == {"b": {"d": [1]}}


def test_the_shown_rig_is_a_rig_file_that_means_the_same() -> None:
    config = demo_config()
    assert parse_rig(to_toml({key: value for key, value in dump(config).items() if value})) == config
