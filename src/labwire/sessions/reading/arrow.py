"""Columns and rows as Arrow has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from itertools import islice
from typing import Any

from labwire.errors import needs_extra
from labwire.sessions.reading.columns import Column, Kind


def arrow_schema(columns: list[Column], metadata: Mapping[str, str]) -> Any:
    """Return the Arrow schema of some columns; the unit of each is in its metadata, under ``unit``.

    Args:
        columns: The columns.
        metadata: Of the whole table.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pa = _pyarrow()
    types = {
        Kind.NOTHING: pa.null(),
        Kind.BOOL: pa.bool_(),
        Kind.INT: pa.int64(),
        Kind.FLOAT: pa.float64(),
        Kind.TEXT: pa.string(),
        Kind.LIST: pa.list_(pa.float64()),
        Kind.JSON: pa.string(),
    }
    fields = [
        pa.field(column.name, types[column.kind], metadata={"unit": column.unit} if column.unit else None)
        for column in columns
    ]
    return pa.schema(fields, metadata=dict(metadata))


def record_batches(columns: list[Column], schema: Any, rows: Iterable[list[Any]], size: int) -> Iterator[Any]:
    """Yield rows as record batches of at most `size` rows."""
    remaining = iter(rows)
    while some := list(islice(remaining, size)):
        yield record_batch(columns, schema, some)


def record_batch(columns: list[Column], schema: Any, rows: list[list[Any]]) -> Any:
    """Return rows as one record batch."""
    pa = _pyarrow()
    arrays = [
        _array(pa, cells, column.kind, field.type)
        for column, field, cells in zip(columns, schema, zip(*rows, strict=True), strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(pa: Any, cells: Sequence[Any], kind: Kind, to: Any) -> Any:
    try:
        return pa.array(cells, type=to)
    except (pa.ArrowException, UnicodeEncodeError, OverflowError):  # text that is no UTF-8, integers above 2**53
        return pa.array([_as_arrow(value, kind) for value in cells], type=to)


def _as_arrow(value: Any, kind: Kind) -> Any:
    if kind is Kind.TEXT and value is not None:
        return value.encode("utf-8", "replace").decode()
    if kind is Kind.LIST and value is not None:
        return [float(one) for one in value]
    return value


def _pyarrow() -> Any:
    with needs_extra("export"):
        return import_module("pyarrow")
