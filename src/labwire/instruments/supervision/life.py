"""The life of an instrument: starts its workers one after the other, and decides what follows on a death."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from labwire.errors import LabwireError, ResourceError
from labwire.instruments.config import InstrumentConfig
from labwire.instruments.exchange.commands import CommandMaker
from labwire.instruments.exchange.exchange import Exchange
from labwire.instruments.status import Counts, State
from labwire.instruments.supervision.incarnation import Incarnation, Links, Origin, why_ended
from labwire.instruments.supervision.reporter import InstrumentReports
from labwire.instruments.supervision.restart_policy import HOPELESS_CODES, RestartPolicy, is_hopeless, why_to_give_up
from labwire.instruments.supervision.supervisor import Supervisor, Timers
from labwire.instruments.supervision.worker_output import WorkerOutput

TERMINATE_LIMIT_S = 2.0
"""How long a worker that did not end when asked may take to end after SIGTERM, before SIGKILL."""
LAST_WORDS_S = 0.2
"""How long a worker that said that it dies, or let go of its queue, may take to end by itself."""
FAILED_START_S = 2.0
"""The same for one that was never ready: nobody waits for it, and its exit status tells whether to try again."""
BURIAL_LIMIT_S = 5.0
"""How long a dead worker's standby may take to end; then the next worker is started without it."""
CHECK_S = 0.25
"""How often heartbeats and stuck commands are looked at."""
_FAIL_CALLERS_S = 0.03

_log = logging.getLogger(__name__)


class House(NamedTuple):
    """What all instruments of a server share."""

    supervisor: Supervisor
    report: Callable[[str, str, dict[str, Any]], None]
    on_result: Callable[..., None] | None
    python_path: Sequence[str]
    debug: bool


