"""Foreign peers in C and C++, built when a test first needs them; a test is skipped, visibly, where that cannot be."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
_CACHE = FOLDER.parents[1] / ".pytest_cache" / "peers"
_BOOST = "#include <boost/interprocess/ipc/message_queue.hpp>\n"


def boost_peer() -> Path:
    """Return the program `boost_peer`; its modes stand at the top of boost_peer.cpp."""
    if reason := _no_boost():
        pytest.skip(reason)
    return _built("boost_peer.cpp", "g++", "-std=c++17", "-O2", "-Wall", "-Wextra")


def posix_peer() -> Path:
    """Return the program `posix_peer`; its modes stand at the top of posix_peer.c."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    return _built("posix_peer.c", "cc", "-std=gnu11", "-O2", "-Wall", "-Wextra")


@cache
def _no_boost() -> str:
    if shutil.which("g++") is None:
        return "no C++ compiler"
    command = ["g++", "-x", "c++", "-fsyntax-only", "-"]
    found = subprocess.run(command, input=_BOOST, text=True, capture_output=True, check=False).returncode == 0
    return "" if found else "no Boost: apt install libboost-dev"


@cache
def _built(source: str, *command: str) -> Path:
    path = FOLDER / source
    name = hashlib.sha256(path.read_bytes() + " ".join(command).encode()).hexdigest()[:16]
    program = _CACHE / f"{path.stem}-{name}"
    if not program.exists():
        _CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_CACHE) as folder:
            made = Path(folder) / path.stem
            subprocess.run([*command, str(path), "-o", str(made), "-pthread", "-lrt"], check=True)
            made.replace(program)  # at once: another run may build the same
    return program
