"""The web server as an actor of the rig, in a process of its own."""

from __future__ import annotations

import logging

from labwire.bus.actor import Actor, ActorContext, Notification
from labwire.client.rig import Rig
from labwire.web.server import WebServer
from labwire.web.settings import WebSettings

_TIMEOUT_S = 5.0


class Web(Actor):
    """Serves the dashboard and the HTTP API."""

    Config = WebSettings
    options: WebSettings
    hears = ("meta.should_doc",)

    def __init__(self, context: ActorContext) -> None:
        super().__init__(context)
        host, _, port = self.options.remote_url.removeprefix("tcp://").rpartition(":")
        self._rig = Rig(host, int(port), timeout_s=_TIMEOUT_S)
        self._server: WebServer | None = None

    def on_start(self) -> None:
        """Open the doors."""
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        self._server = WebServer(
            self.options,
            self._rig,
            now=self.clock.now,
            log=self.log.info,
            rig_config=self.context.rig_config,
            rig_name=self.context.rig_name,
        )
        self._server.start()

    def on_stop(self) -> None:
        """Close them."""
        if self._server:
            self._server.close()
        self._rig.close()

    def on_notify(self, notification: Notification) -> None:
        """Serve the dashboard and the HTTP API, a client of the rig like any other.

        Emits notifications:
            What people send by hand, and what operations do that they ask for; each change is logged with who and
            from where.
        """
