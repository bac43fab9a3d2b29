"""Lets several instruments wait for each other: none goes on before all have finished what was sent before."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ALL_COMPLETED, Future, wait
from typing import NamedTuple

from labwire.errors import DeadlineError, LabwireError
from labwire.instruments.exchange.calls import FutureCall, check_success
from labwire.instruments.exchange.commands import URGENT_PRIORITY
from labwire.instruments.exchange.exchange import Exchange
from labwire.instruments.instrument import Instrument
from labwire.wire.instrument_extras import BARRIER, RELEASE, Feature, control_command
from labwire.wire.instrument_message import CommandResponse

_MORE_S = 5.0
"""How much longer than the server a worker waits, so that it is the server that gives up."""


class Barrier(NamedTuple):
    """What came of a barrier."""

    reached_s: dict[str, float]
    """When each instrument was there, in seconds from the call."""
    waited_s: float
    """When the last of them was there."""
    release_spread_s: float
    """Between letting the first and the last of them go on."""


class _Member(NamedTuple):
    instrument: Instrument
    exchange: Exchange
    reached: Future[float]
    release: bytes


def run_barrier(instruments: Sequence[Instrument], timeout_s: float) -> Barrier:
    """Let instruments wait for each other.

    Raises:
        DeadlineError: Some did not get there in time; the others go on.
        PeerGoneError: A worker died meanwhile; the others go on.
        UsageError: One of them has a foreign worker, which knows no barriers.
    """
    for instrument in instruments:
        instrument.need(Feature.CONTROL, "a barrier")
    start_s = time.monotonic()
    token = uuid.uuid4().hex
    members: list[_Member] = []
    try:
        for instrument in instruments:
            members += [_send(instrument, token, start_s + timeout_s)]
        wait([member.reached for member in members], timeout_s, ALL_COMPLETED)
        missing = [member.instrument.name for member in members if not member.reached.done()]
        if missing:
            raise DeadlineError(
                f"{', '.join(missing)} did not reach the barrier within {timeout_s:g} s; the others go on",
                missing=missing,
                timeout_s=timeout_s,
            )
        reached_s = {member.instrument.name: member.reached.result() - start_s for member in members}
    except BaseException:
        _release(members)
        raise
    return Barrier(reached_s, max(reached_s.values(), default=0.0), _release(members))


def _send(instrument: Instrument, token: str, deadline_s: float) -> _Member:
    exchange, maker = instrument.usable_exchange(deadline_s), instrument.maker
    left_s = max(0.001, deadline_s - time.monotonic())
    number, command = maker.make_control(BARRIER, {"token": token}, timeout_ms=(left_s + _MORE_S) * 1000)

    def reached(response: CommandResponse) -> float:
        check_success(response, instrument.name, BARRIER)
        return time.monotonic()

    call = FutureCall(command, number, deadline_s + _MORE_S, reached)
    exchange.send(call, maker.encode(number, command))
    release = maker.message(number, control_command(RELEASE, token=token))
    return _Member(instrument, exchange, call.future, release)


def _release(members: Sequence[_Member]) -> float:
    """Let all go on, also those that are not there yet; return the time between the first and the last."""
    start_s = time.monotonic()
    last_s = start_s
    for member in members:
        try:
            member.exchange.put(member.release, URGENT_PRIORITY)
        except LabwireError:
            continue  # dead, or stuck with a full queue: it gives up by itself
        last_s = time.monotonic()
    return last_s - start_s
