"""How this program was called: for the commands that it tells people to type."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def program_name() -> str:
    """Return what to type to call this program again: ``labwire``, or its path where the shell would not find it."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return f"{Path(sys.executable).name} -m labwire"
    found = shutil.which(called.name)
    if called.name != "labwire" or (found and Path(found).resolve() == called.resolve()):
        return "labwire"
    path = called.absolute()
    here = Path.cwd()
    return os.path.relpath(path, here) if path.is_relative_to(here) else str(path)
