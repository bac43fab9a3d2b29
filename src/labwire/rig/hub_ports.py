"""What others connect to: the backbone, the Remote and the RPC broker of a rig, opened and closed together."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import zmq

from labwire.bus.access import LOOPBACK, AccessGuard
from labwire.bus.actor_runner import Wiring
from labwire.bus.backbone import Backbone
from labwire.bus.inlet import Inlet, InletEvents, InletPorts
from labwire.bus.loop import Loop
from labwire.bus.peer_watch import PeerWatch
from labwire.bus.rpc_broker import RpcBroker
from labwire.bus.rpc_port import RpcPort
from labwire.clock import RigClock
from labwire.errors import LabwireError
from labwire.operations.actors import ActorStatus
from labwire.operations.rig import RigStatus
from labwire.rig.rig_config import RigConfig
from labwire.rig.web_door import WebDoor
from labwire.version import __version__
from labwire.wire.rpc_message import Hello

_ANY_ADDRESS = frozenset({"0.0.0.0", "*"})


class PortEvents(NamedTuple):
    """What the ports report; called on threads of their own, except `peer_cut`."""

    stranger_refused: Callable[[str], None]
    """Address of a computer that is not allowed in."""
    peer_cut: Callable[[str, str], None]
    """Address of a peer that sent too much or no ZeroMQ, and the option of the port where it did."""
    warning: Callable[[str], None]
    """A text for the log."""
    fault: Callable[[BaseException], None]
    """A mistake of ours."""
    actors_changed: Callable[[], None]
    """An actor has said hello or left."""


class HubPorts:
    """All sockets of a hub that others connect to, and the threads that serve them.

    Args:
        config: The rig.
        events: Hears what happens.
        is_supervised: Tells whether a hello comes from an actor that the rig itself started.

    Raises:
        PortTakenError: A port is in use; nothing is left open.
    """

    def __init__(self, config: RigConfig, events: PortEvents, is_supervised: Callable[[Hello], bool]) -> None:
        self._config, self._events = config, events
        self.context: zmq.Context[Any] = zmq.Context()
        self.clock = RigClock.create()
        # A connection from the address that the rig listens on comes from this computer too.
        ours = (*LOOPBACK, config.network.listen)
        self._guard = AccessGuard(self.context, config.network.allow, events.stranger_refused, always=ours)
        self._peers = PeerWatch(self.context, events.peer_cut)
        self._open: list[Backbone | Inlet | RpcPort] = []
        try:
            self._open.append(backbone := self._make_backbone())
            self._open.append(inlet := self._make_inlet())
            self._open.append(rpc := self._make_rpc())
            self.web = WebDoor(config)
        except LabwireError:
            self.close()
            raise
        self._backbone, self._inlet, self._rpc = backbone, inlet, rpc
        self._rpc.broker.is_supervised = is_supervised

    def _make_backbone(self) -> Backbone:
        bus = self._config.bus
        return Backbone(
            self.context,
            host=self._config.network.listen,
            pub_port=bus.pub_port,
            sub_port=bus.sub_port,
            slow_subscriber_s=bus.slow_subscriber_s,
            max_message_bytes=bus.max_message_bytes,
            peers=self._peers,
        )

    def _make_inlet(self) -> Inlet:
        return Inlet(
            self.context,
            self.clock,
            host=self._config.network.listen,
            remote_port=self._config.remote.port,
            push_port=self._config.bus.push_port,
            replies=self._config.remote.replies,
            version=__version__,
            max_message_bytes=self._config.bus.max_message_bytes,
            events=InletEvents(self._events.warning, self._events.fault),
            peers=self._peers,
        )

    def _make_rpc(self) -> RpcPort:
        return RpcPort(
            self.context,
            host=self._config.network.listen,
            port=self._config.bus.rpc_port,
            max_message_bytes=self._config.bus.max_message_bytes,
            peers=self._peers,
            on_change=self._events.actors_changed,
            on_fault=self._events.fault,
        )

    @property
    def broker(self) -> RpcBroker:
        """Knows the actors that have said hello."""
        return self._rpc.broker

    @property
    def wiring(self) -> Wiring:
        """Where the actors of this computer find the ports."""
        listen = self._config.network.listen
        host = "127.0.0.1" if listen in _ANY_ADDRESS else listen
        ports = (
            self._inlet.remote_port,
            self._backbone.pub_port,
            self._backbone.sub_port,
            self._inlet.push_port,
            self._rpc.port,
        )
        return Wiring(*(f"tcp://{host}:{port}" for port in ports))

    def start(self) -> None:
        """Serve from now on."""
        self._backbone.start()
        self._inlet.start(InletPorts(self._backbone.pub_port, self._backbone.sub_port, self._rpc.port))
        self._rpc.start()

    def watch_peers(self, loop: Loop) -> None:
        """Have a loop look after the peers: who is cut is reported from there."""
        for monitor in self._peers.monitors:
            loop.watch(monitor, self._peers.look)

    def actor_died(self, name: str) -> None:
        """Answer what was asked of an actor that died with an error."""
        self._rpc.actor_died(name, "died")

    def status(self, actors: list[ActorStatus], uptime_s: float, malformed: int) -> RigStatus:
        """Return addresses and counters.

        Args:
            actors: The actors of the rig, as they are shown.
            uptime_s: How long the rig has run.
            malformed: Messages that the hub's own actor could not read.
        """
        proxy, inlet = self._backbone.counters(), self._inlet.counters
        return RigStatus(
            name=self._config.name,
            version=__version__,
            pid=os.getpid(),
            uptime_s=uptime_s,
            rig_time_s=self.clock.now(),
            remote=self.wiring.remote_url,
            pub_port=self._backbone.pub_port,
            sub_port=self._backbone.sub_port,
            push_port=self._inlet.push_port,
            rpc_port=self._rpc.port,
            log_file=self._config.log.file_path(self._config.name),
            actors=actors,
            parts_in=proxy.parts_in,
            parts_out=proxy.parts_out,
            remote_requests=inlet.remote_requests,
            remote_refused=inlet.remote_refused,
            unconfirmed=inlet.unconfirmed,
            delayed_pending=inlet.delayed_pending,
            undelivered=self._inlet.entry.undelivered,
            peers_cut=self._peers.cut,
            malformed=inlet.malformed + self._rpc.broker.malformed + malformed,
            strangers_refused=self._guard.refused,
        )

    def close(self) -> None:
        """Close all sockets and end their threads."""
        for part in self._open:
            if isinstance(part, Backbone):
                part.forget_readers()
        for part in reversed(self._open):
            part.stop()
        if web := getattr(self, "web", None):
            web.close()
        self._peers.close()
        self.clock.close()
        self.context.term()
        self._guard.join()
