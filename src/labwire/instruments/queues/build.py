"""Compile the C part of the queues: ``python -m labwire.instruments.queues.build``. Runs at installation as well.

It is a plain shared library, loaded through ctypes: no header of Python is needed, and one file serves every version.
This module imports nothing of labwire, as it runs before labwire is installed.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
SOURCES = FOLDER / "native"
LIBRARY = FOLDER / "libqueues.so"
_FLAGS = ("-std=gnu11", "-O2", "-fPIC", "-shared", "-pthread", "-Wall", "-Wextra", "-fvisibility=hidden")


class BuildError(Exception):
    """It could not be compiled; the text says what to do."""


def source_hash() -> str:
    """Return a hash of the C files, which the library carries as well."""
    digest = hashlib.sha256()
    for path in sorted(SOURCES.glob("*.[ch]")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def compile_library(library: Path = LIBRARY) -> Path:
    """Compile the library; the old one is replaced at once, so that processes that use it are not disturbed.

    Raises:
        BuildError: Not Linux, no compiler, or it fails.
    """
    if sys.platform != "linux":
        raise BuildError(f"the C part of the queues is for Linux, not {sys.platform}")
    compiler = shlex.split(os.environ.get("CC") or "cc")
    if shutil.which(compiler[0]) is None:
        raise BuildError(f"no C compiler ({compiler[0]}) was found: install one, on Debian and Ubuntu: apt install gcc")
    with tempfile.TemporaryDirectory(dir=library.parent, prefix=".build-") as folder:
        made = Path(folder) / library.name
        files = [str(path) for path in sorted(SOURCES.glob("*.c"))]
        command = [*compiler, *_FLAGS, f'-DLW_SOURCES="{source_hash()}"', *files, "-o", str(made)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BuildError(f"{shlex.join(command)} failed; it needs glibc 2.30 or newer:\n{done.stderr.strip()}")
        made.replace(library)
    return library


if __name__ == "__main__":
    try:
        print(compile_library())  # noqa: T201  # a program's answer
    except BuildError as failure:
        sys.exit(str(failure))
