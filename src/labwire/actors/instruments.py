"""The instruments of a rig on the bus: one actor for all of them, each driver in a worker process of its own."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec

from labwire.actors.instrument_bus import InstrumentBus
from labwire.actors.instrument_events import InstrumentEvents
from labwire.actors.instrument_jobs import InstrumentJobs
from labwire.actors.instrument_replies import result_of, status_of
from labwire.actors.instrument_set import LiveInstruments
from labwire.bus.actor import Actor, ActorContext, Notification
from labwire.errors import LabwireError, QueueFullError, StateError
from labwire.instruments.calling.dispatch import Dispatcher, Outcome
from labwire.instruments.config import InstrumentConfig
from labwire.instruments.recording import CommandRecorder
from labwire.instruments.server import InstrumentServer
from labwire.instruments.status import State
from labwire.names import INSTRUMENT
from labwire.operations.instrument_api import InstrumentApi
from labwire.operations.instruments import (
    DEFAULT_TIMEOUT_MS,
    WINDOW,
    AcquisitionDone,
    BarrierDone,
    Block,
    CommandRequest,
    CommandResult,
    InstrumentList,
    Instruments,
    InstrumentStatus,
    NameList,
    Ping,
    ResultList,
    RunProgress,
)
from labwire.operations.instruments import CommandList as Commands
from labwire.operations.job import Job
from labwire.operations.service import answer_later
from labwire.strict import Strict

T = TypeVar("T")

_STATE_S = 1.0
_SWITCH_INTERVAL_S = 0.0005
"""A thread that publishes costs a thread that calls up to this."""
_TAKE_IN_S = 5.0
_MAX_ASIDE = 64
_ASIDE_THREADS = 8


class InstrumentsOptions(Strict):
    """Options of the instruments; the rig fills them in."""

    instruments: dict[str, InstrumentConfig]
    python_path: list[str] = []


class InstrumentsActor(Actor, Instruments):
    """Runs the instruments of the rig and puts what they say on the bus."""

    Config = InstrumentsOptions
    options: InstrumentsOptions

    def __init__(self, context: ActorContext) -> None:
        super().__init__(context)
        self._recorder = CommandRecorder(self.clock.at, lambda text: self.log.error("%s", text))
        live = LiveInstruments(
            self.options.instruments, take_in=self._take_in, remove=self._remove, beside=self._beside
        )
        self.offers = (self._recorder, live)
        self._bus = InstrumentBus(context.publisher, self.clock.at, self._result_lost)
        self._events = InstrumentEvents(self.log, self._tell, self._publish_state)
        self._aside = ThreadPoolExecutor(_ASIDE_THREADS, "instruments")
        self._asides = 0
        self._refused: dict[str, LabwireError] = {}
        """Instruments that the server did not take, and why."""
        self._server: InstrumentServer
        self._dispatcher: Dispatcher
        self._jobs: InstrumentJobs

    def on_start(self) -> None:
        """Start the workers; nobody waits for them, so that a slow driver does not hold up the rig."""
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        self._bus.start()
        self._server = InstrumentServer(on_event=self._events, python_path=self.options.python_path)
        self._dispatcher = Dispatcher(self._server, self._on_outcome)
        self._jobs = InstrumentJobs(self._server, self._dispatcher, self._on_block, self.clock.at)
        for name in self.options.instruments:
            self._take_in(name)
        self.every(_STATE_S, self._publish_states)
        self.every(_TAKE_IN_S, self._take_in_refused)

    def on_stop(self) -> None:
        """Let each instrument finish its command and shut its driver down, all at the same time."""
        if not hasattr(self, "_jobs"):
            return
        self._jobs.close()
        self._dispatcher.close()
        self._server.close()
        self._aside.shutdown()
        self._bus.close()
        self._recorder.stop()

    def on_notify(self, notification: Notification) -> None:
        """Run the instruments of the rig, each in a process of its own.

        Emits notifications:
            ``instrument.started``: An instrument is ready; ``instrument`` is its name.
            ``instrument.died``: Its worker has died; ``why``, ``failed_calls``, ``starts_again_in_s``, or
                ``external``.
            ``instrument.restarted``: It is ready again.
            ``instrument.given_up``: It died too often, and is left alone until somebody starts it; or another process
                serves an instrument of that name.
            ``instrument.stopped``: It was stopped.
            ``instrument.stuck``: A command is past its timeout, and the worker says nothing.
            ``instrument.unstuck``: It has answered again.

        Emits data:
            ``instrument.<name>.result``: One for each command: ``command_id``, ``verb``, ``params``, ``success``,
                ``value`` or ``error``, ``timestamp``, ``duration_s``. An array follows as a raw part; ``dtype`` and
                ``shape`` tell how to read it.
            ``instrument.<name>.block``: A block of a continuous acquisition, in the same form.
            ``instrument.<name>.state``: Each second, and when it changes: state, worker, counters.
        """

    # --- names that somebody else serves

    def _take_in(self, name: str) -> None:
        """Have the server run an instrument; one that it refuses must not keep the others from running."""
        before = self._refused.get(name)
        try:
            self._server.add(name, self.options.instruments[name], wait=False)
            self._refused.pop(name, None)
        except LabwireError as error:
            self._refused[name] = error
        if (why := self._refused.get(name)) and not before:
            self.log.error("%s; it is tried again", why)
            self.notify("instrument.given_up", instrument=name, why=str(why), timestamp=self.clock.now())

    def _remove(self, name: str) -> None:
        """Beside the loop."""
        if self._refused.pop(name, None) is None:
            self._server.remove(name)

    def _take_in_refused(self) -> None:
        for name in [name for name in self._refused if name in self.options.instruments]:
            self._take_in(name)

    def _check_taken_in(self, name: str) -> None:
        if error := self._refused.get(name):
            raise StateError(f"{name} does not run: {error}", instrument=name)

    # --- what the bus hears

    def _on_outcome(self, outcome: Outcome) -> None:
        """On the thread that received the answer."""
        self._recorder.put(outcome)
        self._bus.put(outcome)

    def _on_block(self, outcome: Outcome, publish: bool, cancelled: Callable[[], bool]) -> None:  # noqa: FBT001
        """On the thread of the acquisition."""
        self._recorder.put(outcome)
        if publish:
            self._bus.put_block(outcome, cancelled)

    def _result_lost(self, error: Exception) -> None:
        self.log.error("a result did not get onto the bus: %s", error)

    def _tell(self, kind: str, name: str, data: dict[str, Any]) -> None:
        """On the server's thread for events: the publisher may be used from any."""
        self.notify(f"instrument.{kind}", instrument=name, timestamp=self.clock.now(), **data)

    def _publish_states(self) -> None:
        for name in self.options.instruments:
            self._publish_state(name)

    def _publish_state(self, name: str) -> None:
        state = msgspec.structs.asdict(self._status(name))
        self.emit(f"{INSTRUMENT}{name}.state", {**state, "timestamp": self.clock.now()}, numbered=True)

    def _status(self, name: str) -> InstrumentStatus:
        if error := self._refused.get(name):
            driver = self.options.instruments[name].driver
            return InstrumentStatus(name=name, state=State.GIVEN_UP.value, driver=driver, last_error=str(error))
        running = self._jobs.running(name) if hasattr(self, "_jobs") else 0
        return status_of(self._server.status(name), dropped=self._bus.dropped[name], acquisitions=running)

    # --- operations

    def list(self) -> InstrumentList:
        """See `Instruments.list`."""
        return [self._status(name) for name in self.options.instruments]

    def describe(self, name: str) -> InstrumentApi:
        """See `Instruments.describe`."""
        self._check_taken_in(name)
        api = self._server.describe(name)
        config = self.options.instruments[name]
        return api if api.verbs or config.external else self._beside(lambda: self._ask_api(name))

    def _ask_api(self, name: str) -> InstrumentApi:
        self._server.ping(name)  # waits for a worker that is being started
        return self._server.describe(name)

    def call(
        self,
        name: str,
        verb: str,
        params: dict[str, Any] = {},  # noqa: B006  never changed
        *,
        timeout_ms: int = DEFAULT_TIMEOUT_MS,
        priority: int = 0,
        expects_response: bool = True,
    ) -> CommandResult:
        """See `Instruments.call`."""
        self._check_taken_in(name)
        request = CommandRequest(name=name, verb=verb, params=params, timeout_ms=timeout_ms, priority=priority)
        sent = self._dispatcher.submit(request, expects_response=expects_response)
        answer: Future[CommandResult] = Future()

        def on_done(done: Future[Outcome]) -> None:
            try:
                outcome = done.result()
                if outcome.error is not None:
                    raise outcome.error
                answer.set_result(result_of(outcome, self.clock.at))
            except Exception as error:
                answer.set_exception(error)

        sent.add_done_callback(on_done)
        return answer_later(answer)

    def run(self, commands: Commands, *, stop_on_error: bool = True) -> Job[RunProgress, ResultList]:
        """See `Instruments.run`."""
        return self._jobs.run(commands, stop_on_error=stop_on_error)

    def start(self, name: str) -> InstrumentStatus:
        """See `Instruments.start`."""
        return self._steer(name, self._server.start)

    def stop(self, name: str) -> InstrumentStatus:
        """See `Instruments.stop`."""
        return self._steer(name, self._server.stop)

    def restart(self, name: str) -> InstrumentStatus:
        """See `Instruments.restart`."""
        return self._steer(name, self._server.restart)

    def ping(self, name: str) -> Ping:
        """See `Instruments.ping`."""
        return self._beside(lambda: Ping(name, self._server.ping(name) * 1e6))

    def barrier(self, names: NameList, *, timeout_s: float = 5.0) -> BarrierDone:
        """See `Instruments.barrier`."""

        def wait() -> BarrierDone:
            began_s = time.monotonic()
            self._server.barrier(names, timeout_s)
            return BarrierDone(names, time.monotonic() - began_s, self.clock.now())

        return self._beside(wait)

    def acquire(
        self,
        name: str,
        verb: str,
        params: dict[str, Any] = {},  # noqa: B006  never changed
        *,
        timeout_ms: int = DEFAULT_TIMEOUT_MS,
        window: int = WINDOW,
        publish: bool = True,
    ) -> Job[Block, AcquisitionDone]:
        """See `Instruments.acquire`."""
        self._check_taken_in(name)
        self._server.status(name)  # no such instrument is told at once
        request = CommandRequest(name=name, verb=verb, params=params, timeout_ms=timeout_ms)
        return self._jobs.acquire(request, window=window, publish=publish)

    def grant(self, acquisition: int, blocks: int) -> None:
        """See `Instruments.grant`."""
        self._jobs.grant(acquisition, blocks)

    def cancel(self, name: str) -> InstrumentStatus:
        """See `Instruments.cancel`."""
        self._server.status(name)
        self._jobs.cancel(name)
        return self._status(name)

    def _steer(self, name: str, do: Callable[[str], None]) -> InstrumentStatus:
        if name in self._refused:
            self._take_in(name)
        self._check_taken_in(name)
        self._server.status(name)

        def work() -> InstrumentStatus:
            do(name)
            return self._status(name)

        return self._beside(work)

    def _beside(self, work: Callable[[], T]) -> T:
        """Do what waits for a worker beside the loop; the caller gets the answer when it is there."""
        if self._asides >= _MAX_ASIDE:
            raise QueueFullError(f"{_MAX_ASIDE} operations on instruments are waiting already; try again later")
        self._asides += 1
        future = self._aside.submit(work)
        future.add_done_callback(lambda _: self._count_aside())
        return answer_later(future)

    def _count_aside(self) -> None:
        self._asides -= 1
