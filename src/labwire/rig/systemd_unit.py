"""A rig as a service of the user: the unit file for systemd, and the word that the rig is ready."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Sequence
from pathlib import Path

STOP_S = 30
"""Longer than the rig itself gives its actors to finish: a session is closed, not cut off."""
_START_S = 90


def unit_name(rig_name: str) -> str:
    """Return the name of the service of a rig."""
    return f"labwire-{rig_name}.service"


def unit_text(rig_name: str, file: Path, command: Sequence[str]) -> str:
    """Return the unit file of a rig.

    Args:
        rig_name: Name of the rig.
        file: The rig file, absolute.
        command: What starts labwire: the interpreter and ``-m labwire``, for instance.
    """
    started = " ".join(map(_quoted, [*command, "run", str(file)]))
    return f"""\
# Written by `labwire service install`. A rig that ends with an error is started again; a wrong rig file is not.
[Unit]
Description=labwire rig {rig_name}
Documentation=man:systemd.service(5)
StartLimitIntervalSec=300
StartLimitBurst=10

[Service]
Type=notify
NotifyAccess=main
ExecStart={started}
WorkingDirectory={_plain(str(file.parent))}
Restart=on-failure
RestartSec=2
RestartPreventExitStatus=3
TimeoutStartSec={_START_S}
TimeoutStopSec={STOP_S}
KillMode=mixed
LimitNOFILE=65536

[Install]
WantedBy=default.target
"""


def units_folder() -> Path:
    """Return where the unit files of this user are."""
    named = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    return (named if named.is_absolute() else Path.home() / ".config") / "systemd" / "user"


def tell_systemd(state: str = "READY=1") -> bool:
    """Tell systemd that the rig is ready; False if it was not started by systemd.

    *Source:* sd_notify(3): one datagram to the socket that NOTIFY_SOCKET names.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifier:
        notifier.connect("\0" + address[1:] if address.startswith("@") else address)
        notifier.send(state.encode())
        return True
    return False


def _quoted(word: str) -> str:
    """Quote a word of a command line as systemd.service(5) has it."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{_plain(escaped)}"'


def _plain(text: str) -> str:
    return text.replace("%", "%%")
