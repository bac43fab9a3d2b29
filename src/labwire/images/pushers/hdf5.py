"""Images written to NeXus HDF5 files on this computer, by what a writer stores them with.

Source: image-stream, "Image stream replacement".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from labwire.errors import LabwireError
from labwire.images.config import WriterOptions
from labwire.images.hdf5_tree import load_h5py
from labwire.images.pusher import OnEvent, OutgoingImage, StreamRun
from labwire.images.pushers.local_pusher import LocalPusher
from labwire.images.run_taker import RunTaker
from labwire.images.stream_config import Hdf5Config
from labwire.wire.image_message import CalibrationMessage, EndMessage
from labwire.wire.image_user_data import start_for_socket


class Hdf5Pusher(LocalPusher):
    """Writes data files and a master file, as `labwire write` does.

    Args:
        config: Where to.
        on_event: Told ``image_failed``.

    Raises:
        MissingExtraError: h5py is not installed.
    """

    def __init__(self, config: Hdf5Config, on_event: OnEvent | None = None) -> None:
        load_h5py()
        super().__init__(Path(config.folder), on_event)
        options = WriterOptions(overwrite=True if config.overwrite else None)
        self._taker = RunTaker(self._folder, options, source="this computer", on_event=_no_news)
        self._failed = False

    def _begin(self, run: StreamRun) -> None:
        self._failed = False
        self._taker.start(start_for_socket(run.start, socket_number=0))

    def _store_calibration(self, run: StreamRun, message: CalibrationMessage) -> None:
        self._taker.calibration(message)

    def _store(self, run: StreamRun, image: OutgoingImage) -> None:
        if self._failed:
            raise LabwireError("not stored: a file of the run could not be written")
        try:
            self._taker.image(image.message)
        except OSError as error:
            self._failed = True
            self._taker.stop("failed", str(error))
            raise

    def _finish(self, run: StreamRun, message: EndMessage) -> None:
        if self._failed:
            return
        _, fault = self._taker.end(message)
        if isinstance(fault, OSError | LabwireError):
            raise fault
        if fault is not None:
            raise LabwireError(f"{type(fault).__name__}: {fault}")

    def _discard(self, run: StreamRun) -> None:
        self._taker.stop("cancelled")


def _no_news(_kind: str, _data: dict[str, Any]) -> None:
    """Everything that it tells is in the result as well."""
