"""A writer: takes the images of a detector's stream, stores them, and says so."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import msgspec

from labwire.images.config import WriterConfig
from labwire.images.hdf5_tree import load_h5py
from labwire.images.run_taker import OnEvent, RunTaker
from labwire.images.writer_address import parse_writer_address
from labwire.images.writer_tcp import TcpWriter
from labwire.images.writer_zeromq import ZeroMqWriter


class Stream(Protocol):
    """One connection of a writer."""

    address: str
    connected: bool
    lag_s: float
    """How long the image that was stored last had waited."""

    def start(self) -> None:
        """Begin."""
        ...

    def stop(self) -> None:
        """Begin to end."""
        ...

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the end."""
        ...

    @property
    def taker(self) -> RunTaker:
        """What stores."""
        ...

    @property
    def waiting_images(self) -> int:
        """Images that wait for the disk."""
        ...

    @property
    def waiting_bytes(self) -> int:
        """Memory that these take."""
        ...

    @property
    def stray(self) -> int:
        """Messages that belonged to no run that was on."""
        ...


class WriterStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A writer at one moment; counted since it was started."""

    connected: int
    """Connections that stand."""
    connections: int
    """Connections that there should be."""
    runs: int
    """Runs that ended, on all connections."""
    images: int
    """Images that were stored."""
    image_bytes: int
    """Their bytes, as they came."""
    failed: int
    """Images that came and could not be stored."""
    missing: int
    """Images of runs that ended that did not come, as far as that can be known."""
    stray: int
    """Messages that belonged to no run that was on."""
    waiting_images: int
    """Images that wait for the disk."""
    waiting_bytes: int
    """Memory that these take."""
    lag_s: float
    """How long the image that was stored last had waited; 0 when none waits."""
    writing: tuple[int, ...]
    """Numbers of the runs that are on."""


class ImageWriter:
    """A writer for one detector; a context manager.

    >>> config = WriterConfig(address="tcp://10.0.0.1:9100", folder="images")
    >>> with ImageWriter(config, lambda kind, data: print(kind, data)) as writer:  # doctest: +SKIP
    ...     input("Enter ends it")

    Args:
        config: Which detector, and how to store.
        on_event: Called on the writer's threads with what happens: ``connected``, ``connection_lost``,
            ``not_connected``, ``run_started``, ``files_left``, ``run_refused``, ``run_finished``, ``image_failed``,
            ``calibration_failed``, ``bug``; each with a dict of what belongs to it.

    Raises:
        ConfigError: The address is none.
        MissingExtraError: h5py is not installed.
    """

    def __init__(self, config: WriterConfig, on_event: OnEvent) -> None:
        self.config = config
        where = parse_writer_address(config.address)
        folder = Path(config.folder)
        if not config.discard:
            load_h5py()
        self.streams: list[Stream] = []
        if where.zeromq:
            self.streams.append(ZeroMqWriter(where.endpoint, folder, config, on_event))
        else:
            host, port, count = where.host, where.port, config.connections
            self.streams += [TcpWriter(host, port, folder, config, on_event) for _ in range(count)]

    def start(self) -> Self:
        """Begin to connect."""
        for stream in self.streams:
            stream.start()
        return self

    def stop(self) -> None:
        """Begin to end: what was received is stored, then the files are finished."""
        for stream in self.streams:
            stream.stop()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait till all files are finished; False if that takes longer."""
        return all(stream.join(timeout_s) for stream in self.streams)

    def statistics(self) -> WriterStatistics:
        """Return the counters of all connections together."""
        takers = [stream.taker for stream in self.streams]
        stores = [taker.store for taker in takers]  # which another thread may let go at any time
        writing = {store.plan.run_number for store in stores if store is not None}
        return WriterStatistics(
            connected=sum(stream.connected for stream in self.streams),
            connections=len(self.streams),
            runs=sum(taker.counters.runs for taker in takers),
            images=sum(taker.counters.images for taker in takers),
            image_bytes=sum(taker.counters.image_bytes for taker in takers),
            failed=sum(taker.counters.failed for taker in takers),
            missing=sum(taker.counters.missing for taker in takers),
            stray=sum(stream.stray for stream in self.streams),
            waiting_images=sum(stream.waiting_images for stream in self.streams),
            waiting_bytes=sum(stream.waiting_bytes for stream in self.streams),
            lag_s=max(stream.lag_s if stream.waiting_images else 0.0 for stream in self.streams),
            writing=tuple(sorted(writing)),
        )

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop()
        self.join()
