"""``instrument-server --config FILE``: just the instruments of a rig.

Source: instrument-ipc, "Debugging".
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import App, Parameter

from labwire.cli.connection import JsonFlag
from labwire.cli.output import remark, write_json, write_line
from labwire.cli.program import program_name, run_program
from labwire.errors import ConfigError
from labwire.instruments.linux import check_linux
from labwire.version import __version__

if TYPE_CHECKING:
    from labwire.rig.rig_config import RigConfig

_STDERR = 2


def serve(
    *,
    config: Annotated[Path, Parameter(name="--config")],
    remote_port: int | None = None,
    json: JsonFlag = False,
) -> int:
    """Start the instruments of a rig, and nothing else of it.

    They are commanded as in the whole rig: `labwire call NAME VERB key=value`. INSTRUMENT_IPC_DEBUG=1 in the
    environment logs all traffic between the server and its workers.

    Args:
        config: The rig file; its tables [instruments.NAME] count.
        remote_port: Port of the Remote, whatever the rig file says; 0 takes any free one.
        json: When ready, print one line of JSON with the addresses; log nothing here.
    """
    check_linux("instrument-server")
    rig = instruments_of(config, remote_port)

    from labwire.cli.banner import banner
    from labwire.rig.hub import Hub

    hub = Hub(
        rig,
        folder=str(config.absolute().parent),
        on_ready=write_json if json else lambda ready: write_line(banner(ready, rig, program_name())),
        say=lambda text: remark(f"instrument-server: {text}"),
        console_fd=None if json else _STDERR,
    )
    return hub.run()


def instruments_of(file: Path, remote_port: int | None = None) -> RigConfig:
    """Return a rig that has the instruments of a rig file, its addresses and its log, and nothing else.

    Raises:
        ConfigError: The rig file is wrong, or has no instruments.
    """
    from labwire.rig.rig_config import RigConfig
    from labwire.rig.rig_file import load_rig

    rig = load_rig(file, {} if remote_port is None else {"remote.port": remote_port})
    if not rig.instruments:
        raise ConfigError(f"{file} has no instruments: an instrument is a table [instruments.NAME]", file=str(file))
    kept = {key: getattr(rig, key) for key in ("name", "remote", "bus", "network", "log", "instruments")}
    return RigConfig(**kept, web=msgspec.structs.replace(rig.web, enabled=False))


def main() -> None:
    """Run the program and exit."""
    app = App(name="instrument-server", version=__version__, help=serve.__doc__)
    app.default(serve)
    sys.exit(run_program(app, sys.argv[1:]))
