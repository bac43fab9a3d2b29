"""The line of each key agrees with what the standard parser reads."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.rig.toml_lines import lines_of, nearest_line
from labwire.strict import KeyPath


def paths_in(value: object, path: KeyPath = ()) -> Iterator[KeyPath]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths_in(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from paths_in(inner, (*path, index))


TEXT = '''\
# a comment with [brackets] = "and quotes
name = "x" # = y

[bus]
pub_port = 1
"quoted key" = 'a = b' # [c]
'lit"eral' = """
several = 1
lines "" with quotes\\""""
"esc\\u0061\\"ped" = 2

[ cameras . "eye 0" ]
size = [ 640, # width
  480,
]
options = { a.b = 1, c = { d = [ { e = 2 } ] } }
[[list]]
x = 1
[list.inner]
y = 2
[[list]]
[[list.sub]]
z = 1979-05-27T07:32:00Z
[a.b]
[a]
c.d = \'\'\'
it's ''two\'\'\'\'\'
'''

LINES = {
    ("name",): 2,
    ("bus",): 4,
    ("bus", "pub_port"): 5,
    ("bus", "quoted key"): 6,
    ("bus", 'lit"eral'): 7,
    ("bus", 'esca"ped'): 10,
    ("cameras", "eye 0"): 12,
    ("cameras", "eye 0", "size"): 13,
    ("cameras", "eye 0", "size", 0): 13,
    ("cameras", "eye 0", "size", 1): 14,
    ("cameras", "eye 0", "options", "a", "b"): 16,
    ("cameras", "eye 0", "options", "c", "d", 0, "e"): 16,
    ("list",): 17,
    ("list", 0, "x"): 18,
    ("list", 0, "inner", "y"): 20,
    ("list", 1): 21,
    ("list", 1, "sub", 0, "z"): 23,
    ("a", "b"): 24,
    ("a",): 25,
    ("a", "c", "d"): 26,
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_each_key_of_an_awkward_text(newline: str) -> None:
    text = TEXT.replace("\n", newline)
    lines = lines_of(text)
    assert set(lines) == set(paths_in(tomllib.loads(text)))
    assert {path: lines[path] for path in LINES} == LINES


def test_nearest_line_is_that_of_the_part_above() -> None:
    lines = {("bus",): 4, ("bus", "pub_port"): 5}
    assert nearest_line(lines, ("bus", "pub_port")) == 5
    assert nearest_line(lines, ("bus", "sub_port", 0)) == 4
    assert nearest_line(lines, ("name",)) is None


KEYS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\x7f"), max_size=6)
SCALARS = (
    st.integers(-(2**40), 2**40)
    | st.booleans()
    | st.floats(allow_nan=False)
    | KEYS
    | st.dates(min_value=date(1000, 1, 1))
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=10
)
NEWLINES = st.sampled_from(["", "\n", "\n\n# [x] = {\n"])


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def table_of(name: str, table: dict[str, object], gap: str) -> str:
    return f"[{quoted(name)}]\n" + "".join(f"{quoted(key)} = {toml_of(value, gap)}\n" for key, value in table.items())


def toml_of(value: object, gap: str) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return quoted(value)
        case list():
            return f"[{gap}" + f",{gap}".join(toml_of(inner, gap) for inner in value) + f"{gap}]"
        case dict():
            return "{" + ", ".join(f"{quoted(key)} = {toml_of(inner, '')}" for key, inner in value.items()) + "}"
        case _:
            return str(value)


@given(st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=3), max_size=4), NEWLINES)
def test_any_tree_gives_the_paths_of_the_standard_parser(tree: dict[str, dict[str, object]], gap: str) -> None:
    text = "".join(table_of(name, table, gap) for name, table in tree.items())
    lines = lines_of(text)
    assert set(lines) == set(paths_in(tomllib.loads(text)))
    rows = text.split("\n")
    assert all(rows[lines[name,] - 1] == f"[{quoted(name)}]" for name in tree)
