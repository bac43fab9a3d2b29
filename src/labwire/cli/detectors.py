"""``labwire detectors``: which there are and what they do, and the operations on them."""

from __future__ import annotations

from rich.text import Text

from labwire.cli.connection import HERE, Connection
from labwire.cli.operation_commands import connect, service_app
from labwire.cli.output import console, write_json, write_line
from labwire.cli.show import make_table
from labwire.cli.units import NOTHING, size
from labwire.operations.detectors import Detectors, DetectorStatus

_HEADINGS = ("name", "state", "source", "stream", "addresses", "writers", "run", "images", "rate", "trouble")


def detectors(*, connection: Connection = HERE) -> None:
    """List the detectors of the rig: what they do, where their images go.

    Args:
        connection: The rig to talk to.
    """
    with connect(connection) as rig:
        rows = rig.service(Detectors, timeout_s=connection.timeout_s).list()
    if connection.json:
        write_json(rows)
        return
    if not rows:
        write_line("none")
        return
    table = make_table(_HEADINGS)
    for row in rows:
        table.add_row(*map(Text, _cells(row)))
    console().print(table)


def _cells(row: DetectorStatus) -> list[str]:
    known = row.run_number is not None
    troubles = [f"{count} {what}" for count, what in ((row.failed, "failed"), (row.dropped, "dropped")) if count]
    return [
        row.name,
        row.state,
        row.source or NOTHING,
        row.stream or NOTHING,
        ", ".join(row.addresses) or NOTHING,
        _writers(row),
        str(row.run_number) if known else NOTHING,
        f"{row.done_images}/{row.total_images}" if known else NOTHING,
        f"{row.images_per_s:.1f}/s, {size(row.bytes_per_s)}/s" if row.images_per_s else NOTHING,
        ", ".join(troubles) or (row.last_error if row.state in {"idle", "unreachable"} else "") or NOTHING,
    ]


def _writers(row: DetectorStatus) -> str:
    if row.sockets:  # in a run: those that take part in it
        return str(len(row.sockets))
    return NOTHING if row.writers is None else str(row.writers)


app = service_app(Detectors, instead={"list": detectors})
app.default(detectors)
