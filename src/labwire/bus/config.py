"""What a rig file may say about the bus, the Remote, the network and the log."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from labwire.strict import Strict
from labwire.wire.remote_command import ReplyStyle

Port = Annotated[int, Meta(ge=0, le=65535)]


class RemoteConfig(Strict):
    """The Remote: the ``[remote]`` table of a rig file."""

    port: Port = 50020
    """Port of the Remote; 0 takes any free one. 50020 is where Pupil Core clients look first."""
    replies: ReplyStyle = "spec"
    """Wording of confirmations: "spec" says 'Notification received' for notifications, "pupil3" 'Message forwarded.'
    for everything, as newer Pupil Core does."""


class BusConfig(Strict):
    """The bus: the ``[bus]`` table of a rig file."""

    pub_port: Port = 0
    """Where publishers connect; 0 takes any free port. Fix it for firewalls, SSH tunnels and containers."""
    sub_port: Port = 0
    """Where subscribers connect; 0 takes any free port."""
    push_port: Port = 0
    """Where messages can be pushed that must not be lost; 0 takes any free port."""
    rpc_port: Port = 0
    """Where operations are asked for; 0 takes any free port."""
    slow_subscriber_s: Annotated[float, Meta(ge=0.1, le=3600.0)] = 2.0
    """A reader that takes nothing for so many seconds is cut, and comes back to fresh data."""
    max_message_bytes: Annotated[int, Meta(ge=1 << 16, le=1 << 31)] = 128 << 20
    """A peer that sends a larger part is cut."""


class NetworkConfig(Strict):
    """Who may reach the rig: the ``[network]`` table of a rig file."""

    listen: str = "127.0.0.1"
    """IPv4 address to listen on: 127.0.0.1 is this computer only, 0.0.0.0 is every network it is on."""
    allow: list[str] = []
    """Networks that may connect, as "192.168.1.0/24"; needed to listen beyond this computer.
    This computer itself is always allowed."""
    advertise: bool = True
    """Tell the local network where the rig is, so that `labwire discover` finds it: only if it listens beyond this
    computer, and the extra `discover` is installed."""

    @property
    def exposed(self) -> bool:
        """True if other computers can reach the rig."""
        return not ipaddress.ip_address(self.listen).is_loopback


class WebConfig(Strict):
    """The dashboard and the HTTP API: the ``[web]`` table of a rig file."""

    enabled: bool = True
    """false runs the rig without them."""
    listen: str = "127.0.0.1"
    """IPv4 address to listen on. Beyond this computer people need the token; [network] allow counts if it is set."""
    port: Port | None = None
    """Port of the page; 0 takes any free one. Not set means 8080, or any free one where that is taken."""
    read_only: bool = False
    """true lets people look, and change nothing."""
    names: list[str] = []
    """Names that the page is opened by, as "bench.lab"; its addresses and the name of this computer need not stand
    here. Another name is refused, because it may be a trap."""
    token_file: str = ""
    """Holds the token; made where it is missing. Empty means labwire/token/NAME in the user's state folder."""
    certificate: str = ""
    """Certificate file (PEM), for https."""
    key: str = ""
    """Its key file (PEM)."""

    @property
    def exposed(self) -> bool:
        """True if other computers can reach it."""
        return not ipaddress.ip_address(self.listen).is_loopback

    def token_path(self, rig_name: str) -> str:
        """Return the absolute path of the token file of a rig; nothing is created."""
        return str(Path(self.token_file or state_folder() / "labwire" / "token" / rig_name).expanduser().absolute())


class LogConfig(Strict):
    """The log file and what is logged onto the bus: the ``[log]`` table of a rig file."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    """Least serious level that is published, printed and written."""
    folder: str = ""
    """Folder of the log files; empty means labwire/log in the user's state folder ($XDG_STATE_HOME)."""
    max_bytes: Annotated[int, Meta(ge=1 << 16)] = 10_000_000
    """The log file is put aside and begun anew at this size."""
    backups: Annotated[int, Meta(ge=0, le=1000)] = 5
    """How many log files that were put aside are kept."""

    def file_path(self, rig_name: str) -> str:
        """Return the absolute path of the log file of a rig; nothing is created."""
        return str(Path(self.folder or state_folder() / "labwire" / "log").expanduser().absolute() / f"{rig_name}.log")


def state_folder() -> Path:
    """Return the folder for what programs keep of this user: ``$XDG_STATE_HOME``, by default ``~/.local/state``."""
    # XDG Base Directory Specification: a relative path there is to be ignored.
    named = Path(os.environ.get("XDG_STATE_HOME", ""))
    return named if named.is_absolute() else Path.home() / ".local" / "state"
