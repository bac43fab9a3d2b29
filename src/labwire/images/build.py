"""Makes a stream of what a configuration says."""

from __future__ import annotations

from labwire.errors import ConfigError
from labwire.images.pusher import ImagePusher, OnEvent
from labwire.images.stream_config import (
    CborDumpConfig,
    Hdf5Config,
    NoStreamConfig,
    PusherConfig,
    TcpStreamConfig,
    ZeroMqStreamConfig,
)


def make_pusher(config: PusherConfig, on_event: OnEvent | None = None) -> ImagePusher:
    """Open the way that images go.

    Args:
        config: Which.
        on_event: Told of what happens, see `labwire.images.pusher.OnEvent`.

    Raises:
        LabwireError: A port is taken, an address is none, a folder cannot be written, a package is missing.
    """
    match config:
        case TcpStreamConfig():
            from labwire.images.pushers.tcp import TcpPusher

            return TcpPusher(config, on_event=on_event)
        case NoStreamConfig():
            from labwire.images.pushers.none import NonePusher

            return NonePusher()
        case ZeroMqStreamConfig():
            from labwire.images.pushers.zeromq import ZeroMqPusher

            return ZeroMqPusher(config, on_event=on_event)
        case Hdf5Config() | CborDumpConfig():
            raise ConfigError('images go out over a network so far: kind = "tcp", "zeromq" or "none"')
