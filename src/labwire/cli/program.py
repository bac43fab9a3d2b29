"""A program of the command line: how it was called, and how it runs."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from cyclopts import App

from labwire.cli.failures import run_guarded


def run_program(app: App, argv: Sequence[str]) -> int:
    """Run a program and return its exit status; errors are told as `labwire.cli.failures` has it.

    Args:
        app: The program.
        argv: What was typed after its name.
    """
    arguments = list(argv)

    def call() -> object:
        return app(arguments, exit_on_error=False, print_error=False, result_action="return_value")

    return run_guarded(call, as_json=_wants_json(arguments), program=app.name[0])


def _wants_json(arguments: Sequence[str]) -> bool:
    ours = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in ours


def program_name() -> str:
    """Return what to type to call this program again: ``labwire``, or its path where the shell would not find it."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return f"{Path(sys.executable).name} -m labwire"
    path = called.with_name("labwire").absolute()  # it stands beside the other programs
    found = shutil.which("labwire")
    if not path.exists() or (found and Path(found).resolve() == path.resolve()):
        return "labwire"
    here = Path.cwd()
    return os.path.relpath(path, here) if path.is_relative_to(here) else str(path)
