"""Makes a stream of what a configuration says."""

from __future__ import annotations

from typing import assert_never

from labwire.images.metadata import Metadata
from labwire.images.preview import Preview
from labwire.images.pusher import ImagePusher, OnEvent
from labwire.images.stream_config import (
    CborDumpConfig,
    Hdf5Config,
    MetadataConfig,
    NoStreamConfig,
    PreviewConfig,
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
        case Hdf5Config():
            from labwire.images.pushers.hdf5 import Hdf5Pusher

            return Hdf5Pusher(config, on_event)
        case CborDumpConfig():
            from labwire.images.pushers.cbor_dump import CborDumpPusher

            return CborDumpPusher(config, on_event)
        case _:
            assert_never(config)


def make_sides(
    preview: PreviewConfig | None, metadata: MetadataConfig | None
) -> tuple[Preview | None, Metadata | None]:
    """Open preview and metadata stream, each if it is wanted.

    Raises:
        LabwireError: A port is taken, an address is none; nothing is left open.
    """
    shown = None if preview is None else Preview(preview)
    try:
        return shown, None if metadata is None else Metadata(metadata)
    except BaseException:
        if shown is not None:
            shown.close()
        raise
