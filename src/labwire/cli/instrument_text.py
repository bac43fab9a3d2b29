"""What instruments say and can do, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from labwire.cli.output import to_json
from labwire.cli.show import make_table
from labwire.cli.units import NOTHING, duration, quantity
from labwire.client.verb_method import describe_parameter
from labwire.errors import MissingExtraError
from labwire.operations.instrument_api import InstrumentApi, Verb
from labwire.operations.instruments import Array, InstrumentStatus

if TYPE_CHECKING:
    from rich.table import Table

_SHOWN_CHARS = 2000
_TROUBLE = {"stuck": "yellow", "backing_off": "yellow", "waiting": "yellow", "given_up": "red", "stopped": "dim"}


def value_text(value: Any, unit: str = "") -> str:
    """Return what a command returned: ``3.14159 V``; nothing for None."""
    match value:
        case None:
            return ""
        case Array():
            return array_text(value)
        case bool() | str():
            text = quantity("", value)
        case float() | int():
            text = repr(value)
        case _:
            text = to_json(value)
    text = text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
    return f"{text} {unit}".rstrip()


def array_text(array: Array) -> str:
    """Return an array in one line: ``float32 (1000,), -1 to 1, mean 0.02``; without numpy, type and shape."""
    shape = f"({', '.join(map(str, array.shape))}{',' if len(array.shape) == 1 else ''})"
    try:
        values = array.numpy()
    except MissingExtraError:
        return f"{array.dtype} {shape}"
    text = f"{values.dtype} {shape}"
    if values.size and values.dtype.kind in "iuf":
        text += f", {values.min():g} to {values.max():g}, mean {values.mean():g}"
    return text


def status_table(rows: Sequence[InstrumentStatus]) -> Table:
    """Return a table of instruments; columns that say nothing are left out."""
    columns: dict[str, list[Text]] = {
        "name": [Text(row.name) for row in rows],
        "state": [Text(_state(row), style=_TROUBLE.get(row.state, "")) for row in rows],
        "driver": [Text(row.driver.rpartition(":")[2] or ("(external)" if row.external else NOTHING)) for row in rows],
        "queue": [Text(row.queue) for row in rows],
        "pid": [Text(quantity("", row.pid)) for row in rows],
        "up": [Text(duration(row.uptime_s) if row.uptime_s is not None else NOTHING) for row in rows],
        "ok": [Text(str(row.ok)) for row in rows],
        "failed": [_count(row.failed) for row in rows],
        "timed out": [_count(row.timed_out) for row in rows],
        "waiting": [_count(row.waiting) for row in rows],
        "restarts": [_count(row.restarts) for row in rows],
        "not on the bus": [_count(row.dropped) for row in rows],
    }
    shown = {heading: cells for heading, cells in columns.items() if any(cell.plain not in {"", "-"} for cell in cells)}
    table = make_table(shown)
    for cells in zip(*shown.values(), strict=True):
        table.add_row(*cells)
    return table


def error_lines(rows: Sequence[InstrumentStatus]) -> Iterator[Text]:
    """Yield a line for each instrument that had trouble: an error is too long for a column, and must not be cut."""
    for row in rows:
        if row.last_error:
            yield Text.assemble(f"{row.name}: ", (row.last_error, _TROUBLE.get(row.state, "")))


def _state(row: InstrumentStatus) -> str:
    if row.stuck_s is not None:
        return f"stuck since {duration(row.stuck_s)}"
    if row.starts_again_in_s is not None:
        return f"{row.state}, starts in {row.starts_again_in_s:.1f} s"
    return row.state


def _count(number: int) -> Text:
    return Text(str(number) if number else NOTHING)


def api_text(name: str, api: InstrumentApi) -> Iterator[str]:
    """Yield the lines that tell what an instrument can do."""
    about = api.doc.partition("\n")[0]
    yield f"{name}{f' ({api.driver})' if api.driver else ''}{f': {about}' if about else ''}"
    if not api.verbs:
        yield "  It does not tell what it can do: any verb is sent as it is."
    for verb in api.verbs:
        yield ""
        yield f"  {usage(verb)}"
        if about := verb.doc.partition("\n")[0]:
            yield f"      {about}"
        for parameter in verb.parameters:
            text = describe_parameter(parameter)
            yield f"      {parameter.name}: {parameter.type}{f', {text}' if text else ''}"


def usage(verb: Verb) -> str:
    """Return how a verb is called: ``MEASURE_VOLTAGE range=FLOAT [samples=INT] -> float V``."""
    words = [
        text if parameter.required else f"[{text}]"
        for parameter in verb.parameters
        for text in [f"{parameter.name}={parameter.type.upper()}"]
    ]
    returns = "" if verb.returns == "none" else f" -> {f'{verb.returns} {verb.unit}'.rstrip()}"
    return " ".join([verb.name, *words]) + returns + (", block after block" if verb.continuous else "")
