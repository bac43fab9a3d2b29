"""``labwire config``: make, check and show rig files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import App, Group, Parameter

from labwire.cli.connection import HERE, Connection, JsonFlag
from labwire.cli.fields import parse_fields
from labwire.cli.operation_commands import connect
from labwire.cli.output import to_json, write_json, write_line
from labwire.cli.toml_text import to_toml
from labwire.operations.rig import RigChanges
from labwire.rig.demo import DEMO_TOML
from labwire.rig.rig_classes import check_classes
from labwire.rig.rig_config import RigConfig, named_parts, single_parts
from labwire.rig.rig_file import default_toml, dump, load_rig, parse_rig, schema

app = App(
    name="config", help="Make, check and show rig files; change the rig that runs.", group_commands=Group("Commands")
)

_IN_WORDS = {"file_ipc": "file backend", "time_sync": "time sync"}

RigFile = Annotated[Path, Parameter(name="RIG.toml")]


@app.command(sort_key=0)
def default(*, demo: Annotated[bool, Parameter(negative="")] = False, json: JsonFlag = False) -> None:
    """Print a rig file with every option, its default and its meaning: `labwire config default > rig.toml`.

    Args:
        demo: Print the demo rig instead: short, and a rig that runs.
        json: Print the options and their values as JSON.
    """
    text = DEMO_TOML if demo else default_toml()
    if json:
        write_json(dump(parse_rig(text)))
    else:
        write_line(text.rstrip("\n"))


@app.command(sort_key=1)
def check(rig: RigFile, /, *, json: JsonFlag = False) -> None:
    """Check a rig file: all mistakes at once, each with its line.

    Drivers and actors are looked at, too: class and options. Yours are imported for it, in a process of its own.

    Args:
        rig: The rig file.
        json: Print JSON; the mistakes are in `data` of the error.
    """
    config = load_rig(rig, also=lambda config: check_classes(config, rig.absolute().parent))
    parts = parts_of(config)
    if json:
        write_json({"file": str(rig), "name": config.name, "parts": parts})
    else:
        write_line(f'{rig} is fine: rig "{config.name}" with {", ".join(parts) or "nothing in it yet"}')


@app.command(name="schema", sort_key=2)
def show_schema(*, json: JsonFlag = False) -> None:
    """Print the JSON Schema of rig files, for editors that check and complete TOML.

    Args:
        json: Print it on one line.
    """
    text = to_json(schema())
    write_line(text if json else msgspec.json.format(text, indent=2))


@app.command(sort_key=3)
def show(rig: Annotated[Path | None, Parameter(name="RIG.toml")] = None, /, *, connection: Connection = HERE) -> None:
    """Show a configuration with all defaults, as TOML: that of the running rig, or of a rig file.

    Args:
        rig: The rig file; without one, the rig that runs.
        connection: The rig to talk to.
    """
    if rig:
        tree: dict[str, Any] = dump(load_rig(rig))
    else:
        with connect(connection) as running:
            tree = running.rig.config()
    if connection.json:
        write_json(tree)
    else:
        write_line(to_toml(tree).rstrip("\n"))


@app.command(sort_key=4)
def add(part: str, /, *options: str, connection: Connection = HERE) -> None:
    """Add a part to the rig that runs; its rig file stays as it is. Example: `labwire config add cameras.top camera=0`.

    Args:
        part: Its table in a rig file: cameras.top, instruments.DMM2, recorder.
        options: The keys of that table, key=value; a value is JSON if it can be read so, otherwise text.
        connection: The rig to talk to.
    """
    with connect(connection) as running:
        show_changes(running.rig.add(part, parse_fields(options)), connection)


@app.command(sort_key=5)
def remove(name: str, /, *, connection: Connection = HERE) -> None:
    """Take a part out of the rig that runs; its rig file stays as it is.

    Args:
        name: Of the part: top or cameras.top, recorder.
        connection: The rig to talk to.
    """
    with connect(connection) as running:
        show_changes(running.rig.remove(name), connection)


@app.command(sort_key=6)
def reload(*, connection: Connection = HERE) -> None:
    """Make the rig that runs what its rig file says now; parts that are as they were go on untouched.

    Args:
        connection: The rig to talk to.
    """
    with connect(connection) as running:
        show_changes(running.rig.reload(), connection)


def show_changes(changes: RigChanges, connection: Connection) -> None:
    """Print what has changed in a rig."""
    if connection.json:
        write_json(changes)
        return
    rows = [("added", changes.added), ("removed", changes.removed), ("changed", changes.changed)]
    said = [f"{what}: {', '.join(parts)}" for what, parts in rows if parts] or ["nothing has changed"]
    if changes.waiting:
        said.append(f"these count when the rig is started again: {', '.join(changes.waiting)}")
    for line in said:
        write_line(line)


def parts_of(config: RigConfig) -> list[str]:
    """Return what a rig is made of, in the order of the rig file."""
    named = [f"{kind.removesuffix('s')} {name}" for kind in named_parts() for name in getattr(config, kind)]
    return [*named, *(_IN_WORDS.get(kind, kind) for kind in single_parts() if getattr(config, kind) is not None)]
