"""Addresses of image streams: ``tcp://HOST:PORT``, with ``*`` for any free port."""

from __future__ import annotations

from typing import Final, NamedTuple

from labwire.errors import ConfigError

SCHEME: Final = "tcp://"
_MAX_PORT: Final = 65_535


class HostPort(NamedTuple):
    """One end of a TCP connection."""

    host: str
    port: int
    """0: any free one."""

    @property
    def text(self) -> str:
        """The address as it is written: ``tcp://127.0.0.1:9100``."""
        return address_of(self.host, self.port)


def parse_tcp_address(address: str) -> HostPort:
    """Take an address apart; an IPv6 host stands in brackets, ``*`` is any free port and, as a host, all interfaces.

    >>> parse_tcp_address("tcp://127.0.0.1:*")
    HostPort(host='127.0.0.1', port=0)

    Raises:
        ConfigError: It is not of that form.
    """
    host, colon, port = address.removeprefix(SCHEME).rpartition(":")
    number = 0 if port == "*" else int(port) if port.isascii() and port.isdigit() else -1
    if not (address.startswith(SCHEME) and host and colon and 0 <= number <= _MAX_PORT):
        raise ConfigError(f"{address!r} is not an address: write tcp://HOST:PORT, or tcp://HOST:* for any free port")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ConfigError(f"{address!r}: an IPv6 address stands in brackets, tcp://[::1]:9100")
    bare = host.removeprefix("[").removesuffix("]")
    return HostPort("0.0.0.0" if bare == "*" else bare, number)


def address_of(host: str, port: int) -> str:
    """Return host and port as an address: ``tcp://127.0.0.1:9100``."""
    return f"{SCHEME}[{host}]:{port}" if ":" in host else f"{SCHEME}{host}:{port}"
