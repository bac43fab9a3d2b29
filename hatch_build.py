"""Build step of the package: compile the C part of the instrument queues into it."""

from __future__ import annotations

import runpy
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUILDER = Path("src/labwire/instruments/queues/build.py")


class QueuesBuildHook(BuildHookInterface):
    """Compiles; without a compiler the package installs all the same, and says at use what is missing."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before the files are collected, and tag the wheel for its platform; any Python 3 can load it."""
        if sys.platform != "linux":
            return
        builder = runpy.run_path(str(Path(self.root) / BUILDER))
        try:
            library = builder["compile_library"]()
        except builder["BuildError"] as error:
            self.app.display_warning(f"labwire: instruments will not work: {error}")
            return
        build_data["artifacts"].append(str(library.relative_to(self.root)))
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
