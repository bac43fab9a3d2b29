"""Work in a process of its own: ``python -m <module> <order as JSON>``.

What computes for seconds would hold up the live path in the web server's process. Apart, it gives way to all others.
It ends when its standard input does: that is held by the server, which it does not outlive.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import msgspec

_NICE = 10
_STDIN = 0


def begin_apart(module: str, order: msgspec.Struct) -> subprocess.Popen[bytes]:
    """Start a module with its order; read what it tells from standard output, and keep standard input open."""
    command = [sys.executable, "-m", module, msgspec.json.encode(order).decode()]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def give_way() -> None:
    """In the process: let all others go first, and end with the server."""
    if hasattr(os, "nice"):
        os.nice(_NICE)
    threading.Thread(target=_end_with_the_server, name="lifeline", daemon=True).start()


def _end_with_the_server() -> None:
    os.read(_STDIN, 1)
    os._exit(1)
