"""A writer of images on the bus: takes a detector's stream, stores it, tells what it does."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import msgspec

from labwire.actors.writer_recording import RunRecorder
from labwire.bus.actor import Actor, ActorContext, Notification
from labwire.errors import LabwireError
from labwire.images.config import WriterConfig
from labwire.images.writer import ImageWriter, WriterStatistics
from labwire.operations.actors import Actors
from labwire.operations.service import answer_later
from labwire.operations.writers import RunReport, WriterList, Writers, WriterStatus

T = TypeVar("T")

_STATE_S = 1.0
_RATE_OVER_S = 2.0
_FINISH_S = 60.0
"""How long the files under way are waited for at the end; the rig may be less patient."""
_ASK_S = 2.0
_LAST_RUNS = 5
_MAX_FILES = 1000
"""Most names of files in one message."""
_NOTIFIED = {"connected", "connection_lost", "run_started", "run_refused", "run_finished", "image_failed"}
_GONE = {"connection_lost", "not_connected"}


class Writer(Actor, Writers):
    """Stores the images of one detector."""

    Config = WriterConfig
    options: WriterConfig
    hears = ()

    def __init__(self, context: ActorContext) -> None:
        super().__init__(context)
        self._recorder = RunRecorder(self.name, self.options.folder, self.clock.now)
        self.offers = (self._recorder,)
        self._writer: ImageWriter
        self._past: deque[WriterStatistics] = deque()
        self._past_s: deque[float] = deque()
        self._last_runs: deque[RunReport] = deque(maxlen=_LAST_RUNS)
        self._last_error = ""
        self._unreached: set[str] = set()
        """Addresses that could not be reached, which has been logged."""
        self._aside = ThreadPoolExecutor(1, "writers")

    def on_start(self) -> None:
        """Begin to connect; nobody waits for the detector."""
        self._writer = ImageWriter(self.options, self._on_event).start()
        self.every(_STATE_S, self._publish_state)
        self._publish_state()

    def on_stop(self) -> None:
        """Store what was received, finish the files."""
        if hasattr(self, "_writer"):
            self._writer.stop()
            if not self._writer.join(_FINISH_S):
                self.log.error(
                    "the disk has not taken all in %g s; files under way keep their temporary names", _FINISH_S
                )
        self._aside.shutdown(wait=False, cancel_futures=True)
        self._recorder.stop()

    def on_notify(self, notification: Notification) -> None:
        """Store the images of a detector's stream as NeXus files.

        Emits notifications:
            ``writer.connected``: The detector is there.
            ``writer.connection_lost``: It is gone; it is tried again.
            ``writer.run_started``: A run begins: number, name, images, folder.
            ``writer.run_refused``: A run cannot be stored, and why.
            ``writer.run_finished``: A run has ended: images, files, master file, what is missing, ``ok``.
            ``writer.image_failed``: An image could not be stored, and why; at most one each second.

        Emits data:
            ``writer.<name>.state``: Each second, and when a run begins or ends: state, counters, rates, lag.
        """

    # --- what the bus hears

    def _on_event(self, kind: str, data: dict[str, Any]) -> None:
        """On one of the writer's threads: the publisher may be used from any."""
        self._log_event(kind, data)
        if kind == "run_finished":
            data = {**data, "files": data["files"][:_MAX_FILES], "file_count": len(data["files"])}
            self._last_runs.appendleft(msgspec.convert(data, RunReport, strict=False))
            self._recorder.put(data)
        if kind in _NOTIFIED:
            self.notify(f"writer.{kind}", writer=self.name, timestamp=self.clock.now(), **data)
        if kind.startswith("run_"):
            self.post(self._publish_state)

    def _log_event(self, kind: str, data: dict[str, Any]) -> None:
        source, error = data.get("source"), data.get("error") or data.get("reason") or ""
        match kind:
            case "connected":
                self._unreached.discard(str(source))
                self.log.info("connected to %s", source)
            case "run_started":
                self.log.info("run %s from %s: %s/%s", data["run_number"], source, data["folder"], data["file_prefix"])
            case "run_finished" if data["ok"]:
                self.log.info("run %s: %s images stored", data["run_number"], data["images"])
            case "run_finished":
                said = f"{data['images']} images, {data['missing']} missing, {data['failed']} failed"
                self._trouble(f"run {data['run_number']} is not whole ({data['ended']}): {said}; {error}")
            case "files_left":
                self._trouble(str(error))
            case _ if kind in _GONE:
                if source not in self._unreached:
                    self._unreached.add(str(source))
                    self.log.warning("%s: %s; tried again until it answers", source, error)
            case _:
                self._trouble(f"{kind.replace('_', ' ')} at {source}: {error}")

    def _trouble(self, text: str) -> None:
        self._last_error = text
        self.log.error("%s", text)

    def _publish_state(self) -> None:
        now_s, statistics = time.monotonic(), self._writer.statistics()
        self._past.append(statistics)
        self._past_s.append(now_s)
        while len(self._past_s) > 2 and now_s - self._past_s[0] > _RATE_OVER_S:
            self._past.popleft()
            self._past_s.popleft()
        state = msgspec.to_builtins(self._own_status())
        self.emit(f"writer.{self.name}.state", {**state, "timestamp": self.clock.now()}, numbered=True)

    def _own_status(self) -> WriterStatus:
        now, then = self._writer.statistics(), self._past[0]
        passed_s = max(time.monotonic() - self._past_s[0], 1e-3)
        state = "writing" if now.writing else "idle" if now.connected else "connecting"
        counted: dict[str, Any] = {**msgspec.structs.asdict(now), "writing": list(now.writing)}
        counted["stored_bytes"] = counted.pop("image_bytes")
        return WriterStatus(
            name=self.name,
            state=state,
            address=self.options.address,
            folder=self.options.folder,
            images_hz=(now.images - then.images) / passed_s,
            bytes_hz=(now.image_bytes - then.image_bytes) / passed_s,
            last_runs=list(self._last_runs),
            last_error=self._last_error,
            **counted,
        )

    # --- operations

    def list(self) -> WriterList:
        """See `Writers.list`."""
        own = msgspec.structs.replace(self._own_status(), last_runs=[])
        return self._beside(lambda: [own if name == self.name else self._ask(name) for name in self._names()])

    def status(self, name: str) -> WriterStatus:
        """See `Writers.status`."""
        if name == self.name:
            return self._own_status()
        return self._beside(partial(self.service_of(Writers, target=name, timeout_s=_ASK_S).status, name))

    def _names(self) -> list[str]:
        # Not only those of the rig file: parts come and go while the rig runs.
        known = self._known()
        actors = self.service_of(Actors, timeout_s=_ASK_S).list()
        return [actor.name for actor in actors if actor.name in known or Writers.service in actor.services]

    def _known(self) -> dict[str, dict[str, Any]]:
        return self.context.rig_config.get("writers", {})

    def _ask(self, name: str) -> WriterStatus:
        try:
            status = self.service_of(Writers, target=name, timeout_s=_ASK_S).status(name)
            return msgspec.structs.replace(status, last_runs=[])
        except LabwireError as error:
            table = self._known().get(name, {})
            address, folder = str(table.get("address", "")), str(table.get("folder", ""))
            return WriterStatus(name=name, state="unreachable", address=address, folder=folder, last_error=str(error))

    def _beside(self, work: Callable[[], T]) -> T:
        """Do what waits for other writers beside the loop, which answers them meanwhile."""
        future: Future[T] = self._aside.submit(work)
        return answer_later(future)
