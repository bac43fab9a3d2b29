"""No image stream: every image is taken, and goes nowhere.

Source: image-stream, "Image stream replacement".
"""

from __future__ import annotations

from labwire.errors import StateError
from labwire.images.pusher import OutgoingImage, StreamRun
from labwire.wire.image_message import CalibrationMessage, EndMessage
from labwire.wire.run_result import RunResult, SocketResult


class NonePusher:
    """Takes every image and forgets it."""

    confirms = False
    waiting_writers = None

    def __init__(self) -> None:
        self._run: StreamRun | None = None
        self._images = 0
        self._on = self._cancelled = False

    @property
    def addresses(self) -> tuple[str, ...]:
        """None."""
        return ()

    def wait_for_writers(self, count: int | None = None, timeout_s: float | None = None) -> int:
        """There are none to wait for."""
        return 0

    def start(self, run: StreamRun) -> None:
        """Begin a run."""
        self._run, self._images, self._on, self._cancelled = run, 0, True, False

    def send_calibration(self, message: CalibrationMessage) -> None:
        """Forget it."""

    def send_image(self, image: OutgoingImage) -> bool:
        """Count it and forget it.

        Raises:
            StateError: No run is on.
        """
        if not self._on:
            raise StateError("no run is on: start one first")
        self._images += 1
        return True

    def end(self, message: EndMessage) -> RunResult:
        """End the run."""
        result = self._over()
        assert result is not None
        return result

    def cancel(self) -> RunResult | None:
        """Take the run back."""
        self._cancelled = self._cancelled or self._on
        return self._over()

    def _over(self) -> RunResult | None:
        self._on = False
        return self.result()

    def result(self) -> RunResult | None:
        """Tell how many images there were; they all count as sent."""
        if self._run is None:
            return None
        count = self._images
        socket = SocketResult(
            socket_number=0, writer="nowhere", offered=count, sent=count, acknowledged=0, failed=0, missing=count
        )
        return RunResult(
            run_number=self._run.run_number,
            run_name=self._run.run_name,
            sockets=(socket,),
            cancelled=self._cancelled,
        )

    def close(self) -> None:
        """Nothing is open."""
        self.cancel()
