"""The command ``labwire``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, cast

from cyclopts import App

from labwire.cli.commands import SETUP, commands
from labwire.cli.program import run_program
from labwire.version import __version__


def make_app() -> App:
    """Return the whole command line; the modules of its commands are not imported yet."""
    app = App(
        name="labwire",
        help="One message bus, one clock, open files: the software that a lab rig runs on.\n\n"
        "Nothing runs yet? `labwire run` starts the demo rig, and says what to try next.",
        version=__version__,
        group_commands=SETUP,
        suppress_keyboard_interrupt=False,
    )
    for place, command in enumerate(commands()):
        app.command(command.target, name=command.name, group=command.group, help=command.help, sort_key=place)
    install = cast("Any", app).register_install_completion_command  # its keyword arguments have no types
    install(group=SETUP, help="Install the completion of commands for your shell.")
    return app


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
        argv: What was typed after ``labwire``; None means the arguments of this process.
    """
    sys.exit(run_program(make_app(), sys.argv[1:] if argv is None else argv))
