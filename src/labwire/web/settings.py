"""What the web server of a rig is told: options of its actor."""

from __future__ import annotations

import ipaddress

from labwire.strict import Strict


class WebSettings(Strict):
    """Options of the actor ``web``; the rig makes them from ``[web]`` of the rig file."""

    fd: int
    """Descriptor of the listening socket, which the rig keeps open: who connects while this process starts again waits
    a moment, and finds it."""
    url: str
    """Where people find the dashboard: ``http://127.0.0.1:8080``."""
    remote_url: str
    """The rig's Remote."""
    listen: str = "127.0.0.1"
    read_only: bool = False
    names: list[str] = []
    allow: list[str] = []
    token_file: str = ""
    """Absolute path; used beyond loopback."""
    certificate: str = ""
    key: str = ""

    @property
    def exposed(self) -> bool:
        """True if other computers can reach it."""
        return not ipaddress.ip_address(self.listen).is_loopback
