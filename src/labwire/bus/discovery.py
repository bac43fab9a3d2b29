"""Rigs of the local network, found by name: multicast DNS (RFC 6762) and DNS-based service discovery (RFC 6763)."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from labwire.errors import ResourceError, needs_extra

if TYPE_CHECKING:
    from zeroconf import Zeroconf

SERVICE_TYPE = "_labwire._tcp.local."
_ASK_S = 1.5


class FoundRig(msgspec.Struct, frozen=True):
    """A rig that tells the local network where it is."""

    name: str
    host: str
    """Name of its computer."""
    addresses: list[str]
    """Of its computer; the first is the likeliest to be reached."""
    port: int
    """Of its Remote, which tells the other ports."""
    version: str
    """Of labwire there."""


class Advertisement:
    """Tells the local network of a rig until it is closed.

    Args:
        name: Of the rig.
        port: Of its Remote.
        addresses: Where it can be reached.
        version: Of labwire.

    Raises:
        MissingExtraError: zeroconf is not installed.
        ResourceError: The network does not carry multicast.
    """

    def __init__(self, name: str, port: int, addresses: Sequence[str], version: str) -> None:
        with needs_extra("discover"):
            from zeroconf import ServiceInfo
        self._closed = False
        host = socket.gethostname()
        self._info = ServiceInfo(
            SERVICE_TYPE,
            f"{name} on {host}.{SERVICE_TYPE}",
            port=port,
            parsed_addresses=list(addresses),
            server=f"{host}.local.",
            properties={"name": name, "host": host, "version": version},
        )
        self._zeroconf = _open(addresses)
        try:
            self._zeroconf.register_service(self._info, allow_name_change=True)
        except Exception as error:  # zeroconf lets out whatever its sockets raise
            self._zeroconf.close()
            raise ResourceError(f"the local network was not told of the rig: {error}") from error

    def close(self) -> None:
        """Say goodbye. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(Exception):  # the network has gone before us
            self._zeroconf.unregister_service(self._info)
        self._zeroconf.close()


def find_rigs(
    seconds: float, on_found: Callable[[FoundRig], None] = lambda _: None, addresses: Sequence[str] = ()
) -> list[FoundRig]:
    """Ask the local network for rigs, and wait for answers.

    Args:
        seconds: How long.
        on_found: Called at once with each, on a thread of its own.
        addresses: Of this computer, on whose networks to ask; none means all.

    Raises:
        MissingExtraError: zeroconf is not installed.
        ResourceError: The network does not carry multicast.
    """
    with needs_extra("discover"):
        from zeroconf import ServiceBrowser, ServiceStateChange
    found: dict[str, FoundRig] = {}
    lock = threading.Lock()

    def changed(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        if state_change is ServiceStateChange.Removed:
            with lock:
                found.pop(name, None)
            return
        if (info := zeroconf.get_service_info(service_type, name, int(_ASK_S * 1000))) and info.port:
            rig = _read(name, info)
            with lock:
                is_new, found[name] = name not in found, rig
            if is_new:
                on_found(rig)

    zeroconf = _open(addresses)
    try:
        browser = ServiceBrowser(zeroconf, SERVICE_TYPE, handlers=[changed])
        time.sleep(seconds)
        browser.cancel()
    finally:
        zeroconf.close()
    with lock:
        return sorted(found.values(), key=lambda rig: (rig.name, rig.host))


def _open(addresses: Sequence[str]) -> Zeroconf:
    from zeroconf import InterfaceChoice, IPVersion, Zeroconf

    where: Any = list(addresses) or InterfaceChoice.All
    try:
        return Zeroconf(interfaces=where, ip_version=IPVersion.V4Only)
    except OSError as error:
        raise ResourceError(f"this network does not carry multicast: {error.strerror or error}") from error


def _read(name: str, info: Any) -> FoundRig:
    """Return what an answer says; nothing in it is trusted to be there."""
    said = {
        key.decode("utf-8", "replace"): (value or b"").decode("utf-8", "replace")
        for key, value in info.properties.items()
    }
    instance = name.removesuffix(f".{SERVICE_TYPE}")
    return FoundRig(
        name=said.get("name") or instance,
        host=said.get("host") or (info.server or "").removesuffix(".local."),
        addresses=info.parsed_addresses(),
        port=info.port,
        version=said.get("version", ""),
    )
