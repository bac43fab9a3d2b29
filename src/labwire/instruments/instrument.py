"""An instrument as callers see it: where its commands go, how it is, and waiting for it to start or end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import msgspec

from labwire.errors import DeadlineError, LabwireError, PeerGoneError, StateError, UsageError
from labwire.instruments.config import InstrumentConfig
from labwire.instruments.exchange.calls import check_success, has_waveform, plain_value
from labwire.instruments.exchange.commands import CommandMaker
from labwire.instruments.exchange.exchange import Exchange
from labwire.instruments.queues.contract import QueueState
from labwire.instruments.status import InstrumentStatus, State
from labwire.instruments.supervision.incarnation import ALL_FEATURES, waveform_prefix
from labwire.instruments.supervision.life import TERMINATE_LIMIT_S, House, Life
from labwire.instruments.supervision.name_lock import NameLock
from labwire.instruments.waveforms import open_waveform
from labwire.wire.instrument_extras import Feature, WaveformHandle
from labwire.wire.instrument_message import PROFILES, CommandResponse

_ENDED = {State.STOPPED, State.GIVEN_UP}

_log = logging.getLogger(__name__)


class Instrument:
    """One instrument; all methods may be called from any thread.

    Args:
        name: Its name.
        config: Its options.
        house: What it shares with others.
    """

    def __init__(self, name: str, config: InstrumentConfig, house: House) -> None:
        self.name, self.config = name, config
        self.features = frozenset(() if config.external else ALL_FEATURES)
        self.maker = CommandMaker(name, PROFILES[config.profile], compress=Feature.COMPRESSION in self.features)
        self._life = Life(name, config, house, self.maker)
        self._name_lock: NameLock | None = None

    def claim(self) -> None:
        """Take its name, where queues have names that are the whole machine's, and remove what a dead server left.

        Raises:
            RefusedError: Another living process serves it.
            ResourceError: There is no safe place for the lock.
        """
        if self.config.queue == "socket":
            return
        self._name_lock = NameLock(self.name)
        if removed := self._name_lock.clean():
            _log.info("%s: removed what a dead server left: %s", self.name, ", ".join(removed))

    def release(self) -> None:
        """Give its name back."""
        if self._name_lock:
            self._name_lock.release()

    def usable_exchange(self, deadline_s: float) -> Exchange:
        """Return where commands go, waiting for a worker that is being started at once.

        Raises:
            DeadlineError: It was not there in time.
            PeerGoneError: The worker has died, and the next one is started later or not at all.
            StateError: The instrument is stopped, or waits for an external worker.
        """
        life = self._life
        exchange = life.exchange
        if exchange is not None:
            return exchange
        with life.changed:
            while (exchange := life.exchange) is None:
                now_s = time.monotonic()
                soon = life.state is State.STARTING or (life.state is State.BACKING_OFF and life.due_s <= now_s)
                if not (soon or life.asked_to_start):
                    raise self._why_not()
                if now_s >= deadline_s:
                    raise DeadlineError(f"{self.name} was not started in time", instrument=self.name)
                life.changed.wait(deadline_s - now_s)
            return exchange

    def _why_not(self) -> LabwireError:
        life = self._life
        data = {"instrument": self.name, "state": life.state.value}
        if life.state is State.BACKING_OFF:
            wait_s = max(0.0, life.due_s - time.monotonic())
            text = f"Worker died: {self.name}: {life.last_error}; it starts again in {wait_s:.1f} s"
            return PeerGoneError(text, **data)
        if life.state is State.WAITING:
            return StateError(f"{self.name} waits for its worker, which somebody else starts", **data)
        why = f" ({life.last_error})" if life.last_error else ""
        return StateError(f"{self.name} is {life.state.value}{why}: start it first", **data)

    def need(self, feature: Feature, what: str) -> None:
        """Refuse what its worker does not know.

        Raises:
            UsageError: It is a foreign worker.
        """
        if feature not in self.features:
            raise UsageError(f"{self.name} has a worker that somebody else starts; {what} needs one of our own")

    def value_of(self, response: CommandResponse, verb: str) -> Any:
        """Return the value of a response.

        Raises:
            CommandFailedError: It says failure.
            LabwireError: Its array cannot be fetched.
        """
        if not response.success:
            check_success(response, self.name, verb)
        value = response.return_value
        if value is not None:
            return value
        return self.fetch_array(response) if has_waveform(response) else plain_value(response)

    def whole(self, response: CommandResponse) -> CommandResponse:
        """Return a response with the value as callers get it.

        Raises:
            LabwireError: Its array cannot be fetched.
        """
        value = self.fetch_array(response) if has_waveform(response) else plain_value(response)
        return msgspec.structs.replace(response, return_value=value, waveform=msgspec.UNSET)

    def fetch_array(self, response: CommandResponse) -> Any:
        """Map the array of a response, and remove its file.

        Raises:
            LabwireError: It cannot be fetched, for instance because its worker has died since.
        """
        handle = msgspec.convert(response.waveform, WaveformHandle)
        return open_waveform(handle, prefix=waveform_prefix(self.name))

    def status(self) -> InstrumentStatus:
        """Return what can be told without asking the worker."""
        now_s = time.monotonic()
        life, config = self._life, self.config
        incarnation, counts = life.incarnation, life.counts
        exchange = incarnation.exchange if incarnation else None
        sign_s = exchange.last_sign_s if exchange else None
        ready_s = incarnation.ready_s if incarnation else None
        stuck_since_s = exchange.ledger.stuck_since_s if exchange else None
        return InstrumentStatus(
            name=self.name,
            state=_shown(life.state, exchange),
            driver=config.driver,
            queue=config.queue,
            profile=config.profile,
            external=config.external,
            pid=incarnation.pid if incarnation else None,
            incarnation=life.incarnations,
            restarts=life.restarts,
            uptime_s=now_s - ready_s if ready_s is not None and life.state is State.READY else None,
            waiting=len(exchange.ledger.pending) if exchange else 0,
            ok=counts.ok,
            failed=counts.failed,
            timed_out=counts.timed_out,
            late=counts.late,
            protocol_errors=counts.protocol_errors,
            stuck_s=now_s - stuck_since_s if stuck_since_s is not None else None,
            last_error=life.last_error,
            heartbeat_age_s=now_s - sign_s if sign_s is not None else None,
            starts_again_in_s=max(0.0, life.due_s - now_s) if life.state is State.BACKING_OFF else None,
        )

    def queue_states(self) -> list[QueueState]:
        """Return how both queues of the present worker are; none if there is no worker."""
        incarnation = self._life.incarnation
        if incarnation is None:
            return []
        pair = incarnation.exchange.pair
        return [pair.requests.state(), pair.responses.state()]

    # --- start and end

    def begin(self) -> Callable[[float], None]:
        """Ask for a start; return what waits for its outcome.

        The waiter takes a limit in seconds and raises PeerGoneError if the worker dies while it starts, StateError if
        it is stopped, DeadlineError if the limit passes.
        """
        self._life.ask_to_begin()
        return self._wait_until_ready

    def _wait_until_ready(self, limit_s: float) -> None:
        life = self._life
        until_s = time.monotonic() + limit_s
        with life.changed:
            while life.asked_to_start or life.state not in {State.READY, State.WAITING}:
                if not life.asked_to_start and life.deaths > life.deaths_before:
                    text = f"Worker died: {self.name}: {life.last_error}"
                    raise life.start_error or PeerGoneError(text, instrument=self.name)
                if not life.asked_to_start and life.state in _ENDED:
                    raise self._why_not()
                if (left_s := until_s - time.monotonic()) <= 0:
                    raise DeadlineError(f"{self.name} was not ready within {limit_s:g} s", instrument=self.name)
                life.changed.wait(left_s)

    def finish(self, *, start_again: bool = False) -> None:
        """Ask for a stop; see `wait_until_ended`."""
        self._life.ask_to_finish(start_again=start_again)

    def wait_until_ended(self) -> None:
        """Wait until there is no worker any more; one that does not end is killed, so this ends too.

        Raises:
            DeadlineError: Not even killing ended it: the system is in trouble.
        """
        life, limit_s = self._life, self.config.stop_timeout_s + 2 * TERMINATE_LIMIT_S + 5.0
        with life.changed:
            if not life.changed.wait_for(lambda: life.state in _ENDED and life.incarnation is None, limit_s):
                raise DeadlineError(f"the worker of {self.name} did not end within {limit_s:g} s", instrument=self.name)


def _shown(state: State, exchange: Exchange | None) -> State:
    if state is State.READY and exchange:
        if exchange.ledger.stuck_since_s is not None:
            return State.STUCK
        if exchange.ledger.pending:
            return State.BUSY
    return state
