"""What can be told of an instrument without asking its worker."""

from __future__ import annotations

from enum import Enum

import msgspec


class State(Enum):
    """Where an instrument is in its life."""

    STARTING = "starting"
    """Its worker runs, its driver is not ready yet."""
    READY = "ready"
    BUSY = "busy"
    """Ready, and commands wait for their answers."""
    STUCK = "stuck"
    """A command is past its timeout and the worker has not answered since."""
    WAITING = "waiting"
    """External: nobody has started its worker yet."""
    STOPPING = "stopping"
    """It finishes the running command, then its driver is shut down."""
    STOPPED = "stopped"
    BACKING_OFF = "backing_off"
    """Its worker has died and will be started again."""
    GIVEN_UP = "given_up"
    """Its worker has died too often; only a start or restart that somebody asks for tries again."""


class InstrumentStatus(msgspec.Struct, frozen=True, kw_only=True):
    """An instrument at one moment, and what was counted since it was added."""

    name: str
    state: State
    driver: str
    queue: str
    """Kind of its queues: ``boost``, ``posix`` or ``socket``."""
    profile: str
    external: bool = False
    pid: int | None = None
    incarnation: int = 0
    """How often its worker was started."""
    restarts: int = 0
    """How often it was started again after a death."""
    uptime_s: float | None = None
    """How long the worker has been ready; None if it is not."""
    waiting: int = 0
    """Commands sent and not answered."""
    ok: int = 0
    failed: int = 0
    """Commands answered with ``success: false``, by an ERROR or with garbage, or ended by the worker's death."""
    timed_out: int = 0
    late: int = 0
    """Responses that came after their command's timeout and were dropped."""
    protocol_errors: int = 0
    """Messages that could not be understood."""
    stuck_s: float | None = None
    """How long it has been stuck; None if it is not."""
    last_error: str = ""
    heartbeat_age_s: float | None = None
    """How long ago it last gave a sign of life; None if it never did."""
    starts_again_in_s: float | None = None
    """For ``backing_off``."""


class Counts:
    """Counters of an instrument; they outlive its workers."""

    __slots__ = ("failed", "late", "ok", "protocol_errors", "timed_out")

    def __init__(self) -> None:
        self.ok = self.failed = self.timed_out = self.late = self.protocol_errors = 0
