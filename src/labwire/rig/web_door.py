"""The listening socket of the dashboard: the rig opens it and keeps it, the web server's process serves it.

So its port is known and its own before anything starts, and who connects while that process starts again finds it.
"""

from __future__ import annotations

import errno
import importlib.util
import socket
from typing import Any

from labwire.bus.actor_runner import Wiring
from labwire.bus.config import WebConfig
from labwire.bus.ports import owner_of
from labwire.errors import PortTakenError, ResourceError, install_command
from labwire.rig.rig_config import RigConfig

DEFAULT_PORT = 8080
WEB = "web"
_NEEDED = ("starlette", "uvicorn", "websockets", "prometheus_client")
_BACKLOG = 128


class WebDoor:
    """Where the dashboard is reached, or why there is none.

    Args:
        config: The rig.

    Raises:
        PortTakenError: The port that the rig file names is in use.
    """

    def __init__(self, config: RigConfig) -> None:
        self._config = config
        self._socket: socket.socket | None = None
        self.note = ""
        """What a person should know of it."""
        if not config.web.enabled:
            return
        if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
            self.note = f"off, because {missing[0]} is not installed: {install_command('web')}"
            return
        self._socket = self._open(config.web)
        self._socket.listen(_BACKLOG)

    def _open(self, web: WebConfig) -> socket.socket:
        if web.port is not None:
            return _bound(web.listen, web.port)
        try:
            return _bound(web.listen, DEFAULT_PORT)
        except PortTakenError:
            self.note = f"{DEFAULT_PORT} is taken by {owner_of(DEFAULT_PORT) or 'another program'}"
            return _bound(web.listen, 0)

    @property
    def url(self) -> str:
        """Where people find it: ``http://127.0.0.1:8080``; empty if there is none."""
        if self._socket is None:
            return ""
        web = self._config.web
        host = "127.0.0.1" if web.listen == "0.0.0.0" else web.listen
        return f"{'https' if web.certificate else 'http'}://{host}:{self._socket.getsockname()[1]}"

    @property
    def fds(self) -> list[int]:
        """What the process of the web server inherits."""
        return [] if self._socket is None else [self._socket.fileno()]

    def options(self, wiring: Wiring) -> dict[str, Any]:
        """Return the options of the actor."""
        web, [fd] = self._config.web, self.fds
        return {
            "fd": fd,
            "url": self.url,
            "remote_url": wiring.remote_url,
            "listen": web.listen,
            "read_only": web.read_only,
            "names": web.names,
            "allow": self._config.network.allow,
            "token_file": web.token_path(self._config.name),
            "certificate": web.certificate,
            "key": web.key,
        }

    def close(self) -> None:
        """Let nobody in any more."""
        if self._socket:
            self._socket.close()


def _bound(host: str, port: int) -> socket.socket:
    door = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # only what lingers of the one before is ignored
    try:
        door.bind((host, port))
    except OSError as error:
        door.close()
        if error.errno == errno.EADDRINUSE:
            owner = owner_of(port)
            raise PortTakenError(
                f"port {port} is taken by {owner or 'another program'}: stop it, choose another port with --web-port "
                "or [web] port (0 takes any free one), or run without the dashboard: --no-web",
                port=port,
                owner_pid=owner.pid if owner else None,
            ) from error
        raise ResourceError(f"cannot listen on {host}:{port}: {error.strerror} (set by [web])", port=port) from error
    return door
