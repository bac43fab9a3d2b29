"""Who holds a TCP port, and how far behind a reader is: read from the system's own tables (Linux)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_LISTEN, _ESTABLISHED = 0x0A, 0x01
_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")


class Connection(NamedTuple):
    """One row of the system's TCP table."""

    local_port: int
    peer: str
    """``127.0.0.1:49152``."""
    state: int
    unsent_bytes: int
    """Sent by the program, not yet acknowledged by the peer's system."""
    inode: int


class PortOwner(NamedTuple):
    """The process that listens on a port."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"{self.command} (pid {self.pid})"


def connections(local_port: int) -> Iterator[Connection]:
    """Yield the established connections of a local port; nothing where the system does not tell."""
    for row in _rows():
        if row.local_port == local_port and row.state == _ESTABLISHED:
            yield row


def owner_of(port: int) -> PortOwner | None:
    """Return who listens on a TCP port, or None where that cannot be known."""
    inodes = {f"socket:[{row.inode}]" for row in _rows() if row.local_port == port and row.state == _LISTEN}
    if not inodes:
        return None
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # it may end meanwhile, or belong to somebody else
            if any(_link(entry) in inodes for entry in (process / "fd").iterdir()):
                return PortOwner(int(process.name), _command(process))
    return None


def _rows() -> Iterator[Connection]:
    for table in _TABLES:
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            local_port = int(fields[1].rpartition(":")[2], 16)
            yield Connection(
                local_port,
                _address(fields[2]),
                int(fields[3], 16),
                int(fields[4].partition(":")[0], 16),
                int(fields[9]),
            )


def _address(field: str) -> str:
    host, _, port = field.partition(":")
    if len(host) == 8:
        return f"{'.'.join(str(byte) for byte in reversed(bytes.fromhex(host)))}:{int(port, 16)}"
    return f"[{host}]:{int(port, 16)}"


def _link(entry: Path) -> str:
    try:
        return os.readlink(entry)
    except OSError:
        return ""


def _command(process: Path) -> str:
    words = (process / "cmdline").read_bytes().split(b"\0")
    return " ".join(word.decode("utf-8", "replace") for word in words[:3]).strip() or process.name
