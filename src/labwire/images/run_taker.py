"""Takes the messages of a stream, one run after the other, and hands them to what stores them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import msgspec

from labwire.errors import ProtocolError
from labwire.images.config import WriterOptions
from labwire.images.run_files import Ending, RunFiles, RunStore, WrittenRun
from labwire.images.run_plan import RunPlan, plan_run
from labwire.wire.cbor_values import Limits
from labwire.wire.image_message import CalibrationMessage, EndMessage, ImageMessage, Message, StartMessage

OnEvent: TypeAlias = Callable[[str, dict[str, Any]], None]

LIMITS = Limits(max_bytes=512 << 20, max_array_bytes=1 << 30)
"""Of START, CALIBRATION and END: masks and calibration of the largest detectors."""
_TELL_AGAIN_S = 1.0


class DiscardedRun:
    """Takes the images of a run and stores nothing."""

    def __init__(self, plan: RunPlan) -> None:
        self.plan = plan
        self.fault: Exception | None = None
        self._images = 0
        self._began_s = time.monotonic()

    def write_calibration(self, message: CalibrationMessage) -> None:
        """Do nothing."""

    def write_image(self, image_number: int, message: ImageMessage) -> int:
        """Count."""
        self._images += 1
        size = 0
        for array in message.data.values():  # a generator would take longer
            size += len(array.data)
        return size

    def finish(self, ended: Ending, end: EndMessage | None = None, error: str = "", *, failed: int = 0) -> WrittenRun:
        """Tell how many there were."""
        return WrittenRun(
            run_number=self.plan.run_number,
            run_name=self.plan.run_name,
            socket_number=self.plan.socket_number,
            ended=ended,
            images=self._images,
            announced=self.plan.announced,
            failed=failed,
            duration_s=round(time.monotonic() - self._began_s, 3),
            error=error,
        )


class TakerCounters(msgspec.Struct):
    """What one stream has brought since it was begun."""

    images: int = 0
    """Stored."""
    image_bytes: int = 0
    """Of these images, as they came."""
    failed: int = 0
    """Came and could not be stored."""
    missing: int = 0
    """Belonged to runs that ended, and did not come."""
    runs: int = 0
    """Ended, in whatever way, except those that were taken back before their first image."""
    refused: int = 0
    """Runs that could not be begun."""


class RunTaker:
    """One run after the other. Not for two threads at once.

    Args:
        folder: The writer's output folder.
        options: How to store.
        source: Address of the sender, for messages.
        on_event: Told of ``run_started``, ``files_left``, ``run_finished`` and ``image_failed``, with what
            belongs to it.
    """

    def __init__(self, folder: Path, options: WriterOptions, *, source: str, on_event: OnEvent) -> None:
        self.counters = TakerCounters()
        self.store: RunStore | None = None
        """The run that is on."""
        self._folder = folder
        self._options = options
        self._source = source
        self._on_event = on_event
        self._told_s = float("-inf")

    def start(self, message: Message, socket_number: int | None = None) -> RunPlan:
        """Begin a run; one that is on is cut off. Nothing of the message is referred to afterwards.

        Args:
            message: START, with its arrays.
            socket_number: What the TCP frame's header says.

        Raises:
            LabwireError: START asks for what is refused.
            FileFailedError: Its files cannot be written.
        """
        start = _expect(message, StartMessage)
        self.stop("lost", "the sender began another run")
        options = self._options
        plan = plan_run(start, socket_number=socket_number, overwrite=options.overwrite, max_images=options.max_images)
        plan = msgspec.structs.replace(plan, start=_without_arrays(start))
        self.store = DiscardedRun(plan) if options.discard else RunFiles(self._folder, plan, start, options)
        folder = str(self._folder.joinpath(*plan.folders))
        about = {"images": plan.announced, "folder": folder, "file_prefix": plan.prefix}
        self._on_event("run_started", {**self._about(plan), **about})
        if isinstance(self.store, RunFiles) and self.store.left_behind:
            text = f"{self.store.left_behind} files in {folder} are of a writer that was killed: labwire images repair"
            self._on_event("files_left", {**self._about(plan), "error": f"{text} {folder}"})
        return plan

    def calibration(self, message: Message) -> None:
        """Store calibration.

        Raises:
            LabwireError: It is none.
            FileFailedError: A file cannot be written.
        """
        calibration = _expect(message, CalibrationMessage)
        if self.store is not None:
            self.store.write_calibration(calibration)

    def image(self, message: Message, image_number: int | None = None) -> None:
        """Store an image.

        Args:
            message: The image.
            image_number: What the TCP frame's header says; it wins.

        Raises:
            LabwireError: This image cannot be stored.
            FileFailedError: A file cannot be written; the run cannot go on.
        """
        image = message if type(message) is ImageMessage else _expect(message, ImageMessage)
        if self.store is None:
            raise ProtocolError("an image without a run")
        size = self.store.write_image(image.image_id if image_number is None else image_number, image)
        self.counters.images += 1
        self.counters.image_bytes += size

    def note_refused(self, run_number: int | None, error: str) -> None:
        """Count a run that could not be begun, and tell it."""
        self.counters.refused += 1
        self._on_event("run_refused", {"run_number": run_number, "source": self._source, "error": error})

    def note_failed(self, image_number: int | None, error: Exception) -> None:
        """Count an image that could not be stored; the first of many is told."""
        self.counters.failed += 1
        now_s = time.monotonic()
        if now_s - self._told_s >= _TELL_AGAIN_S:
            self._told_s = now_s
            about = self._about(self.store.plan) if self.store else {"source": self._source}
            self._on_event("image_failed", {**about, "image_number": image_number, "error": str(error)})

    def end(self, message: Message | None, error: str = "") -> tuple[WrittenRun, Exception | None]:
        """Finish the run; return what became of it, and why a file could not be finished.

        Args:
            message: END; None if it could not be read: the images are here all the same.
            error: Why not.

        Raises:
            ProtocolError: There is no run, or this is not END.
        """
        end = None if message is None else _expect(message, EndMessage)
        store = self.store
        if store is None:
            raise ProtocolError("END without a run")
        return self._finish(store, "end", end, error), store.fault

    def stop(self, ended: Ending, error: str = "", *, failed: int = 0) -> WrittenRun | None:
        """End the run that is on, if one is, without END.

        Args:
            ended: How.
            error: Why.
            failed: Images that came after it was given up, and were not looked at.
        """
        self.counters.failed += failed if self.store is not None else 0
        return self._finish(self.store, ended, None, error, failed) if self.store is not None else None

    def _finish(
        self, store: RunStore, ended: Ending, end: EndMessage | None, error: str, failed: int = 0
    ) -> WrittenRun:
        self.store = None
        written = store.finish(ended, end, error, failed=failed)
        if written.images or ended != "cancelled":
            self.counters.runs += 1
            self.counters.missing += written.missing
        self._on_event("run_finished", {**msgspec.to_builtins(written), "ok": written.ok, "source": self._source})
        return written

    def _about(self, plan: RunPlan) -> dict[str, Any]:
        return {
            "run_number": plan.run_number,
            "run_name": plan.run_name,
            "socket_number": plan.socket_number,
            "source": self._source,
        }


_M = TypeVar("_M", StartMessage, CalibrationMessage, ImageMessage, EndMessage)


def _expect(message: Message, kind: type[_M]) -> _M:
    if not isinstance(message, kind):
        raise ProtocolError(f"a {type(message).__name__} came where a {kind.__name__} belongs")
    return message


_ARRAYS = {field.name: None for field in msgspec.structs.fields(StartMessage) if "Array" in str(field.type)}


def _without_arrays(start: StartMessage) -> StartMessage:
    return msgspec.structs.replace(start, extra={}, user_data=None, **_ARRAYS)
