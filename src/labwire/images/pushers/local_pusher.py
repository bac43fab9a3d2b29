"""What pushers share that store images on this computer instead of sending them.

Source: image-stream, "Image stream replacement".
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from pathlib import Path

from labwire.errors import DeviceError, LabwireError, StateError
from labwire.images.pusher import OnEvent, OutgoingImage, StreamRun
from labwire.wire.image_message import CalibrationMessage, EndMessage
from labwire.wire.run_result import ImageAccount, RunResult, sum_up
from labwire.wire.tcp_frame import ACK_CODE_OF_ERRNO, ERROR_OF_ACK_CODE


class LocalPusher(ABC):
    """Stores one run after the other, in the thread that hands the images over: the disk's pace is the run's.

    Args:
        folder: Output folder.
        on_event: Told ``image_failed`` for the first image of a run that cannot be stored.
    """

    confirms = True
    waiting_writers = None

    def __init__(self, folder: Path, on_event: OnEvent | None = None) -> None:
        self._folder = folder
        self._on_event = on_event
        self._lock = threading.RLock()
        self._run: StreamRun | None = None
        self._account: ImageAccount | None = None
        self._on = self._cancelled = False
        self._faulted = False

    # --- what each kind does; an OSError in it is a fault of the disk

    @abstractmethod
    def _begin(self, run: StreamRun) -> None: ...

    @abstractmethod
    def _store_calibration(self, run: StreamRun, message: CalibrationMessage) -> None: ...

    @abstractmethod
    def _store(self, run: StreamRun, image: OutgoingImage) -> None: ...

    @abstractmethod
    def _finish(self, run: StreamRun, message: EndMessage) -> None: ...

    @abstractmethod
    def _discard(self, run: StreamRun) -> None: ...

    # --- what a pusher can do

    @property
    def addresses(self) -> tuple[str, ...]:
        """The folder."""
        return (str(self._folder),)

    def wait_for_writers(self, count: int | None = None, timeout_s: float | None = None) -> int:
        """There are none to wait for."""
        return 0

    def start(self, run: StreamRun) -> None:
        """Begin a run.

        Raises:
            LabwireError: Its files cannot be made.
        """
        with self._lock:
            if self._on:
                raise StateError("a run is on: end or cancel it first")
            try:
                self._begin(run)
            except OSError as error:
                raise _error_of(error) from error
            self._run, self._account = run, ImageAccount(0, str(self._folder))
            self._on, self._cancelled, self._faulted = True, False, False

    def send_calibration(self, message: CalibrationMessage) -> None:
        """Store calibration."""
        with self._lock:
            run, account = self._current()
            try:
                self._store_calibration(run, message)
            except (OSError, LabwireError) as error:
                account.note_fault(account.fault(_error_of(error)))

    def send_image(self, image: OutgoingImage) -> bool:
        """Store an image; False if that failed, and the run goes on.

        Raises:
            StateError: There is no run, or it was cancelled.
        """
        number = image.message.image_id
        with self._lock:
            run, account = self._current()
            account.note_sent(number)
            try:
                self._store(run, image)
            except (OSError, LabwireError) as error:
                failure = _error_of(error)
                account.note_failed(number, account.acknowledged, account.fault(failure, image_number=number))
                self._report(number, failure)
                return False
            account.note_acknowledged(number, account.acknowledged + 1)
            return True

    def end(self, message: EndMessage) -> RunResult:
        """End the run: its files are whole, or the result says what is not."""
        with self._lock:
            run, account = self._current()
            self._on = False
            try:
                self._finish(run, message)
            except (OSError, LabwireError) as error:
                account.note_fault(account.fault(_error_of(error)))
        return self._result_of(run, account)

    def cancel(self) -> RunResult | None:
        """Take the run back; what is stored already is finished as far as it goes."""
        with self._lock:
            if self._on and self._run is not None:
                self._on, self._cancelled = False, True
                try:
                    self._discard(self._run)
                except (OSError, LabwireError) as error:
                    assert self._account is not None
                    self._account.note_fault(self._account.fault(_error_of(error)))
            return self.result()

    def result(self) -> RunResult | None:
        """Return how the run stands, or the last one."""
        if self._run is None or self._account is None:
            return None
        return self._result_of(self._run, self._account)

    def close(self) -> None:
        """Cancel a run that is on."""
        self.cancel()

    def _current(self) -> tuple[StreamRun, ImageAccount]:
        if not self._on or self._run is None or self._account is None:
            raise StateError("no run is on: start one first")
        return self._run, self._account

    def _result_of(self, run: StreamRun, account: ImageAccount) -> RunResult:
        return sum_up(run.run_number, run.run_name, [account], cancelled=self._cancelled)

    def _report(self, number: int, error: LabwireError) -> None:
        first, self._faulted = not self._faulted, True
        if first and self._on_event is not None:
            self._on_event("image_failed", {"image_number": number, "reason": error.message})


def _error_of(error: OSError | LabwireError) -> LabwireError:
    """Return the error of labwire's that a writer's ACK would have become."""
    if isinstance(error, LabwireError):
        return error
    code = ACK_CODE_OF_ERRNO.get(error.errno or 0)
    kind = DeviceError if code is None else ERROR_OF_ACK_CODE[code]
    return kind(str(error))
