"""The connections of a client to one rig: made when they are needed, made anew when the rig has moved."""

from __future__ import annotations

import threading
from typing import Any

import zmq

from labwire.bus.publisher import Publisher
from labwire.bus.rpc_client import RpcClient
from labwire.client.ports import Ports, ask_ports
from labwire.client.remote import Remote
from labwire.errors import LabwireError, PeerGoneError, StateError


class Connections:
    """Remote, publisher and RPC client of one rig. Safe to use from many threads.

    Args:
        host: Computer that the rig runs on.
        port: Port of its Remote.
        timeout_s: How long to wait for answers of the Remote.
    """

    def __init__(self, host: str, port: int, *, timeout_s: float) -> None:
        self._host = host
        self.context: zmq.Context[Any] = zmq.Context()
        try:
            self.remote = Remote(f"tcp://{host}:{port}", timeout_s=timeout_s, context=self.context)
        except BaseException:
            self.context.term()
            raise
        self.publisher: Publisher | None = None
        """As it is; None until the first `connected_publisher`, and after the rig has moved."""
        self.closed = False
        self._rpc: RpcClient | None = None
        self._ports: tuple[int, Ports] | None = None  # with the generation of the Remote that told them
        self._lock = threading.RLock()

    @property
    def ports(self) -> Ports:
        """Ports of the bus; asked anew when the connection to the Remote was made anew."""
        with self._lock:
            if self._ports and self._ports[0] == self.remote.generation:
                return self._ports[1]
            return self.refresh()

    def refresh(self) -> Ports:
        """Ask the Remote for the ports; if they are others than before, forget the connections to those.

        Raises:
            PeerGoneError: No rig answers.
            DeadlineError: A rig is there, but it does not answer in time.
        """
        ports = ask_ports(self.remote)
        with self._lock:
            if self._ports and self._ports[1] != ports:
                self._forget()
            self._ports = self.remote.generation, ports
        return ports

    @property
    def sub_url(self) -> str:
        """Where to subscribe."""
        return f"tcp://{self._host}:{self.ports.sub}"

    def sub_url_again(self) -> str | None:
        """Tell subscriptions that lost the bus where it is now, if that is known at once."""
        try:
            return self.sub_url if self.remote.connected else None
        except LabwireError:
            return None

    def rpc(self) -> RpcClient:
        """Return the connection to the RPC port.

        Raises:
            StateError: Pupil Core, which has none.
        """
        with self._lock:
            port = self.ports.rpc
            if port is None:
                url = self.remote.url
                raise StateError(f"{url} is not a labwire rig: it has no operations", url=url)
            if self._rpc is None:
                self._rpc = RpcClient(f"tcp://{self._host}:{port}", context=self.context)
            return self._rpc

    def connected_publisher(self) -> Publisher:
        """Return a publisher whose messages the bus takes.

        Raises:
            PeerGoneError: The bus is not there.
        """
        with self._lock:
            ports = self.ports  # forgets the publisher of other ports
            if self.publisher is None:
                push = f"tcp://{self._host}:{ports.push}" if ports.push else None
                publisher = Publisher(f"tcp://{self._host}:{ports.pub}", push, context=self.context)
                if not publisher.wait_connected(self.remote.timeout_s):
                    publisher.close()
                    raise PeerGoneError(f"the bus at {self._host}:{ports.pub} does not answer")
                self.publisher = publisher
            return self.publisher

    def close(self) -> None:
        """Close all connections, not the context: sockets of others may be open in it."""
        self.closed = True
        self.remote.close()
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        publisher, self.publisher = self.publisher, None
        rpc, self._rpc = self._rpc, None
        self._ports = None
        if publisher:
            publisher.close()
        if rpc:
            rpc.close()
