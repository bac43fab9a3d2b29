"""What a rig file, or a broker's JSON file, says of the sending side of image streams."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

from labwire.images.compression import Compression
from labwire.strict import Strict
from labwire.wire.image_fields import DEFAULT_CHANNEL
from labwire.wire.tcp_pool import DEFAULT_NWRITERS

MAX_NWRITERS = 100
DEFAULT_WATERMARK = 100

_Ms: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=3_600_000)]
_BufferBytes: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=1 << 31)]
_Watermark: TypeAlias = Annotated[int, msgspec.Meta(ge=2, le=16_384)]


class TcpStreamConfig(Strict, tag_field="kind", tag="tcp"):
    """The TCP image stream: writers connect, and acknowledge each image."""

    address: str = "tcp://127.0.0.1:9100"
    """Where to listen: tcp://IP:PORT; 0.0.0.0 is all interfaces, * as port any free one."""
    nwriters: Annotated[int, msgspec.Meta(ge=1, le=MAX_NWRITERS)] = DEFAULT_NWRITERS
    """Most writers at a time; one more is refused."""
    send_buffer_size: _BufferBytes | None = None
    """SO_SNDBUF of each connection, bytes; not set: the system adapts it."""
    peer_liveness_timeout_ms: _Ms = 10_000
    """A writer that gives no sign of life for so long while something waits for it is dead."""
    max_backpressure_timeout_ms: _Ms = 60_000
    """A writer that lives but takes nothing for so long is given up."""
    queue_mib: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] = 32
    """Most memory for images of one connection that wait to be sent, MiB; one image is always taken."""
    zero_copy: bool = False
    """Have the kernel send large images from where they are (MSG_ZEROCOPY); it helps on fast network cards, not on
    loopback."""


class ZeroMqStreamConfig(Strict, tag_field="kind", tag="zeromq"):
    """The ZeroMQ image stream: one PUSH socket for each writer."""

    image_socket: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=MAX_NWRITERS)] = (
        "tcp://127.0.0.1:9000",
    )
    """Addresses, one for each writer: tcp://IP:PORT or ipc://PATH."""
    send_watermark: _Watermark = DEFAULT_WATERMARK
    """Most images that wait in each socket."""
    send_buffer_size: _BufferBytes | None = None
    """The system's buffer of each socket, bytes; not set: as the system has it."""
    writer_notification_socket: str | None = None
    """Where writers report what they stored: tcp://IP:*, with the address of a real interface. Not set: nobody knows
    what became of the images."""


class Hdf5Config(Strict, tag_field="kind", tag="hdf5"):
    """No stream: the images are written to HDF5 files here."""

    folder: str = "images"
    """Output folder."""
    overwrite: bool = False
    """Replace files of the same name."""


class CborDumpConfig(Strict, tag_field="kind", tag="cbor"):
    """No stream: each message becomes a file."""

    folder: str = "images"
    """Output folder."""


class NoStreamConfig(Strict, tag_field="kind", tag="none"):
    """No stream at all: images are made, shown in the preview, and forgotten."""


PusherConfig: TypeAlias = TcpStreamConfig | ZeroMqStreamConfig | Hdf5Config | CborDumpConfig | NoStreamConfig
"""Where images go: a union by ``kind``."""


class PreviewConfig(Strict):
    """The preview stream: some images, for whoever wants to look."""

    address: str = "tcp://127.0.0.1:5400"
    """Where viewers connect; * as port: any free one."""
    period_ms: Annotated[int, msgspec.Meta(ge=0, le=3_600_000)] = 1000
    """Time between two images; 0: every image."""


class MetadataConfig(Strict):
    """The metadata stream: what is known of every image, without its pixels, in bundles."""

    address: str = "tcp://127.0.0.1:5401"
    """Where readers connect; * as port: any free one."""
    period_ms: _Ms = 100
    """Time between two bundles."""
    watermark: _Watermark = 1000
    """Most bundles that wait in the socket for a slow reader."""


class MessageConfig(Strict):
    """How messages are written."""

    self_described: bool = True
    """Begin with CBOR's tag 55799. DECTRIS' C parser needs it; a reader with cbor2 6 that expects a dict cannot have
    it."""
    channel: str = DEFAULT_CHANNEL
    """Name of the channel: default for readers of Jungfraujoch, threshold_1 for those of DECTRIS."""
    compression: Compression = "bslz4"
    """bslz4, bszstd or none; images that come compressed stay so."""