class Life:
    """One instrument's workers, one after the other.

    What has no underscore may be read from any thread, and waited for with `changed`. All the rest runs on the
    supervisor's thread.

    Args:
        name: Name of the instrument.
        config: Its options.
        house: What it shares with others.
        maker: Makes its commands.
    """

    def __init__(self, name: str, config: InstrumentConfig, house: House, maker: CommandMaker) -> None:
        self._name, self._config, self._house, self._maker = name, config, house, maker
        self.changed = threading.Condition()
        self.state = State.STOPPED
        self.exchange: Exchange | None = None
        """Where commands go; None while there is no worker that could take them."""
        self.incarnation: Incarnation | None = None
        self.asked_to_start = False
        self.incarnations = self.restarts = self.deaths = 0
        self.deaths_before = 0
        """What `deaths` was when the last start that somebody asked for was begun."""
        self.last_error = ""
        self.start_error: LabwireError | None = None
        """Why no worker could be made at all, if that is how the last start ended."""
        self.due_s = 0.0
        """When it starts again, for state BACKING_OFF."""
        self.counts = Counts()
        self._policy = RestartPolicy(config)
        self._start_again = self._exited = self._buried = False
        self._failed_calls = 0
        self._output: WorkerOutput | None = None
        self._reports = InstrumentReports(name, house.report, house.on_result)
        self._report = self._reports.tell
        self._timers = Timers(house.supervisor)
        self._later = self._timers.call_later

    def ask_to_begin(self) -> None:
        """Start it, if it does not run; from any thread."""
        with self.changed:
            self.asked_to_start = True
        self._house.supervisor.post(self._begin)

    def ask_to_finish(self, *, start_again: bool) -> None:
        """Stop it, then start it again if that is wanted; from any thread."""
        with self.changed:
            self.asked_to_start = start_again
        self._house.supervisor.post(lambda: self._finish(start_again=start_again))

    # --- the supervisor's thread

    def _set(self, state: State) -> None:
        with self.changed:
            self.state = state
            self.changed.notify_all()

    def _begin(self) -> None:
        if self.incarnation is None:
            self._timers.cancel()
            self._policy.forget()
            self._has_begun(State.STARTING)
            self._launch()
        elif self.state is State.STOPPING:
            self._start_again = True  # asked_to_start stays until it is launched
        elif self.incarnation.exchange.death is None:
            self._has_begun(self.state)
        # else its worker has just died: `_died` goes on

    def _has_begun(self, state: State) -> None:
        with self.changed:
            self.asked_to_start = False
            self.deaths_before = self.deaths
            self.state = state
            self.changed.notify_all()

    def _launch(self) -> None:
        self.incarnations += 1
        self._exited = self._buried = self._start_again = False
        house = self._house
        origin = Origin(
            self._name, self._config, self.incarnations, self._maker, self.counts, house.python_path, house.debug
        )
        try:
            incarnation = Incarnation(origin, self._links())
        except (LabwireError, OSError) as error:
            self.last_error = str(error)
            self.start_error = error if isinstance(error, LabwireError) else ResourceError(str(error))
            self._died({"why": self.last_error, "pid": None, "failed_calls": 0}, hopeless=is_hopeless(error))
            return
        self.incarnation, self.start_error = incarnation, None
        if incarnation.process:
            house.supervisor.watch(incarnation.pidfd, lambda: self._process_ended(incarnation))
            self._output = output = WorkerOutput(incarnation.output_fd, lambda data: self._report("log", data))
            house.supervisor.watch(output.fd, self._pass_on_output)
            self._later(self._config.start_timeout_s, lambda: self._start_is_overdue(incarnation))
            self.exchange = incarnation.exchange
        self._later(CHECK_S, lambda: self._check(incarnation))
        self._set(State.WAITING if self._config.external else State.STARTING)

    def _links(self) -> Links:
        post = self._house.supervisor.post

        def on_ready(incarnation: Incarnation) -> None:
            post(lambda: self._is_ready(incarnation))

        def on_lost(incarnation: Incarnation, why: str, fatal: bool) -> None:  # noqa: FBT001 (a callback)
            post(lambda: self._is_lost(incarnation, why, fatal=fatal))

        def on_buried(incarnation: Incarnation, failed: int) -> None:
            post(lambda: self._is_buried(incarnation, failed))

        on_result = self._reports.tell_result if self._house.on_result else None
        return Links(self._report, on_ready, on_lost, on_buried, on_result)

    def _is_ready(self, incarnation: Incarnation) -> None:
        if incarnation is not self.incarnation or self.state not in {State.STARTING, State.WAITING}:
            return
        incarnation.ready_s = now_s = time.monotonic()
        self.exchange = incarnation.exchange
        self._set(State.READY)
        if incarnation.process is None and incarnation.pidfd >= 0:
            self._house.supervisor.watch(incarnation.pidfd, lambda: self._foreign_ended(incarnation))
        kind = "restarted" if self._policy.deaths_in_row else "started"
        data = {"pid": incarnation.pid, "incarnation": self.incarnations, "queue": self._config.queue}
        self._report(kind, {**data, "start_s": now_s - incarnation.started_s})

    def _start_is_overdue(self, incarnation: Incarnation) -> None:
        if incarnation is self.incarnation and self.state is State.STARTING:
            incarnation.signal(signal.SIGKILL, f"was not ready within {self._config.start_timeout_s:g} s")

    def _check(self, incarnation: Incarnation) -> None:
        """Look whether the worker is silent or stuck."""
        if incarnation is not self.incarnation or incarnation.exchange.death is not None:
            return
        self._later(CHECK_S, lambda: self._check(incarnation))
        if self.state is State.WAITING and incarnation.is_replaced():
            self._bury(incarnation, "somebody else has made queues of that name")
        if self.state is State.READY and (why := why_to_give_up(incarnation.exchange, self._config, time.monotonic())):
            if incarnation.process:
                incarnation.signal(signal.SIGKILL, why)
            else:
                self._bury(incarnation, why)

    def _is_lost(self, incarnation: Incarnation, why: str, *, fatal: bool) -> None:
        """The worker has said that it dies, or its end of the queue is gone."""
        if incarnation is not self.incarnation or incarnation.exchange.death is not None or incarnation.lost:
            return
        incarnation.lost = True
        if self.state is State.STOPPING and not fatal:
            return
        if fatal:
            incarnation.lost_why = why
        if fatal or incarnation.process is None:
            self._bury(incarnation, why)
        if incarnation.process:
            patience_s = FAILED_START_S if incarnation.ready_s is None else LAST_WORDS_S
            self._later(patience_s, lambda: incarnation.signal(signal.SIGKILL, "" if fatal else why))

    def _process_ended(self, incarnation: Incarnation) -> None:
        assert incarnation.process
        code = incarnation.process.wait()
        self._house.supervisor.unwatch(incarnation.pidfd)
        why = why_ended(code)
        if incarnation.killed_why:
            why = f"{incarnation.killed_why}, and was killed"
        self._bury(incarnation, why)
        if self._output:
            self._house.supervisor.unwatch(self._output.fd)
            self._output.read_rest()
        self._exited = True
        self._end_if_over(incarnation)

    def _foreign_ended(self, incarnation: Incarnation) -> None:
        self._house.supervisor.unwatch(incarnation.pidfd)
        if incarnation.exchange.death is None:
            self._bury(incarnation, f"process {incarnation.pid} has ended")

    def _bury(self, incarnation: Incarnation, why: str) -> None:
        """Let nobody wait for this worker any more."""
        exchange, stopping = incarnation.exchange, self.state is State.STOPPING
        with self.changed:
            self.exchange = None
            if not stopping:
                self.last_error, self.due_s = why, 0.0
                self.state = State.BACKING_OFF
            self.changed.notify_all()
        if exchange.death is not None:
            return
        self._timers.cancel()
        exchange.die("it was stopped" if stopping else why)
        # The standby does it; where a user's callback holds it up, callers do not wait for that.
        self._later(_FAIL_CALLERS_S, exchange.fail_callers)
        self._later(BURIAL_LIMIT_S, lambda: self._is_not_buried(incarnation))

    def _is_not_buried(self, incarnation: Incarnation) -> None:
        if incarnation is self.incarnation and not self._buried:
            _log.error("%s: a thread hangs in a callback or in its dead worker's queue, and is left there", self._name)
            self._is_buried(incarnation, 0)

    def _is_buried(self, incarnation: Incarnation, failed: int) -> None:
        if incarnation is not self.incarnation:
            return
        self._buried, self._failed_calls = True, failed
        self._end_if_over(incarnation)

    def _end_if_over(self, incarnation: Incarnation) -> None:
        if not self._buried or (incarnation.process and not self._exited):
            return
        self._timers.cancel()
        self._house.supervisor.unwatch(incarnation.pidfd)
        incarnation.clear()
        self.incarnation = None
        process = incarnation.process
        code = process.returncode if process else None
        data = {"pid": incarnation.pid, "exit_code": code, "failed_calls": self._failed_calls}
        if self.state is State.STOPPING:
            self._stopped(data)
            return
        if self._config.external and incarnation.ready_s is None:
            self.due_s = time.monotonic() + CHECK_S  # nobody died: other queues stand under its name now
            self._later(CHECK_S, self._launch)
            return
        if incarnation.exchange.ledger.answered:
            self._policy.forget()
        self.last_error = why = incarnation.why_died(self.last_error, self._output.last if self._output else "")
        # A worker that ended at once may have been ready all the same: word of that can come after its end.
        self._died({"why": why, **data}, hopeless=code in HOPELESS_CODES and not incarnation.exchange.ready)

    def _stopped(self, data: dict[str, Any]) -> None:
        self._set(State.STOPPED)
        self._report("stopped", data)
        if self._start_again:
            self._begin()

    def _died(self, data: dict[str, Any], *, hopeless: bool) -> None:
        self.deaths += 1
        if self.asked_to_start and self.start_error is None:
            self._report("died", {**data, **self._again(0.0)})
            self._begin()
            return
        next_start = self._policy.after_death(
            hopeless=hopeless, free=self._config.external and self.start_error is None
        )
        if next_start.delay_s is None:
            self._set(State.GIVEN_UP)
            if self.start_error is None:  # otherwise there was nothing that could die
                self._report("died", data)
            self._report("given_up", {"why": next_start.why, "last_error": self.last_error})
            return
        self.due_s = time.monotonic() + next_start.delay_s
        self._set(State.BACKING_OFF)
        self._report("died", {**data, **self._again(next_start.delay_s)})
        if next_start.delay_s:
            self._later(next_start.delay_s, self._relaunch)
        else:
            self._relaunch()

    def _again(self, delay_s: float) -> dict[str, Any]:
        # Whoever runs an external worker starts it again: here only its queues are made anew.
        return {"external": True} if self._config.external else {"starts_again_in_s": delay_s}

    def _relaunch(self) -> None:
        self.restarts += 1
        self._launch()

    def _finish(self, *, start_again: bool) -> None:
        self._start_again = start_again
        if not start_again:
            self.asked_to_start = False
        incarnation = self.incarnation
        if self.state is State.STOPPING:
            return
        if incarnation is None:
            self._timers.cancel()
            self.due_s = 0.0
            if self.state is State.BACKING_OFF or self.state is State.STARTING:
                self._report("stopped", {"pid": None})
            self._set(State.STOPPED)
            if start_again:
                self._begin()
            return
        waited_for = self.state is State.WAITING
        self._timers.cancel()
        self.exchange = None
        self._set(State.STOPPING)
        if incarnation.exchange.death is not None:  # it has just died by itself, or is about to
            self._later(LAST_WORDS_S, lambda: incarnation.signal(signal.SIGKILL))
            self._later(BURIAL_LIMIT_S, lambda: self._is_not_buried(incarnation))
            return
        if waited_for:
            self._bury(incarnation, "")
            return
        self._shut_down(incarnation)

    def _shut_down(self, incarnation: Incarnation) -> None:
        limit_s = self._config.stop_timeout_s
        if incarnation.process is None:
            incarnation.ask_to_end(lambda _: None)
            self._later(min(limit_s, 2 * self._config.heartbeat_s), lambda: self._bury(incarnation, ""))
            return
        post = self._house.supervisor.post
        incarnation.ask_to_end(lambda _: post(lambda: self._terminate(incarnation)))
        self._later(limit_s, lambda: self._terminate(incarnation))

    def _terminate(self, incarnation: Incarnation) -> None:
        incarnation.signal(signal.SIGTERM)
        self._later(TERMINATE_LIMIT_S, lambda: incarnation.signal(signal.SIGKILL, "did not end when it was asked to"))

    def _pass_on_output(self) -> None:
        if self._output and not self._output.read():
            self._house.supervisor.unwatch(self._output.fd)
