"""Tells the local network where the rig is, so that ``labwire discover`` finds it."""

from __future__ import annotations

import threading

from labwire.bus.actor import Actor, ActorContext, Notification
from labwire.bus.discovery import Advertisement
from labwire.errors import LabwireError
from labwire.strict import Strict
from labwire.time_sync.interfaces import EVERYWHERE, beacon_roads
from labwire.version import __version__

_RETRY_S = 30.0


class DiscoveryOptions(Strict):
    """Options of this actor; the rig fills them in."""

    listen: str
    remote_port: int


class Discovery(Actor):
    """Tells the local network where the rig is."""

    Config = DiscoveryOptions
    options: DiscoveryOptions
    hears = ()

    def __init__(self, context: ActorContext) -> None:
        super().__init__(context)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._advertise, name="advertisement", daemon=True)

    def on_start(self) -> None:
        """Begin to tell; asking whether the name is free takes a second, and the rig does not wait for it."""
        self._thread.start()

    def on_stop(self) -> None:
        """Say goodbye."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()

    def on_notify(self, notification: Notification) -> None:
        """Tell the local network by multicast DNS where the rig is: ``_labwire._tcp``."""

    def _advertise(self) -> None:
        """On a thread of its own."""
        while not self._end.is_set():
            listen = self.options.listen
            addresses = [road.own for road in beacon_roads(listen)] if listen == EVERYWHERE else [listen]
            try:
                told = Advertisement(self.context.rig_name, self.options.remote_port, addresses, __version__)
            except LabwireError as error:
                self.log.warning("%s; tried again in %g s", error.message, _RETRY_S)
                self._end.wait(_RETRY_S)
                continue
            self.log.info("labwire discover finds this rig at %s", ", ".join(addresses))
            self._end.wait()
            told.close()
