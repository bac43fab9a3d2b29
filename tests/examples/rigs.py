"""The rigs that come as examples, on ports and with names that no other run of the tests has."""

from __future__ import annotations

import os
from pathlib import Path

from tests.ports import lasting_port

RIGS = Path(__file__).parents[2] / "examples" / "rigs"


def of_this_test(name: str) -> str:
    """Return an example with ports that are free, and names that other runs of the tests do not have."""
    text = (RIGS / f"{name}.toml").read_text()
    for instrument in ("DMM1", "SCOPE1", "CRASH1"):
        text = text.replace(instrument, f"{instrument}x{os.getpid()}")
    for port in ("9100", "5400"):
        text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{lasting_port()}")
    return text.replace("[recorder]", "[recorder]\ndisk_warn_bytes = 0\ndisk_stop_bytes = 0")
