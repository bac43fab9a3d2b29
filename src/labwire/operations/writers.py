"""Operations on the writers of images."""

from __future__ import annotations

from abc import abstractmethod
from typing import TypeAlias

import msgspec

from labwire.errors import DeadlineError, NotFoundError, PeerGoneError
from labwire.operations.service import Service, operation


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a run at one connection of a writer. A reader must ignore keys that it does not know."""

    run_number: int
    run_name: str
    socket_number: int
    ended: str
    """``end`` as it should, ``cancelled`` by the detector, ``lost`` with the connection, ``stopped`` at this side,
    ``failed`` because it could not be written."""
    ok: bool
    """Whether all images that came, and all that should have come, are in finished files."""
    images: int
    """Images that are in finished files."""
    announced: int
    """Images of the whole run, of all connections; 0: the detector did not say."""
    missing: int
    """Images that belong to this connection, as far as it can know, and did not come."""
    failed: int
    """Images that came and could not be stored."""
    file_count: int = 0
    """Data files that are finished."""
    master_file: str = ""
    stored_bytes: int = 0
    duration_s: float = 0.0
    error: str = ""


class WriterStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One writer of the rig; published as ``writer.<name>.state`` as well. Counted since its process was started."""

    name: str
    state: str
    """``connecting``, ``idle``, ``writing``, or ``unreachable`` (its actor does not answer)."""
    address: str
    """Where the detector listens."""
    folder: str
    connected: int = 0
    connections: int = 0
    """How many there should be."""
    writing: list[int] = []
    """Numbers of the runs that are on."""
    runs: int = 0
    images: int = 0
    """Stored."""
    stored_bytes: int = 0
    """Of these images, as they came."""
    images_hz: float = 0.0
    bytes_hz: float = 0.0
    failed: int = 0
    """Images that came and could not be stored."""
    missing: int = 0
    """Images of runs that ended that did not come."""
    stray: int = 0
    """Messages that belonged to no run that was on."""
    waiting_images: int = 0
    """Images that wait for the disk."""
    waiting_bytes: int = 0
    lag_s: float = 0.0
    """How long the image that was stored last had waited."""
    last_error: str = ""
    last_runs: list[RunReport] = []
    """The newest first, at most five; left out of the list of all writers."""


WriterList: TypeAlias = list[WriterStatus]


class Writers(Service):
    """See what the writers of images do."""

    service = "writers"

    @operation(changes=False)
    @abstractmethod
    def list(self) -> WriterList:
        """List the writers of the rig, in the order of the rig file."""

    @operation(changes=False, errors=(NotFoundError, DeadlineError, PeerGoneError))
    @abstractmethod
    def status(self, name: str) -> WriterStatus:
        """Tell what one writer does.

        Args:
            name: Name of the writer in the rig file.
        """
