"""The runs of a detector in a session: one line of JSON each; and a run with each session, if the rig wants that."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import msgspec

from labwire.actors.writer_recording import RunRecorder
from labwire.errors import PeerGoneError
from labwire.operations.detectors import DetectorRun
from labwire.operations.recordable import SessionStart, StreamCounters, StreamDescription
from labwire.operations.service import answer_later

T = TypeVar("T")

Begin = Callable[[SessionStart], "Future[None]"]
End = Callable[[], "Future[None]"]


class DetectorRecorder(RunRecorder):
    """Notes each run that ends while a session records. The images are stored by the writers.

    Args:
        name: Of the detector.
        rig_time: Gives rig time.
        begin: Starts a run with the session; None: runs are started by others.
        end: Ends that run.
    """

    def __init__(self, name: str, rig_time: Callable[[], float], begin: Begin | None, end: End) -> None:
        super().__init__(name, "", rig_time)
        self._detector = name
        self._begin_run, self._end_run = begin, end

    @property
    def _file_name(self) -> str:
        return f"detector.{self._detector}.jsonl"

    def prepare(self, session: SessionStart) -> StreamDescription:
        """See `Recordable.prepare`."""
        self._of = session
        return super().prepare(session)

    def start(self) -> None:
        """See `Recordable.start`."""
        super().start()
        return None if self._begin_run is None else answer_later(self._begin_run(self._of))

    def stop(self) -> StreamCounters:
        """See `Recordable.stop`; a run that began with the session is ended first."""
        if self._begin_run is None or not self._recording:
            return super().stop()
        ended, counted = self._end_run(), Future[StreamCounters]()

        def note(_: Future[None]) -> None:
            counted.set_result(super(DetectorRecorder, self).stop())

        ended.add_done_callback(note)
        return answer_later(counted)

    def describe(self) -> StreamDescription:
        """See `Recordable.describe`."""
        told = super().describe()
        about = {"format": "JSON Lines: one run each, as notify.detector.finished has it", "runs": told.about["runs"]}
        return msgspec.structs.replace(told, about=about)

    def put_run(self, run: DetectorRun) -> None:
        """Take a run that has ended, from any thread; without a session nothing happens."""
        kept: dict[str, Any] = {
            **msgspec.to_builtins(run),
            "missing": run.missing or 0,
            "stored_bytes": run.image_bytes,
            "socket_number": 0,
            "file_count": 0,
            "files": [],
            "master_file": "",
        }
        self.put(kept)


def done_with(future: Future[Any], result: Callable[[], T] = lambda: None) -> Future[T]:
    """Return a future that ends with another, as well or as badly; its result is asked for at that moment."""
    done: Future[T] = Future()

    def pass_on(ended: Future[Any]) -> None:
        error = ended.exception() if not ended.cancelled() else PeerGoneError("the detector ends")
        done.set_result(result()) if error is None else done.set_exception(error)

    future.add_done_callback(pass_on)
    return done
