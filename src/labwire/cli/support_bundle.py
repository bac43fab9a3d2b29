"""``labwire support-bundle``: one file that helps others to find out what went wrong."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from labwire.cli.connection import HERE, Connection
from labwire.cli.doctor import look_around
from labwire.cli.operation_commands import connect
from labwire.cli.output import remark, write_json, write_line
from labwire.cli.toml_text import to_toml
from labwire.errors import LabwireError
from labwire.rig.doctor import Scene, examine
from labwire.rig.rig_config import dump, without_secrets
from labwire.rig.support_bundle import SupportBundle, logs, sessions, versions


def support_bundle(
    rig: Annotated[Path | None, Parameter(name="RIG.toml")] = None,
    /,
    *,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    connection: Connection = HERE,
) -> None:
    """Collect what helps to find out what went wrong: rig file without secrets, versions, doctor, logs, bus statistics.

    Args:
        rig: The rig file; without one, the rig that runs, or the demo rig.
        output: The zip file to write; by default labwire-support-TIME.zip here.
        connection: The rig to talk to.
    """
    target = output or Path(time.strftime("labwire-support-%Y%m%d-%H%M%S.zip"))
    bundle = SupportBundle()
    bundle.add("versions.json", versions)
    try:
        scene = look_around(rig, connection)
    except LabwireError as error:  # a rig file that is wrong is what the bundle may be about
        bundle.missing["rig.toml"] = error.message
        if rig and rig.is_file():
            bundle.add("rig-file.txt", lambda: without_secrets(rig.read_text("utf-8", "replace")))
    else:
        _add_rig(bundle, scene, connection)
    bundle.write(target)
    if connection.json:
        write_json({"file": str(target), "files": list(bundle.files), "missing": bundle.missing})
        return
    write_line(str(target))
    remark(f"{len(bundle.files)} files" + (f"; missing: {', '.join(bundle.missing)}" if bundle.missing else ""))
    remark("secrets in the rig file are hidden; look through the logs before you pass it on")


def _add_rig(bundle: SupportBundle, scene: Scene, connection: Connection) -> None:
    config = scene.config
    bundle.add("rig.toml", lambda: to_toml(dump(config)))
    bundle.add("doctor.json", lambda: examine(scene))
    if scene.status:
        bundle.add("status.json", lambda: scene.status)
        bundle.add("bus-stats.jsonl", lambda: _ask(connection, "bus", "history"))
        bundle.add("last-notifications.jsonl", lambda: _last_notifications(connection))
        if config.instruments:
            bundle.add("instruments.json", lambda: _ask(connection, "instruments", "list"))
    else:
        bundle.missing["status.json"] = "no rig answers"
    for name, read in logs(Path(config.log.file_path(config.name))):
        bundle.add(name, read)
    if config.recorder:
        for name, read in sessions(Path(config.recorder.root)):
            bundle.add(name, read)


def _ask(connection: Connection, service: str, operation: str) -> object:
    with connect(connection) as rig:
        return getattr(getattr(rig, service), operation)()


def _last_notifications(connection: Connection) -> object:
    with connect(connection) as rig:
        return rig.bus.last("notify.")
