"""``labwire discover``: the rigs of the local network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from labwire.cli.connection import DEFAULT_PORT, JsonFlag
from labwire.cli.output import console, remark, write_json

if TYPE_CHECKING:
    from labwire.bus.discovery import FoundRig

DEFAULT_S = 2.5


def discover(
    *, seconds: Annotated[float, Parameter(validator=Number(gt=0, lte=3600))] = DEFAULT_S, json: JsonFlag = False
) -> int:
    """List the rigs of the local network that listen beyond their own computer.

    Args:
        seconds: How long to wait for answers.
        json: Print JSON.
    """
    from labwire.bus.discovery import find_rigs

    rigs = find_rigs(seconds)
    if json:
        write_json(rigs)
    elif rigs:
        show(rigs)
    else:
        remark("no rig answers; only rigs that listen beyond their own computer ([network] listen) can be found")
    return 0 if rigs else 1


def show(rigs: list[FoundRig]) -> None:
    """Print rigs as a table, with the options that reach each."""
    from rich.text import Text

    from labwire.cli.show import make_table

    table = make_table(["name", "computer", "version", "reach it with"])
    for rig in rigs:
        host = rig.addresses[0] if rig.addresses else rig.host
        port = "" if rig.port == DEFAULT_PORT else f" --port {rig.port}"
        table.add_row(*map(Text, (rig.name, rig.host, rig.version, f"labwire status --host {host}{port}")))
    console().print(table)
