"""The life of an instrument: starts its workers one after the other, and decides what follows on a death.

All that changes its state runs on the supervisor's thread; the methods for callers say so.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from labwire.errors import (
    ConfigError,
    DeadlineError,
    LabwireError,
    MissingExtraError,
    PeerGoneError,
    StateError,
    codes_of,
)
from labwire.instruments.commands import CommandMaker
from labwire.instruments.config import InstrumentConfig
from labwire.instruments.exchange import Exchange
from labwire.instruments.incarnation import ALL_FEATURES, Incarnation, Links, Origin, why_ended
from labwire.instruments.status import Counts, InstrumentStatus, State
from labwire.instruments.supervision import Supervisor, Timer
from labwire.stderr_lines import StderrLines
from labwire.wire.instrument_extras import Feature
from labwire.wire.instrument_message import PROFILES, Command, CommandResponse

FIRST_BACK_OFF_S = 0.2
LONGEST_BACK_OFF_S = 10.0
TERMINATE_LIMIT_S = 2.0
"""How long a worker that did not end when asked may take to end after SIGTERM, before SIGKILL."""
LAST_WORDS_S = 0.2
"""How long a worker that said that it dies, or let go of its queue, may take to end by itself."""
CHECK_S = 0.25
"""How often heartbeats and stuck commands are looked at."""
_FAIL_CALLERS_S = 0.02
_READ_BYTES = 65_536
_LAST_READS = 16
_HOPELESS = {codes_of(ConfigError).exit_code, codes_of(MissingExtraError).exit_code}
_ENDED = {State.STOPPED, State.GIVEN_UP}

_log = logging.getLogger(__name__)


class House(NamedTuple):
    """What all instruments of a server share."""

    supervisor: Supervisor
    report: Callable[[str, str, dict[str, Any]], None]
    on_result: Callable[..., None] | None
    python_path: Sequence[str]
    debug: bool


class Instrument:
    """One instrument and its present worker.

    Args:
        name: Its name.
        config: Its options.
        house: What it shares with others.
    """

    def __init__(self, name: str, config: InstrumentConfig, house: House) -> None:
        self.name, self.config = name, config
        self._house = house
        features = () if config.external else ALL_FEATURES
        self.features = frozenset(features)
        self.maker = CommandMaker(name, PROFILES[config.profile], compress=Feature.COMPRESSION in features)
        self.exchange: Exchange | None = None
        """Where commands go; None while there is no worker that could take them."""
        self._counts = Counts()
        self._incarnation: Incarnation | None = None
        self._state = State.STOPPED
        self._changed = threading.Condition()
        self._asked_to_start = False
        self._start_again = self._exited = self._buried = False
        self._failed_calls = 0
        self._incarnations = self._restarts = self._deaths_in_row = 0
        self._deaths = 0
        self._last_error = ""
        self._due_s = 0.0
        self._timers: list[Timer] = []
        self._lines = StderrLines()

    # --- for callers, from any thread

    @property
    def waveform_prefix(self) -> str:
        """What the names of its present worker's arrays begin with."""
        return self._incarnation.origin.waveform_prefix if self._incarnation else ""

    def usable_exchange(self, deadline_s: float) -> Exchange:
        """Return where commands go, waiting for a worker that is being started at once.

        Raises:
            DeadlineError: It was not there in time.
            PeerGoneError: The worker has died, and the next one is started later or not at all.
            StateError: The instrument is stopped, or waits for an external worker.
        """
        with self._changed:
            while self.exchange is None:
                now_s = time.monotonic()
                soon = self._state is State.BACKING_OFF and self._due_s <= now_s
                if not (soon or self._asked_to_start):
                    raise self._why_not()
                if now_s >= deadline_s:
                    raise DeadlineError(f"{self.name} was not started in time", instrument=self.name)
                self._changed.wait(deadline_s - now_s)
            return self.exchange

    def _why_not(self) -> LabwireError:
        state, data = self._state.value, {"instrument": self.name, "state": self._state.value}
        if self._state is State.BACKING_OFF:
            wait_s = self._due_s - time.monotonic()
            return PeerGoneError(
                f"Worker died: {self.name}: {self._last_error}; it starts again in {wait_s:.1f} s", **data
            )
        if self._state is State.WAITING:
            return StateError(f"{self.name} waits for its worker, which somebody else starts", **data)
        why = f" ({self._last_error})" if self._last_error else ""
        return StateError(f"{self.name} is {state}{why}: start it first", **data)

    def status(self) -> InstrumentStatus:
        """Return what can be told without asking the worker."""
        now_s = time.monotonic()
        incarnation, counts = self._incarnation, self._counts
        exchange = incarnation.exchange if incarnation else None
        sign_s = exchange.last_sign_s if exchange else None
        ready_s = incarnation.ready_s if incarnation else None
        stuck_since_s = exchange.ledger.stuck_since_s if exchange else None
        return InstrumentStatus(
            name=self.name,
            state=self._shown_state(exchange),
            driver=self.config.driver,
            queue=self.config.queue,
            profile=self.config.profile,
            external=self.config.external,
            pid=incarnation.pid if incarnation else None,
            incarnation=self._incarnations,
            restarts=self._restarts,
            uptime_s=now_s - ready_s if ready_s is not None and self._state is State.READY else None,
            waiting=len(exchange.ledger.pending) if exchange else 0,
            ok=counts.ok,
            failed=counts.failed,
            timed_out=counts.timed_out,
            late=counts.late,
            protocol_errors=counts.protocol_errors,
            stuck_s=now_s - stuck_since_s if stuck_since_s is not None else None,
            last_error=self._last_error,
            heartbeat_age_s=now_s - sign_s if sign_s is not None else None,
            starts_again_in_s=max(0.0, self._due_s - now_s) if self._state is State.BACKING_OFF else None,
        )

    def _shown_state(self, exchange: Exchange | None) -> State:
        if self._state is State.READY and exchange:
            if exchange.ledger.stuck_since_s is not None:
                return State.STUCK
            if exchange.ledger.pending:
                return State.BUSY
        return self._state

    def begin(self) -> Callable[[float], None]:
        """Ask for a start; return what waits for its outcome.

        The waiter takes a limit in seconds and raises PeerGoneError if the worker dies while it starts, StateError if
        it is stopped, DeadlineError if the limit passes.
        """
        deaths = self._deaths
        with self._changed:
            self._asked_to_start = True
        self._house.supervisor.post(self._begin)
        return lambda limit_s: self._wait_until_ready(deaths, limit_s)

    def _wait_until_ready(self, deaths: int, limit_s: float) -> None:
        until_s = time.monotonic() + limit_s
        with self._changed:
            while self._asked_to_start or self._state not in {State.READY, State.WAITING}:
                if self._deaths > deaths:
                    raise PeerGoneError(f"Worker died: {self.name}: {self._last_error}", instrument=self.name)
                if not self._asked_to_start and self._state in _ENDED:
                    raise self._why_not()
                if (left_s := until_s - time.monotonic()) <= 0:
                    raise DeadlineError(f"{self.name} was not ready within {limit_s:g} s", instrument=self.name)
                self._changed.wait(left_s)

    def finish(self, *, start_again: bool = False) -> None:
        """Ask for a stop; see `wait_until_ended`."""
        if start_again:
            with self._changed:
                self._asked_to_start = True
        self._house.supervisor.post(lambda: self._finish(start_again=start_again))

    def wait_until_ended(self) -> None:
        """Wait until there is no worker any more; one that does not end is killed, so this ends too."""
        limit_s = self.config.stop_timeout_s + 2 * TERMINATE_LIMIT_S + 5.0
        with self._changed:
            if not self._changed.wait_for(lambda: self._state in _ENDED and self._incarnation is None, limit_s):
                raise DeadlineError(f"the worker of {self.name} did not end within {limit_s:g} s", instrument=self.name)

    # --- the supervisor's thread

    def _set(self, state: State) -> None:
        with self._changed:
            self._state = state
            self._changed.notify_all()

    def _later(self, delay_s: float, action: Callable[[], None]) -> None:
        self._timers.append(self._house.supervisor.call_later(delay_s, action))

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _begin(self) -> None:
        if self._incarnation is None:
            self._deaths_in_row = 0
            self._cancel_timers()
            self._launch()
        elif self._state is State.STOPPING:
            self._start_again = True
            return  # asked_to_start stays until it is launched
        with self._changed:
            self._asked_to_start = False
            self._changed.notify_all()

    def _launch(self) -> None:
        self._incarnations += 1
        self._exited = self._buried = self._start_again = False
        self._lines = StderrLines()
        house = self._house
        origin = Origin(
            self.name, self.config, self._incarnations, self.maker, self._counts, house.python_path, house.debug
        )
        try:
            incarnation = Incarnation(origin, self._links())
        except (LabwireError, OSError) as error:
            self._last_error = str(error)
            self._died(
                {"why": self._last_error, "pid": None, "failed_calls": 0}, hopeless=isinstance(error, ConfigError)
            )
            return
        self._incarnation = incarnation
        if incarnation.process:
            house.supervisor.watch(incarnation.pidfd, lambda: self._process_ended(incarnation))
            house.supervisor.watch(incarnation.output_fd, lambda: self._pass_on_output(incarnation))
            self._later(self.config.start_timeout_s, lambda: self._start_is_overdue(incarnation))
            self.exchange = incarnation.exchange
        self._later(CHECK_S, lambda: self._check(incarnation))
        self._set(State.WAITING if self.config.external else State.STARTING)

    def _links(self) -> Links:
        post = self._house.supervisor.post

        def on_ready(incarnation: Incarnation) -> None:
            post(lambda: self._is_ready(incarnation))

        def on_lost(incarnation: Incarnation, why: str) -> None:
            post(lambda: self._is_lost(incarnation, why))

        def on_buried(incarnation: Incarnation, failed: int) -> None:
            post(lambda: self._is_buried(incarnation, failed))

        on_result = self._tell_result if self._house.on_result else None
        return Links(self._report, on_ready, on_lost, on_buried, on_result)

    def _report(self, kind: str, data: dict[str, Any]) -> None:
        self._house.report(kind, self.name, data)

    def _tell_result(self, command: Command, response: CommandResponse, sent_s: float, done_s: float) -> None:
        assert self._house.on_result
        try:
            self._house.on_result(self.name, command, response, sent_s, done_s)
        except Exception:
            _log.exception("on_result failed for %s of instrument %s", command.verb, self.name)

    def _is_ready(self, incarnation: Incarnation) -> None:
        if incarnation is not self._incarnation or self._state not in {State.STARTING, State.WAITING}:
            return
        incarnation.ready_s = now_s = time.monotonic()
        self.exchange = incarnation.exchange
        self._set(State.READY)
        kind = "restarted" if self._deaths_in_row else "started"
        data = {"pid": incarnation.pid, "incarnation": self._incarnations, "queue": self.config.queue}
        self._report(kind, {**data, "start_s": now_s - incarnation.started_s})

    def _start_is_overdue(self, incarnation: Incarnation) -> None:
        if incarnation is self._incarnation and self._state is State.STARTING:
            incarnation.signal(signal.SIGKILL, f"was not ready within {self.config.start_timeout_s:g} s")

    def _check(self, incarnation: Incarnation) -> None:
        """Look whether the worker is silent or stuck."""
        if incarnation is not self._incarnation or incarnation.exchange.death is not None:
            return
        self._later(CHECK_S, lambda: self._check(incarnation))
        if self._state is not State.READY:
            return
        exchange, config = incarnation.exchange, self.config
        exchange.ledger.check_stuck()
        silent_s = exchange.last_look_s - (exchange.last_sign_s or exchange.last_look_s)
        if silent_s > config.heartbeat_timeout_s:
            self._give_up_on(incarnation, f"sent no heartbeat for {silent_s:.1f} s")
        since_s = exchange.ledger.stuck_since_s
        if config.stuck_restart_s is not None and since_s is not None:
            stuck_s = time.monotonic() - since_s
            if stuck_s > config.stuck_restart_s:
                self._give_up_on(incarnation, f"was stuck for {stuck_s:.1f} s")

    def _give_up_on(self, incarnation: Incarnation, why: str) -> None:
        if incarnation.process:
            incarnation.signal(signal.SIGKILL, why)
        else:
            incarnation.killed_why = why
            self._bury(incarnation, why)

    def _is_lost(self, incarnation: Incarnation, why: str) -> None:
        """The worker has said that it dies, or its end of the queue is gone."""
        if incarnation is not self._incarnation or incarnation.exchange.death is not None or incarnation.lost_why:
            return
        incarnation.lost_why = why
        if incarnation.process is None:
            self._bury(incarnation, why)
        elif self._state is not State.STOPPING:
            self._later(LAST_WORDS_S, lambda: incarnation.signal(signal.SIGKILL, why))

    def _process_ended(self, incarnation: Incarnation) -> None:
        assert incarnation.process
        code = incarnation.process.wait()
        self._house.supervisor.unwatch(incarnation.pidfd)
        why = why_ended(code)
        if incarnation.killed_why:
            why = f"{incarnation.killed_why}, and was killed"
        self._bury(incarnation, why)
        for _ in range(_LAST_READS):
            if not self._read_output(incarnation):
                break
        self._house.supervisor.unwatch(incarnation.output_fd)
        self._exited = True
        self._end_if_over(incarnation)

    def _bury(self, incarnation: Incarnation, why: str) -> None:
        """Let nobody wait for this worker any more."""
        self._cancel_timers()
        with self._changed:
            self.exchange = None
            if self._state is not State.STOPPING:
                self._last_error, self._due_s = why, 0.0
                self._state = State.BACKING_OFF
            self._changed.notify_all()
        exchange = incarnation.exchange
        exchange.die("it was stopped" if self._state is State.STOPPING else why)
        # The standby does it; where a user's callback holds it up, callers do not wait for that.
        self._later(_FAIL_CALLERS_S, exchange.fail_callers)

    def _is_buried(self, incarnation: Incarnation, failed: int) -> None:
        self._buried, self._failed_calls = True, failed
        self._end_if_over(incarnation)

    def _end_if_over(self, incarnation: Incarnation) -> None:
        if not self._buried or (incarnation.process and not self._exited):
            return
        self._cancel_timers()
        incarnation.clear()
        self._incarnation = None
        process = incarnation.process
        code = process.returncode if process else None
        data = {"pid": incarnation.pid, "exit_code": code, "failed_calls": self._failed_calls}
        if self._state is State.STOPPING:
            self._stopped(data)
            return
        if incarnation.exchange.ledger.answered:
            self._deaths_in_row = 0
        hopeless = code in _HOPELESS and incarnation.ready_s is None
        why = self._last_error
        if code is not None and code > 0 and self._lines.last and not incarnation.killed_why:
            why = f"{why}: {_text_of(self._lines.last)}"
            self._last_error = why
        self._died({"why": why, **data}, hopeless=hopeless)

    def _stopped(self, data: dict[str, Any]) -> None:
        self._set(State.STOPPED)
        self._report("stopped", data)
        if self._start_again:
            self._begin()

    def _died(self, data: dict[str, Any], *, hopeless: bool) -> None:
        self._deaths += 1
        self._deaths_in_row += 1
        tries = self.config.restart_tries
        if not self.config.restart or hopeless or self._deaths_in_row > tries:
            self._set(State.GIVEN_UP)
            self._report("died", data)
            why = "restart is off" if not self.config.restart else f"{self._deaths_in_row} deaths in a row"
            self._report("given_up", {"why": "it can never run" if hopeless else why, "last_error": self._last_error})
            return
        delay_s = back_off_s(self._deaths_in_row)
        self._due_s = time.monotonic() + delay_s
        self._set(State.BACKING_OFF)
        self._report("died", {**data, "starts_again_in_s": delay_s})
        if delay_s:
            self._later(delay_s, self._relaunch)
        else:
            self._relaunch()

    def _relaunch(self) -> None:
        self._restarts += 1
        self._launch()

    def _finish(self, *, start_again: bool) -> None:
        self._start_again = start_again
        if not start_again:
            self._asked_to_start = False
        incarnation = self._incarnation
        if self._state is State.STOPPING:
            return
        if incarnation is None:
            self._cancel_timers()
            self._due_s = 0.0
            if self._state is State.BACKING_OFF or self._state is State.STARTING:
                self._report("stopped", {"pid": None})
            self._set(State.STOPPED)
            if start_again:
                self._begin()
            return
        waited_for = self._state is State.WAITING
        self._cancel_timers()
        self.exchange = None
        self._set(State.STOPPING)
        if incarnation.exchange.death is not None:
            return  # it has just died by itself
        if waited_for:
            self._bury(incarnation, "")
            return
        self._shut_down(incarnation)

    def _shut_down(self, incarnation: Incarnation) -> None:
        limit_s = self.config.stop_timeout_s
        if incarnation.process is None:
            incarnation.ask_to_end(lambda _: None)
            self._later(min(limit_s, 2 * self.config.heartbeat_s), lambda: self._bury(incarnation, ""))
            return
        post = self._house.supervisor.post
        incarnation.ask_to_end(lambda _: post(lambda: self._terminate(incarnation)))
        self._later(limit_s, lambda: self._terminate(incarnation))

    def _terminate(self, incarnation: Incarnation) -> None:
        incarnation.signal(signal.SIGTERM)
        self._later(TERMINATE_LIMIT_S, lambda: incarnation.signal(signal.SIGKILL, "did not end when it was asked to"))

    def _pass_on_output(self, incarnation: Incarnation) -> None:
        self._read_output(incarnation)

    def _read_output(self, incarnation: Incarnation) -> bool:
        """Pass on what the worker has logged; False if there was nothing."""
        try:
            data = os.read(incarnation.output_fd, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._house.supervisor.unwatch(incarnation.output_fd)
        for line in self._lines.take(data, time.monotonic()):
            self._report("log", _parse(line))
        return bool(data)


def back_off_s(deaths_in_row: int) -> float:
    """Return how long to wait before a worker is started again: at once, then 0.2 s, doubling up to 10 s."""
    if deaths_in_row <= 1:
        return 0.0
    return min(LONGEST_BACK_OFF_S, FIRST_BACK_OFF_S * 2.0 ** min(deaths_in_row - 2, 30))


def _parse(line: str) -> dict[str, Any]:
    """Return a line of the worker's log; what is no JSON is what something printed."""
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, ValueError, RecursionError):
        return {"message": line}


def _text_of(line: str) -> str:
    return str(_parse(line).get("message", line))
