"""Any payload finds its place in a table."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.sessions.reading import columns
from labwire.sessions.reading.columns import Kind, RowMaker, SchemaBuilder, flatten
from labwire.sessions.reading.table_files import CsvFile

KEYS = st.text(max_size=5) | st.integers()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
PAYLOADS = st.lists(st.dictionaries(KEYS, VALUES, max_size=5), min_size=1, max_size=5)


def tabled(payloads: list[dict[Any, Any]]) -> tuple[list[columns.Column], list[list[Any]]]:
    schema = SchemaBuilder()
    for payload in payloads:
        schema.learn(flatten(payload))
    found = schema.columns()
    make = RowMaker(found).row
    return found, [make(1.0, 2.0, flatten(payload)) for payload in payloads]


@given(PAYLOADS)
def test_every_cell_is_of_its_columns_kind(payloads: list[dict[Any, Any]]) -> None:
    found, rows = tabled(payloads)
    kinds = {Kind.BOOL: bool, Kind.INT: int, Kind.FLOAT: float, Kind.TEXT: str, Kind.LIST: list, Kind.JSON: str}
    for row in rows:
        assert len(row) == len(found)
        for cell, column in zip(row, found, strict=True):
            assert cell is None or type(cell) is kinds[column.kind]


@given(PAYLOADS)
def test_every_table_becomes_arrow(payloads: list[dict[Any, Any]]) -> None:
    pytest.importorskip("pyarrow")
    from labwire.sessions.reading.arrow import arrow_schema, record_batch

    found, rows = tabled(payloads)
    batch = record_batch(found, arrow_schema(found, {}), rows)
    assert batch.num_rows == len(rows)


@given(PAYLOADS)
def test_every_table_becomes_csv_with_as_many_cells_in_each_line(payloads: list[dict[Any, Any]]) -> None:
    import tempfile

    found, rows = tabled(payloads)
    with tempfile.TemporaryDirectory() as folder:
        file = CsvFile(Path(folder, "t.csv"), found, {})
        file.write(rows)
        file.close()
        text = file.path.read_bytes().decode()
    assert {len(line) for line in csv.reader(io.StringIO(text, newline=""))} == {len(file_head(found))}


def file_head(found: list[columns.Column]) -> list[str]:
    return [column.name for column in found for _ in range(max(1, column.length if column.length <= 16 else 1))]


def test_deeper_keys_get_dots_and_the_topic_is_left_out() -> None:
    payload = {"topic": "a", "ellipse": {"center": [1, 2], "angle": 3}, "empty": {}, "time_s": 7}
    assert flatten(payload, "a") == {
        "ellipse.center": [1, 2], "ellipse.angle": 3, "empty": {}, "payload.time_s": 7,
    }  # fmt: skip
    assert flatten({"topic": "b"}, "a") == {"topic": "b"}


def test_kinds_of_several_messages_are_joined() -> None:
    found, rows = tabled([{"a": 1, "b": 1, "c": None, "d": [1]}, {"a": 2.5, "b": "x", "d": [1, 2]}])
    assert [(column.name, column.kind, column.length) for column in found[2:]] == [
        ("a", Kind.FLOAT, 0), ("b", Kind.JSON, 0), ("c", Kind.NOTHING, 0), ("d", Kind.LIST, 0),
    ]  # fmt: skip
    assert rows[0][2:] == [1.0, "1", None, [1]]
    assert rows[1][2:] == [2.5, '"x"', None, [1, 2]]


def test_keys_without_end_do_not_make_columns_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "MAX_COLUMNS", 3)
    found, rows = tabled([{f"key {number}": number} for number in range(10)])
    assert [column.name for column in found[2:]] == ["key 0", "key 1", "key 2", "more"]
    assert msgspec.json.decode(rows[9][-1]) == {"key 9": 9}
    assert rows[0][-1] is None
