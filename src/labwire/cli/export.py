"""``labwire export``: a session in the formats of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from labwire.cli.connection import HERE, Connection
from labwire.cli.moments import Moment
from labwire.cli.output import remark, write_json
from labwire.cli.session_place import find_folder


def export(
    session: str,
    /,
    *,
    to: Literal["parquet", "csv", "mcap"],
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    topics: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=True)] = (),
    from_s: Annotated[Moment, Parameter(name="--from")] = 0.0,
    until: Moment | None = None,
    root: Path | None = None,
    connection: Connection = HERE,
) -> None:
    """Write a session in the formats of other tools, with units and one time axis; a rig need not run.

    Args:
        session: Folder of the session, or its name and number.
        to: parquet and csv: a file for each topic. mcap: one file whose payloads are JSON, with the pictures.
        out: Folder to make; by default the session's name, its number and the format, in this folder.
        topics: Only topics that begin so.
        from_s: Only what came from here on, counted from the start of the session: 10s, 2m30s.
        until: Only what came before this moment.
        root: Look for the session in this folder of recordings.
        connection: The rig to talk to.
    """
    from labwire.cli.progress import progress_bar
    from labwire.sessions.reading.export import export_session

    folder = find_folder(session, None, root, connection)
    target = out or Path(f"{folder.parent.name}_{folder.name}_{to}".replace(" ", "_"))
    with progress_bar(quiet=connection.json) as report:
        exported = export_session(
            folder,
            target.absolute(),
            to=to,
            topics=topics or ("",),
            from_s=from_s,
            to_s=float("inf") if until is None else until,
            report=report,
        )
    if connection.json:
        write_json(exported)
        return
    from labwire.cli.session_text import show_exported

    show_exported(exported)
    skipped = f", {exported.skipped} that are no map left out" if exported.skipped else ""
    remark(f"labwire: {exported.messages} messages in {exported.path}{skipped}")
