"""A V4L2 camera as a source of pictures, stamped by its driver."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, cast

from labwire.clock import EpochAnchor, monotonic_s
from labwire.errors import DeviceError, LabwireError, StateError, needs_extra
from labwire.picture import Picture, check_jpeg, picture_of
from labwire.sources.picture_source import SourceDescription

if TYPE_CHECKING:
    from cv2 import VideoCapture

    from labwire.picture import Pixels

_log = logging.getLogger(__name__)

DEVICES = Path("/dev")

_SLICE_NS = 50_000_000  # a close waits at most this long for a read
# OpenCV waits for the first picture itself, 10 s unless told otherwise, in whole seconds, once per process.
_FIRST_WAIT = ("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "1")
_PAUSE_S = 0.001  # after nothing came: a driver in trouble may return at once, for ever
_SILENT_S = 5.0  # USB cameras need up to 3 s for their first picture
_MAX_AGE_S = 2.0  # a driver's timestamp older than that is of another clock
_MJPG = "MJPG"
_SETTLE_S = 2.0
_EXPOSURE_MANUAL, _EXPOSURE_AUTO = 1, 3  # V4L2_EXPOSURE_MANUAL, V4L2_EXPOSURE_APERTURE_PRIORITY: linux/v4l2-controls.h


class CameraSource:
    """Take pictures with a camera.

    >>> camera = CameraSource(0, width_px=1280, height_px=720)
    >>> camera.open()  # doctest: +SKIP
    >>> camera.read().format  # doctest: +SKIP
    'jpeg'

    Motion JPEG is asked for and passed on as it came; a camera without it delivers bgr. Timestamps are the driver's
    where it stamps with the monotonic clock, else the moment of arrival.

    Args:
        device: 0 is /dev/video0; or the path of a device.
        width_px: What to ask the camera for; it takes the nearest it has. None: its own default.
        height_px: As `width_px`.
        fps: Pictures per second to ask for. None: its own default.
        codec: What to ask the camera to send, as four characters: ``MJPG``, ``UYVY``, ``YUYV``.
        lock_exposure: Let the camera find an exposure for two seconds, then keep it, where it can: brightness that
            follows what moves in the picture looks like a pulse.
        anchor: Turns moments of capture into microseconds since the epoch.
    """

    def __init__(
        self,
        device: int | Path,
        *,
        width_px: int | None = None,
        height_px: int | None = None,
        fps: float | None = None,
        codec: str = _MJPG,
        lock_exposure: bool = False,
        anchor: EpochAnchor | None = None,
    ) -> None:
        self._codec = codec
        self._lock_exposure = lock_exposure
        self._lock_at_s: float | None = None
        self._path = DEVICES / f"video{device}" if isinstance(device, int) else device
        self._width_px, self._height_px, self._fps = width_px, height_px, fps
        self._anchor = anchor or EpochAnchor()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._capture: VideoCapture | None = None
        self._first = True
        self._as_it_came = False
        self._description = SourceDescription(kind="camera", name=str(self._path))
        self._index = 0
        self._malformed = 0
        self._last_s = 0.0

    @property
    def malformed(self) -> int:
        """Pictures that the camera sent torn, since the source was made."""
        return self._malformed

    def open(self) -> None:
        """Open the camera and ask it for size and rate; nothing happens if it is open.

        Raises:
            DeviceError: There is no such camera, or it cannot be used.
            MissingExtraError: OpenCV is not installed.
        """
        with self._lock:
            if self._capture is None:
                self._closing.clear()
                self._capture = self._opened()
                self._first = True
                self._description = self._describe(self._capture)

    def read(self) -> Picture | None:
        """Wait for the next picture and return it; None when `close` was called.

        Raises:
            DeviceError: The camera was unplugged, or sends nothing any more.
            StateError: It is not open.
        """
        since_s = monotonic_s()
        while not self._closing.is_set():
            with self._lock:
                picture = None if self._closing.is_set() else self._try_read()
                if self._closing.is_set():
                    self._release()
                    return None
            if picture is not None:
                return picture
            if monotonic_s() - since_s > _SILENT_S:
                raise DeviceError(
                    f"{self._path} has sent no picture for {_SILENT_S:g} s; unplug it, plug it in again, and see that "
                    "it does not share a USB hub with another camera",
                    path=str(self._path),
                )
        return None

    def close(self) -> None:
        """Let go of the camera; a `read` that waits returns None within 0.1 s. Safe to call twice.

        Only a read that waits for the very first picture may take a second; the camera is let go of when it returns.
        """
        self._closing.set()
        if self._lock.acquire(timeout=3 * _SLICE_NS / 1e9):
            try:
                self._release()
            finally:
                self._lock.release()

    def describe(self) -> SourceDescription:
        """Tell size, rate and codec as the camera took them; 0 and empty until it was opened."""
        return self._description

    # The methods below are called with the lock held.

    def _release(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _opened(self) -> VideoCapture:
        with needs_extra("camera"):
            import cv2
        _check_device(self._path)
        os.environ.setdefault(*_FIRST_WAIT)
        capture = cv2.VideoCapture(str(self._path), cv2.CAP_V4L2)
        if not capture.isOpened():
            raise DeviceError(
                f"{self._path} does not open as a camera; is another program using it? (fuser {self._path} tells)",
                path=str(self._path),
            )
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*self._codec))
        wishes = {
            cv2.CAP_PROP_FRAME_WIDTH: self._width_px,
            cv2.CAP_PROP_FRAME_HEIGHT: self._height_px,
            cv2.CAP_PROP_FPS: self._fps,
        }
        for wish, value in wishes.items():
            if value is not None:
                capture.set(wish, value)
        self._as_it_came = _codec(capture) == _MJPG
        if self._as_it_came:
            capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)  # the JPEG itself, not what OpenCV would make of it
        self._lock_at_s = None
        if self._lock_exposure and capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, _EXPOSURE_AUTO):
            self._lock_at_s = monotonic_s() + _SETTLE_S
        return capture

    def _keep_exposure(self, capture: VideoCapture) -> None:
        # A camera without such a control says no; the picture is then as bright as it likes.
        import cv2

        self._lock_at_s = None
        exposure = capture.get(cv2.CAP_PROP_EXPOSURE)
        if capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, _EXPOSURE_MANUAL) and exposure > 0:
            capture.set(cv2.CAP_PROP_EXPOSURE, exposure)
            _log.info("%s: exposure is kept at %g", self._path, exposure)

    def _describe(self, capture: VideoCapture) -> SourceDescription:
        import cv2

        return SourceDescription(
            kind="camera",
            name=str(self._path),
            width=int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            height=int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
            fps=capture.get(cv2.CAP_PROP_FPS),
            codec=_codec(capture),
            as_it_came=self._as_it_came,
        )

    def _try_read(self) -> Picture | None:
        # Waits one slice; None: nothing came, or what came was torn.
        import cv2

        if self._capture is None:
            raise StateError(f"{self._path} is not open: call open() first")
        try:
            ready, _ = cv2.VideoCapture.waitAny([self._capture], _SLICE_NS)
            taken, pixels = self._capture.retrieve() if ready else (False, None)
        except cv2.error as error:
            if self._first and self._path.exists():
                taken, pixels = False, None  # the first picture is late, and OpenCV says so in this way
            else:
                raise self._failed(str(error)) from error
        self._first = False
        if not taken or pixels is None:
            if not self._path.exists():
                raise self._failed("it is gone")
            self._closing.wait(_PAUSE_S)
            return None
        if self._lock_at_s is not None and monotonic_s() >= self._lock_at_s:
            self._keep_exposure(self._capture)
        captured_s = self._captured_s(self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3)
        try:
            picture = self._picture(cast("Pixels", pixels), captured_s)
        except LabwireError:
            self._malformed += 1
            return None
        self._index += 1
        return picture

    def _picture(self, pixels: Pixels, captured_s: float) -> Picture:
        epoch_us = self._anchor.at(captured_s)
        if not self._as_it_came:
            return picture_of(pixels, index=self._index, monotonic_s=captured_s, epoch_us=epoch_us)
        data = pixels.tobytes()
        width, height = check_jpeg(data)
        return Picture(
            index=self._index,
            monotonic_s=captured_s,
            epoch_us=epoch_us,
            width=width,
            height=height,
            format="jpeg",
            data=data,
        )

    def _captured_s(self, stamp_s: float) -> float:
        # V4L2 drivers stamp with the monotonic clock, but not all of them: what cannot be is not believed.
        now_s = monotonic_s()
        if not self._last_s < stamp_s <= now_s or now_s - stamp_s > _MAX_AGE_S:
            stamp_s = now_s
        self._last_s = stamp_s
        return stamp_s

    def _failed(self, reason: str) -> DeviceError:
        text = f"{self._path} failed: {reason}" if self._path.exists() else f"{self._path} was unplugged"
        return DeviceError(text, path=str(self._path))


def _check_device(path: Path) -> None:
    if not path.exists():
        found = sorted(str(other) for other in path.parent.glob("video*"))
        there = f"there are {', '.join(found)}" if found else f"there is no {path.parent}/video* at all"
        raise DeviceError(f"no camera {path} (is it plugged in?): {there}", path=str(path), found=found)
    if not os.access(path, os.R_OK | os.W_OK):
        raise DeviceError(
            f"no permission to use {path}: join the group that owns it (sudo usermod -aG video $USER), "
            "then log out and in again",
            path=str(path),
        )


def _codec(capture: VideoCapture) -> str:
    import cv2

    code = int(capture.get(cv2.CAP_PROP_FOURCC))
    return code.to_bytes(4, "little", signed=code < 0).decode("ascii", "replace").strip("\0 ")
