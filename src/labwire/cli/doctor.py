"""``labwire doctor``: what would keep a rig from running well on this computer."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.text import Text

from labwire.bus.ports import owner_of
from labwire.cli.connection import HERE, Connection
from labwire.cli.operation_commands import connect
from labwire.cli.output import console, write_json
from labwire.errors import LabwireError
from labwire.rig.demo import demo_config
from labwire.rig.doctor import Scene, Section, examine, wanted_ports
from labwire.rig.finding import Level
from labwire.rig.rig_config import RigConfig, fold_options
from labwire.rig.rig_file import load_rig

_COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}
_ANSWER_S = 2.0


def doctor(rig: Annotated[Path | None, Parameter(name="RIG.toml")] = None, /, *, connection: Connection = HERE) -> int:
    """Look for what would keep a rig from running well on this computer.

    Args:
        rig: The rig that is to run; without a rig file, the demo rig.
        connection: The rig to talk to.
    """
    sections = examine(look_around(rig, connection))
    levels = [finding.level for section in sections for finding in section.findings]
    failed, warned = levels.count(Level.FAIL), levels.count(Level.WARN)
    if connection.json:
        write_json({"sections": sections, "failed": failed, "warned": warned})
    else:
        show(sections, console())
    return 1 if failed else 0


def look_around(rig: Path | None, connection: Connection) -> Scene:
    """Return what the checks need to know: the rig that is to run, who holds its ports, the rig that runs."""
    config = load_rig(rig) if rig else demo_config(overrides={"remote.port": connection.port})
    owners = {port: owner_of(port) for port in wanted_ports(config) if is_taken(port)}
    scene = Scene(config, owners=owners)
    port = config.remote.port or connection.port
    return ask_rig(scene, Connection(host=connection.host, port=port, timeout_s=_ANSWER_S)) if owners else scene


def ask_rig(scene: Scene, connection: Connection) -> Scene:
    """Add what the rig that runs says of itself; nothing if none answers."""
    try:
        with connect(connection) as rig:
            config = msgspec.convert(fold_options(rig.rig.config()), RigConfig)
            scene = msgspec.structs.replace(scene, status=rig.rig.status(), config=config)
            last = rig.bus.last("recorder.state")
            recorder: dict[Any, Any] = last[0].payload if last else {}
            return msgspec.structs.replace(scene, stats=rig.bus.stats(), recorder=recorder)
    except LabwireError:  # somebody else's port, or a rig that does not answer: the checks say what is known
        return scene


def is_taken(port: int) -> bool:
    """Tell whether somebody listens on a port of this computer."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port whose rig has just ended is free
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def show(sections: list[Section], out: Console) -> None:
    """Print the findings for people."""
    width = max(len(section.title) for section in sections)
    for section in sections:
        for place, finding in enumerate(section.findings):
            title = section.title if not place else ""
            line = Text.assemble(
                (f"{finding.level.value:<5}", _COLOURS[finding.level]), (f"{title:<{width}}  ", "bold"), finding.text
            )
            out.print(line, soft_wrap=True)
            if finding.advice:
                out.print(Text(f"{'':<{width + 7}}-> {finding.advice}"), soft_wrap=True)
    levels = [finding.level for section in sections for finding in section.findings]
    failed, warned = levels.count(Level.FAIL), levels.count(Level.WARN)
    out.print(Text(f"{failed} fail, {warned} to look at, {len(levels) - failed - warned} fine"))
