"""Operations on detectors."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, TypeAlias

import msgspec

from labwire.errors import (
    CancelledError,
    ConfigError,
    DeadlineError,
    DeviceError,
    InvalidNameError,
    NotFoundError,
    PeerError,
    PeerGoneError,
    RefusedError,
    StateError,
)
from labwire.operations.job import Job
from labwire.operations.service import Service, operation

WAIT_S = 5.0
"""How long writers are waited for, unless the caller says otherwise."""


class DetectorRun(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a run. A reader must ignore keys that it does not know."""

    run_number: int
    run_name: str
    ok: bool
    """Whether all images were stored, as far as writers confirm it, and nothing else went wrong."""
    images: int
    """Images that were made."""
    sent: int = 0
    """Images that were handed to a writer's connection."""
    acknowledged: int | None = None
    """Images that writers say they have; None: nobody says."""
    failed: int = 0
    """Images that a writer says it could not store."""
    dropped: int = 0
    """Images that were never handed to a connection."""
    missing: int | None = None
    """Images of which nobody said anything; None: nobody would."""
    cancelled: bool = False
    image_bytes: int = 0
    duration_s: float = 0.0
    error: str | None = None
    sockets: list[dict[str, Any]] = []
    """Connection by connection."""
    errors: list[dict[str, Any]] = []
    """What went wrong, connection by connection; the first ones."""


class DetectorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One detector of the rig; published as ``detector.<name>.state`` as well."""

    name: str
    state: str
    """``idle``, ``arming``, ``armed``, ``running``, ``ending``, or ``unreachable`` (its actor does not answer)."""
    source: str = ""
    """Where the images come from: ``simulated``, ``replay`` or ``camera``."""
    stream: str = ""
    """Where they go: ``tcp``, ``zeromq``, ``hdf5``, ``cbor`` or ``none``."""
    addresses: list[str] = []
    """Where writers connect, or the folder."""
    preview_address: str = ""
    metadata_address: str = ""
    writers: int | None = None
    """Writers that would take part in a run that starts now; None: that cannot be known."""
    run_number: int | None = None
    """Of the run that is on, or of the last one."""
    done_images: int = 0
    """Images of the run so far."""
    total_images: int = 0
    """As announced."""
    acknowledged: int = 0
    failed: int = 0
    dropped: int = 0
    waiting: int | None = None
    """Images of the run that is on that writers have not answered for yet; None: no run, or nobody would answer."""
    sockets: list[dict[str, Any]] = []
    """Of the run that is on, connection by connection: ``writer``, ``sent``, ``acknowledged``, ``failed``, ..."""
    image_bytes: int = 0
    images_per_s: float = 0.0
    bytes_per_s: float = 0.0
    runs: int = 0
    """Runs that ended since the actor was started."""
    last_run: DetectorRun | None = None
    last_error: str = ""


class DetectorProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is."""

    state: str
    done_images: int
    total_images: int
    acknowledged: int = 0
    failed: int = 0
    dropped: int = 0


DetectorList: TypeAlias = list[DetectorStatus]


class Detectors(Service):
    """Run the detectors whose images are streamed to writers."""

    service = "detectors"

    @operation(changes=False)
    @abstractmethod
    def list(self) -> DetectorList:
        """List the detectors of the rig, in the order of the rig file."""

    @operation(changes=False, errors=(NotFoundError,))
    @abstractmethod
    def status(self, name: str) -> DetectorStatus:
        """Tell what one detector does.

        Args:
            name: Name of the detector in the rig file.
        """

    @operation(
        errors=(
            NotFoundError,
            StateError,
            ConfigError,
            InvalidNameError,
            RefusedError,
            PeerError,
            PeerGoneError,
            DeadlineError,
            DeviceError,
            CancelledError,
        )
    )
    @abstractmethod
    def arm(
        self,
        name: str,
        *,
        images: int | None = None,
        rate_hz: float | None = None,
        file_prefix: str | None = None,
        images_per_file: int | None = None,
        run_number: int | None = None,
        run_name: str | None = None,
        wait_writers: int | None = None,
        wait_s: float = WAIT_S,
    ) -> DetectorStatus:
        """Prepare a run: START goes to all writers, and each has answered.

        What is not given is as the rig file has it.

        Args:
            name: Name of the detector.
            images: How many images.
            rate_hz: Images per second.
            file_prefix: Folder and beginning of the names of the files, in the writers' output folders; an empty one:
                nothing is stored, only shown.
            images_per_file: Images of each file, and so how they are split between writers.
            run_number: Not given: one more than the last.
            run_name: Not given: number and prefix.
            wait_writers: Wait for so many writers first; not given: as many as the stream needs.
            wait_s: Seconds to wait for them.
        """

    @operation(
        errors=(
            NotFoundError,
            StateError,
            ConfigError,
            InvalidNameError,
            RefusedError,
            PeerError,
            PeerGoneError,
            DeadlineError,
            DeviceError,
            CancelledError,
        )
    )
    @abstractmethod
    def start(
        self,
        name: str,
        *,
        images: int | None = None,
        rate_hz: float | None = None,
        file_prefix: str | None = None,
        images_per_file: int | None = None,
        run_number: int | None = None,
        run_name: str | None = None,
        wait_writers: int | None = None,
        wait_s: float = WAIT_S,
    ) -> DetectorStatus:
        """Start a run; one that is armed already, or a new one. It answers when the images flow.

        Args:
            name: Name of the detector.
            images: How many images.
            rate_hz: Images per second.
            file_prefix: Folder and beginning of the names of the files; an empty one: nothing is stored, only shown.
            images_per_file: Images of each file, and so how they are split between writers.
            run_number: Not given: one more than the last.
            run_name: Not given: number and prefix.
            wait_writers: Wait for so many writers first; not given: as many as the stream needs.
            wait_s: Seconds to wait for them.
        """

    @operation(errors=(NotFoundError,))
    @abstractmethod
    def stop(self, name: str) -> DetectorStatus:
        """End the run early: images that were made are stored, and the files are whole.

        Args:
            name: Name of the detector.
        """

    @operation(errors=(NotFoundError,))
    @abstractmethod
    def cancel(self, name: str) -> DetectorStatus:
        """Take the run back: what waits to be sent is dropped, writers are told to forget the run.

        Args:
            name: Name of the detector.
        """

    @operation(changes=False, errors=(NotFoundError, StateError, DeadlineError))
    @abstractmethod
    def wait(self, name: str) -> Job[DetectorProgress, DetectorRun]:
        """Wait for the end of the run; what became of it. Without a run, of the last one.

        Args:
            name: Name of the detector.
        """
