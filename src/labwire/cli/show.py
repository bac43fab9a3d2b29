"""Shows a reply of any operation to a person: lists of structs as tables, a struct as its fields."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard, cast

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from labwire.cli.output import console
from labwire.cli.toml_text import to_toml
from labwire.cli.units import NOTHING, label, quantity


def show(reply: Any, on: Console | None = None) -> None:
    """Print a reply.

    Args:
        reply: A struct, a list of structs, a mapping, or a plain value.
        on: Console to print to; by default standard output.
    """
    out = on or console()
    match reply:
        case None:
            pass
        case msgspec.Struct():
            _show_struct(reply, out)
        case dict():
            out.print(Text(to_toml(cast("dict[str, Any]", reply))), end="")
        case list():
            rows = cast("list[Any]", reply)
            out.print(table_of(rows) if _are_structs(rows) and rows else Text(quantity("", rows) if rows else "none"))
        case _:
            out.print(Text(quantity("", reply)))


def table_of(rows: Sequence[msgspec.Struct], keys: Sequence[str] = (), key_label: str = "") -> Table:
    """Return a table with a column per field; columns that are empty in all rows are left out.

    Args:
        rows: Structs of one class.
        keys: A first column, for structs that stand in a mapping.
        key_label: Its heading.
    """
    names = [field.name for field in msgspec.structs.fields(rows[0])]
    return _table({name: [quantity(name, getattr(row, name)) for row in rows] for name in names}, keys, key_label)


def _table_of_maps(rows: Sequence[Mapping[str, Any]]) -> Table:
    names = dict.fromkeys(name for row in rows for name in row)
    return _table({name: [quantity(name, row.get(name)) for row in rows] for name in names})


def _table(cells: Mapping[str, Sequence[str]], keys: Sequence[str] = (), key_label: str = "") -> Table:
    labels = Counter(map(label, cells))  # `written` and `written_bytes` have the same: it would stand there twice
    columns = [
        (label(name) if labels[label(name)] == 1 else name.replace("_", " "), column)
        for name, column in cells.items()
        if any(cell != NOTHING for cell in column)
    ]
    headings = [heading for heading, _ in columns]
    table = make_table([key_label, *headings] if keys else headings)
    for cell_row in zip(*([list(keys)] if keys else []), *(column for _, column in columns), strict=True):
        table.add_row(*map(Text, cell_row))
    return table


def make_table(headings: Iterable[str]) -> Table:
    """Return an empty table in the style of all tables."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading)
    return table


def _show_struct(reply: msgspec.Struct, out: Console) -> None:
    plain = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    below: list[tuple[str, Table | msgspec.Struct]] = []
    for field in msgspec.structs.fields(reply):
        value = getattr(reply, field.name)
        if isinstance(value, msgspec.Struct):
            below.append((label(field.name), value))
        elif (table := _table_in(value)) is not None:
            below.append((label(field.name), table))
        elif (text := quantity(field.name, value)) != NOTHING:
            plain.add_row(Text(label(field.name), style="bold"), Text(text))
    if plain.row_count:
        out.print(plain)
    for title, part in below:
        out.print()
        out.print(Text(title, style="bold underline"))
        if isinstance(part, Table):
            out.print(part)
        else:
            _show_struct(part, out)


def _table_in(value: Any) -> Table | None:
    """Return the table that a field's value is; None if it is none, or has no rows."""
    if not value:
        return None
    if _are_structs(value):
        return table_of(value)
    if _are_structs_by_key(value):
        return table_of(list(value.values()), list(map(str, value)), "name")
    return _table_of_maps(value) if _are_maps(value) else None


def _are_structs(value: Any) -> TypeGuard[list[msgspec.Struct]]:
    return isinstance(value, list) and all(isinstance(one, msgspec.Struct) for one in cast("list[Any]", value))


def _are_maps(value: Any) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(value, list) and all(isinstance(one, dict) for one in cast("list[Any]", value))


def _are_structs_by_key(value: Any) -> TypeGuard[Mapping[str, msgspec.Struct]]:
    if not isinstance(value, dict) or not value:
        return False
    return all(isinstance(one, msgspec.Struct) for one in cast("dict[str, Any]", value).values())
