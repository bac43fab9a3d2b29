"""The IPv4 networks of this computer: from which address to broadcast, and to which."""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

EVERYWHERE = "0.0.0.0"
_LOOPBACK_BROADCAST = "127.255.255.255"
_LIMITED_BROADCAST = "255.255.255.255"

# ioctl_list(2): what an interface is asked for.
_SIOCGIFADDR, _SIOCGIFFLAGS, _SIOCGIFNETMASK = 0x8915, 0x8913, 0x891B
_UP, _BROADCAST = 0x1, 0x2
_REQUEST_BYTES, _NAME_BYTES, _ADDRESS_AT = 40, 16, 20


class BeaconRoad(NamedTuple):
    """A network on which beacons are sent."""

    own: str
    """Our address there."""
    broadcast: str


def beacon_roads(listen: str) -> list[BeaconRoad]:
    """Return the networks to broadcast on.

    Args:
        listen: Where the rig listens: an address of this computer, or 0.0.0.0 for all of them.
    """
    if listen != EVERYWHERE and ipaddress.ip_address(listen).is_loopback:
        return [BeaconRoad(listen, _LOOPBACK_BROADCAST)]
    roads = [road for road in _interfaces() if listen in {EVERYWHERE, road.own}]
    return roads or [BeaconRoad(listen, _LIMITED_BROADCAST)]


def address_towards(host: str) -> str:
    """Return our own address on the way to another computer; 127.0.0.1 if there is no way."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))  # sends nothing
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def _interfaces() -> Iterator[BeaconRoad]:
    if sys.platform != "linux":
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            try:
                (flags,) = struct.unpack_from("H", _ask(asked, _SIOCGIFFLAGS, name), _NAME_BYTES)
                if flags & _UP and flags & _BROADCAST:
                    own, mask = (_address(_ask(asked, what, name)) for what in (_SIOCGIFADDR, _SIOCGIFNETMASK))
                    # Computed, because an address that was added by hand often has no broadcast address set.
                    network = ipaddress.IPv4Network((own, mask), strict=False)
                    yield BeaconRoad(own, str(network.broadcast_address))
            except OSError:  # it has no IPv4 address
                continue


def _ask(asked: socket.socket, what: int, name: str) -> bytes:
    import fcntl

    return fcntl.ioctl(asked, what, name.encode()[: _NAME_BYTES - 1].ljust(_REQUEST_BYTES, b"\0"))


def _address(answer: bytes) -> str:
    return socket.inet_ntoa(answer[_ADDRESS_AT : _ADDRESS_AT + 4])
