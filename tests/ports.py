"""Ports for tests that close one and listen there again."""

from __future__ import annotations

import random
import socket

LOWEST, HIGHEST = 20_000, 32_000
"""Below what systems give to outgoing connections and to port 0: Linux from 32,768, others from 49,152."""
_CHOICE = random.SystemRandom()  # not the seed of the run: runs beside each other must differ


def lasting_port() -> int:
    """Return a port on which nobody listens, and which no connection is given by chance before the test listens."""
    while True:
        port = _CHOICE.randrange(LOWEST, HIGHEST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
