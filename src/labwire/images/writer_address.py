"""Addresses of streams as a writer names them: ``tcp://HOST:PORT``, ``zmq+tcp://HOST:PORT``, ``zmq+ipc://PATH``."""

from __future__ import annotations

from typing import Final, NamedTuple

from labwire.errors import ConfigError
from labwire.images.stream_address import parse_tcp_address

_ZEROMQ: Final = "zmq+"
_IPC: Final = "ipc://"
_MAX_PATH_BYTES: Final = 107
"""Of a Unix socket: sun_path has 108, one of them for the NUL."""


class WriterAddress(NamedTuple):
    """Where a detector listens."""

    endpoint: str
    """``tcp://HOST:PORT`` or ``ipc://PATH``."""
    zeromq: bool
    """False: the TCP stream."""
    host: str = ""
    port: int = 0


def parse_writer_address(address: str) -> WriterAddress:
    """Take an address apart.

    >>> parse_writer_address("zmq+tcp://10.0.0.1:9000")
    WriterAddress(endpoint='tcp://10.0.0.1:9000', zeromq=True, host='10.0.0.1', port=9000)

    Raises:
        ConfigError: It is none, or has no port.
    """
    zeromq = address.startswith(_ZEROMQ)
    endpoint = address.removeprefix(_ZEROMQ)
    if zeromq and endpoint.startswith(_IPC):
        path = endpoint.removeprefix(_IPC)
        if not path or len(path.encode(errors="replace")) > _MAX_PATH_BYTES:
            raise ConfigError(f"{address!r} needs a path of at most {_MAX_PATH_BYTES} bytes: zmq+ipc:///run/detector")
        return WriterAddress(endpoint, zeromq)
    try:
        host, port = parse_tcp_address(endpoint)
    except ConfigError as error:
        raise ConfigError(
            f"{address!r} is no address of an image stream: write tcp://HOST:PORT for the TCP stream, "
            "zmq+tcp://HOST:PORT for ZeroMQ"
        ) from error
    if not port:
        raise ConfigError(f"{address!r} needs a port from 1 to 65535: a writer must know where the detector listens")
    return WriterAddress(endpoint, zeromq, host, port)
