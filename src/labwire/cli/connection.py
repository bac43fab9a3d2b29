"""The options that every command takes which talks to a running rig."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter
from cyclopts.validators import Number

from labwire.errors import NotFoundError

if TYPE_CHECKING:
    from labwire.client import Rig

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 50020

_REMOTE_S = 2.0
_A_PORT = Number(gte=1, lte=65535)
_GROUP = Group("Connection", sort_key=90)

JsonFlag = Annotated[bool, Parameter(name="--json", negative="", show_default=False)]
"""``--json``: what programs read."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Connection:
    """Which rig to talk to, and how to show what it says."""

    host: Annotated[str, Parameter(env_var="LABWIRE_HOST", group=_GROUP)] = DEFAULT_HOST
    """Computer that the rig runs on."""
    port: Annotated[int, Parameter(env_var="LABWIRE_PORT", group=_GROUP, validator=_A_PORT)] = DEFAULT_PORT
    """Port of its Remote."""
    timeout_s: Annotated[float | None, Parameter(name="--timeout", group=_GROUP)] = None
    """Seconds to wait for an answer; by default 2 for the Remote and 10 for operations."""
    json: Annotated[JsonFlag, Parameter(group=_GROUP)] = False
    """Print JSON instead of text; errors are JSON on standard error."""

    @property
    def address(self) -> str:
        """Where the rig is: ``127.0.0.1:50020``."""
        return f"{self.host}:{self.port}"

    @property
    def flags(self) -> str:
        """What to add to a command so that it talks to the same rig: empty, or ``--port 50021``."""
        host = f" --host {self.host}" if self.host != DEFAULT_HOST else ""
        return host + (f" --port {self.port}" if self.port != DEFAULT_PORT else "")

    def connect(self) -> Rig:
        """Connect to the rig.

        Raises:
            NotFoundError: There is no computer of that name.
            PeerGoneError: No rig answers.
        """
        import labwire

        try:
            socket.getaddrinfo(self.host, self.port)
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or error
            raise NotFoundError(f"there is no computer {self.host!r}: {why}", host=self.host) from error
        return labwire.connect(self.host, self.port, timeout_s=self.timeout_s or _REMOTE_S)


HERE = Connection()
"""The rig on this computer, on the usual port."""
