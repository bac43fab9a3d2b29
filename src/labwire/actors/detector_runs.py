"""The runs of a detector, one after the other, on a thread of their own."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import msgspec

from labwire.actors.detector_config import DetectorConfig
from labwire.actors.detector_settings import RunSettings, request_of
from labwire.errors import CancelledError, LabwireError, StateError
from labwire.images.acquisition import Acquisition, Source
from labwire.images.stream import ImageStream, StreamResult
from labwire.operations.detectors import DetectorRun


class RunListener(Protocol):
    """Who hears of the runs, on any thread."""

    def on_state(self) -> None:
        """Hear that the state is another one."""
        ...

    def on_run(self, what: str, /, **told: Any) -> None:
        """Hear what has happened: ``armed``, ``started``, ``finished`` or ``failed``."""
        ...

    def on_finished(self, run: DetectorRun) -> None:
        """Hear what a run has given, before `on_run` tells that it has finished."""
        ...


class DetectorRuns:
    """Arms, runs, stops and cancels; at most one run is under way.

    Args:
        name: Of the detector.
        options: What the rig file says of runs.
        source: Of the images.
        stream: Where they go.
        listener: Hears of the runs.
        log: Of the detector.
    """

    def __init__(
        self,
        name: str,
        options: DetectorConfig,
        source: Source,
        stream: ImageStream,
        listener: RunListener,
        log: logging.Logger,
    ) -> None:
        self.state = "idle"
        """``idle``, ``arming``, ``armed``, ``running`` or ``ending``."""
        self.run_number: int | None = None
        """Of the run under way, else of the last one."""
        self.done = 0
        """Runs that have ended."""
        self.last: DetectorRun | None = None
        self.last_error = ""
        self._name = name
        self._options = options
        self._source = source
        self._stream = stream
        self._listener = listener
        self._log = log
        self._lock = threading.Lock()
        self._acquisition: Acquisition | None = None
        self._acquiring = ThreadPoolExecutor(1, "run")

    def begin(self, settings: RunSettings, *, then_run: bool) -> Future[None]:
        """Arm, and run if that is wanted, or run what is armed.

        Returns:
            Ends when START is acknowledged, and with the error if it is not.

        Raises:
            StateError: Another run is under way, or is armed and not as it is wanted now.
        """
        with self._lock:
            armed = self._acquisition
            if self.state == "armed" and then_run:
                if settings != RunSettings(wait_s=settings.wait_s):
                    raise StateError(f"run {self.run_number} is armed: start it as it is, or cancel it first")
            elif self.state != "idle":
                raise StateError(f"{self._name} is {self.state}, with run {self.run_number}")
            else:
                armed = None
                request = request_of(self._options, settings, self.run_number)
                self._acquisition = Acquisition(self._source, self._stream, request, self._options.messages)
                self.run_number, self.state = request.run_number, "arming"
        begun: Future[None] = Future()
        self._acquiring.submit(self._work, settings, begun, armed is not None, then_run)
        return begun

    def stop(self) -> None:
        """End the run early; what was made is stored. Nothing happens if there is none."""
        with self._lock:
            acquisition, armed = self._acquisition, self.state == "armed"
            if armed:
                self.state = "ending"
        if acquisition is not None:
            acquisition.stop()
            if armed:
                self._acquiring.submit(self._run, acquisition)

    def cancel(self) -> None:
        """Take the run back; blocks for the half second that writers have to answer. Nothing happens without a run."""
        with self._lock:
            acquisition, armed = self._acquisition, self.state == "armed"
            if acquisition is not None:
                self.state = "ending"
        if acquisition is None:
            return
        acquisition.cancel()
        if armed:
            self._finished(self._stream.last_result)

    def ended(self) -> Future[None]:
        """Return what ends when all runs that were begun have ended."""
        return self._acquiring.submit(lambda: None)

    def give_up(self) -> None:
        """Take a run back that is on, because the detector ends; `close` follows."""
        if acquisition := self._acquisition:
            acquisition.cancel()

    def close(self) -> None:
        """Wait for the end of the last run."""
        self._acquiring.shutdown()

    # --- on the thread of the runs

    def _work(self, settings: RunSettings, begun: Future[None], armed: bool, then_run: bool) -> None:  # noqa: FBT001
        acquisition = self._acquisition
        assert acquisition is not None
        try:
            if not armed:
                self._arm(acquisition, settings)
            if then_run:
                self._become("running")
                self._listener.on_run("started", run_number=self.run_number)
            begun.set_result(None)
        except Exception as error:
            self._become("idle")
            self.failed(error)
            begun.set_exception(error)
            return
        if then_run:
            self._run(acquisition)

    def _arm(self, acquisition: Acquisition, settings: RunSettings) -> None:
        if acquisition.stored:
            self._stream.pusher.wait_for_writers(settings.wait_writers, settings.wait_s)
        acquisition.arm()
        self._become("armed")
        self._listener.on_run("armed", run_number=self.run_number, images=acquisition.images)

    def _run(self, acquisition: Acquisition) -> None:
        failure = ""
        try:
            result = acquisition.run()
        except CancelledError:
            result = self._stream.last_result
        except LabwireError as error:
            failure, result = error.message, self._stream.last_result
        except Exception as error:
            self._log.exception("run %s failed in a way that was not foreseen", self.run_number)
            failure, result = f"{type(error).__name__}: {error}", self._stream.last_result
        self._finished(result, failure)

    def _finished(self, result: StreamResult | None, failure: str = "") -> None:
        """Tell what became of a run.

        Args:
            result: Of the stream.
            failure: Why its images ended early; empty: they did not.
        """
        if result is None:
            self._become("idle")
            return
        run = msgspec.convert(result.summary(), DetectorRun)
        if failure:
            run = msgspec.structs.replace(run, ok=False, error=failure)
        with self._lock:
            self.last = run
            self.done += 1
        if run.error:
            self.last_error = run.error
            begin = f"run {run.run_number}: "
            self._log.error("%s%s", begin, run.error.removeprefix(begin))
        else:
            said = "cancelled" if run.cancelled else f"{run.images} images in {run.duration_s:.3g} s"
            self._log.info("run %s: %s", run.run_number, said)
        self._become("idle")
        self._listener.on_finished(run)
        told = {key: value for key, value in msgspec.to_builtins(run).items() if key not in {"sockets", "errors"}}
        self._listener.on_run("finished", **told)

    def failed(self, error: Exception) -> None:
        """Tell that a run did not begin, and why."""
        self.last_error = str(error)
        self._log.error("%s", error)
        self._listener.on_run("failed", reason=str(error))

    def _become(self, state: str) -> None:
        with self._lock:
            self.state = state
            if state == "idle":
                self._acquisition = None
        self._listener.on_state()
