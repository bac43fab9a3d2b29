"""The command ``labwire``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, cast

from cyclopts import App

from labwire.cli.commands import SETUP, commands
from labwire.cli.failures import run_guarded
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
    arguments = list(sys.argv[1:] if argv is None else argv)
    app = make_app()

    def call() -> object:
        return app(arguments, exit_on_error=False, print_error=False, result_action="return_value")

    sys.exit(run_guarded(call, as_json=_wants_json(arguments)))


def _wants_json(arguments: Sequence[str]) -> bool:
    ours = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in ours
