"""The web server in a thread: uvicorn on a socket that is already open."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labwire.client.rig import Rig
from labwire.errors import ConfigError, InternalError, needs_extra
from labwire.version import __version__
from labwire.web.access_token import read_or_make_token
from labwire.web.api import Api
from labwire.web.app import Application
from labwire.web.feed import Feed
from labwire.web.gate import Gate
from labwire.web.live import Live
from labwire.web.metrics import PARTS
from labwire.web.overview import Overview
from labwire.web.settings import WebSettings

if TYPE_CHECKING:
    import uvicorn

START_LIMIT_S = 10.0
_STOP_LIMIT_S = 3
_MAX_FROM_BROWSER_BYTES = 1 << 17


class WebServer:
    """The dashboard of a rig.

    Args:
        settings: What it is told.
        rig: A connection to the rig; the server does not close it.
        now: Returns rig time.
        log: Takes a line for each change that somebody makes.
        rig_config: Configuration of the rig, without secrets.
        rig_name: Its name.

    Raises:
        ConfigError: Token or certificate cannot be used.
        MissingExtraError: The extra ``web`` is not installed.
    """

    def __init__(
        self,
        settings: WebSettings,
        rig: Rig,
        *,
        now: Callable[[], float],
        log: Callable[[str], None],
        rig_config: Mapping[str, Any],
        rig_name: str,
    ) -> None:
        with needs_extra("web"):
            import uvicorn
        self._settings, self._rig_name = settings, rig_name
        token = read_or_make_token(Path(settings.token_file)) if settings.exposed else ""
        self.feed = Feed(rig, now)
        self.live = Live(self.feed, self._about, now)
        self.api = Api(rig, read_only=settings.read_only, log=log)
        application = Application(
            gate=Gate(token=token, names=settings.names, allow=settings.allow if settings.exposed else ()),
            api=self.api,
            live=self.live,
            overview=Overview(
                rig,
                self.feed,
                self.live,
                parts={kind: list(rig_config.get(f"{kind}s", {})) for kind in PARTS},
                instruments=bool(rig_config.get("instruments")),
            ),
            url=settings.url,
        )
        self._server = uvicorn.Server(_uvicorn_config(uvicorn.Config, application, settings))
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="web server")

    def start(self) -> None:
        """Serve from now on; returns when it does.

        Raises:
            InternalError: It does not start.
        """
        self.feed.start()
        self._thread.start()
        waited = threading.Event()
        for _ in range(int(START_LIMIT_S / 0.01)):
            if self._server.started or not self._thread.is_alive():
                break
            waited.wait(0.01)
        if not self._server.started:
            raise InternalError(f"the web server does not start: {self._failure!r}")

    def close(self) -> None:
        """End it: open connections are closed, jobs cancelled."""
        self.api.jobs.cancel_all()
        self.api.sessions.close()
        self.api.exports.close()
        self._server.should_exit = True
        self._server.force_exit = True
        if self._thread.is_alive():
            self._thread.join(START_LIMIT_S)
        self.feed.close()

    def _about(self) -> dict[str, Any]:
        return {
            "rig": self._rig_name,
            "version": __version__,
            "read_only": self._settings.read_only,
            "url": self._settings.url,
            "remote": self._settings.remote_url,
        }

    def _run(self) -> None:
        # The rig keeps the socket itself open; this is a descriptor of our own, which uvicorn may close.
        listener = socket.socket(fileno=os.dup(self._settings.fd))
        try:
            asyncio.run(self._server.serve(sockets=[listener]))
        except BaseException as error:
            self._failure = error
        finally:
            listener.close()


def _uvicorn_config(make: type[uvicorn.Config], application: Application, settings: WebSettings) -> uvicorn.Config:
    config = make(
        application,
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        http="h11",
        ws="websockets-sansio",
        ws_max_size=_MAX_FROM_BROWSER_BYTES,
        ws_per_message_deflate=False,  # pictures are compressed already, and time counts here
        proxy_headers=False,  # whoever is there must not say that he comes from elsewhere
        server_header=False,
        timeout_graceful_shutdown=_STOP_LIMIT_S,
        ssl_certfile=settings.certificate or None,
        ssl_keyfile=settings.key or None,
    )
    try:
        config.load()
    except OSError as error:
        raise ConfigError(
            f"cannot use certificate {settings.certificate} with key {settings.key}: {error}",
            certificate=settings.certificate,
        ) from error
    return config
