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
    return built("g++ -std=c++17 -O2 -Wall -Wextra", FOLDER / "boost_peer.cpp")


def posix_peer() -> Path:
    """Return the program `posix_peer`; its modes stand at the top of posix_peer.c."""
    return built("cc -std=gnu11 -O2 -Wall -Wextra", FOLDER / "posix_peer.c")


@cache
def _no_boost() -> str:
    if shutil.which("g++") is None:
        return "no C++ compiler"
    command = ["g++", "-x", "c++", "-fsyntax-only", "-"]
    found = subprocess.run(command, input=_BOOST, text=True, capture_output=True, check=False).returncode == 0
    return "" if found else "no Boost: apt install libboost-dev"


@cache
def built(command: str, *sources: Path, watched: tuple[Path, ...] = ()) -> Path:
    """Return the program that a compiler makes of some files; made once for each content of them.

    Args:
        command: The compiler and its options.
        sources: The files; the program is named like the first.
        watched: Files that they include.
    """
    compiler, *options = command.split()
    if shutil.which(compiler) is None:
        pytest.skip(f"no compiler: {compiler}")
    content = b"".join(path.read_bytes() for path in (*sources, *watched)) + command.encode()
    program = _CACHE / f"{sources[0].stem}-{hashlib.sha256(content).hexdigest()[:16]}"
    if not program.exists():
        _CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_CACHE) as folder:
            made = Path(folder) / sources[0].stem
            subprocess.run([compiler, *options, *map(str, sources), "-o", str(made), "-pthread", "-lrt"], check=True)
            made.replace(program)  # at once: another run may build the same
    return program
