"""What a rig file says of image streams."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from labwire.strict import Strict

MasterFormat: TypeAlias = Literal["NXmxVDS", "NXmxLegacy", "NXmxOnlyData"]

MAX_IMAGES = 10_000_000


class WriterOptions(Strict, kw_only=True):
    """How a writer stores runs."""

    format: MasterFormat = "NXmxVDS"
    """What the master file holds: NXmxVDS a virtual dataset over the data files, NXmxLegacy external links to them;
    NXmxOnlyData: no master file."""
    overwrite: bool | None = None
    """Replace files of the same names; not set: as the sender says, and if it says nothing such a run is refused."""
    discard: bool = False
    """Store nothing, but acknowledge everything: for measuring."""
    sync: bool = False
    """Wait for the disk before a file gets its name: it then survives a power cut."""
    flush_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 2.0
    """Seconds between two moments from which on a killed writer's unfinished file can be read; 0: never."""
    buffer_mib: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] = 256
    """Most memory for images that wait for the disk, in MiB."""
    queue_depth: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] = 1024
    """Most images that wait for the disk."""
    open_files: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    """Most files of a run that are open at a time: how far images may be out of order."""
    max_images: Annotated[int, msgspec.Meta(ge=1, le=1 << 32)] = MAX_IMAGES
    """Most images of a run; a run that announces more is refused."""


class WriterConfig(WriterOptions, kw_only=True):
    """One table ``[writers.NAME]``: takes the images of a detector's stream and stores them."""

    address: str
    """Where the detector listens: "tcp://HOST:PORT" for the TCP stream, "zmq+tcp://HOST:PORT" for ZeroMQ."""
    folder: str = "images"
    """Where the files go, in the folders that the sender's file_prefix names; a relative path starts at the rig
    file."""
    connections: Annotated[int, msgspec.Meta(ge=1, le=32)] = 1
    """Connections to a TCP stream: images are split between them, file by file."""
