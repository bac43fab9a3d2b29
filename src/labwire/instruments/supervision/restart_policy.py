"""When a worker is taken for dead though its process lives, and what follows on a death."""

from __future__ import annotations

from typing import NamedTuple

from labwire.errors import ConfigError, MissingExtraError, ResourceError, codes_of
from labwire.instruments.config import InstrumentConfig
from labwire.instruments.exchange.exchange import Exchange

FIRST_BACK_OFF_S = 0.2
LONGEST_BACK_OFF_S = 10.0
HOPELESS_CODES = frozenset({codes_of(ConfigError).exit_code, codes_of(MissingExtraError).exit_code})
"""A worker that ends with one of these before it is ready would do so every time."""


def is_hopeless(error: Exception) -> bool:
    """Whether a start that failed with this error would fail every time, until a person changes something."""
    return isinstance(error, ConfigError) or (isinstance(error, ResourceError) and "limits" in error.data)


class NextStart(NamedTuple):
    """What follows on a death."""

    delay_s: float | None
    """When the next worker is started; None: never."""
    why: str = ""
    """Why never."""


class RestartPolicy:
    """Counts deaths in a row: those between which no command was answered.

    Args:
        config: ``restart`` and ``restart_tries``.
    """

    def __init__(self, config: InstrumentConfig) -> None:
        self._config = config
        self.deaths_in_row = 0

    def forget(self) -> None:
        """Begin anew: a command was answered, or somebody has asked for a start."""
        self.deaths_in_row = 0

    def after_death(self, *, hopeless: bool, free: bool) -> NextStart:
        """Count a death and return what follows.

        Args:
            hopeless: It would die again every time.
            free: Trying again costs nothing: the worker is one that somebody else starts.
        """
        self.deaths_in_row = 1 if free else self.deaths_in_row + 1
        if not self._config.restart:
            return NextStart(None, "restart is off")
        if hopeless:
            return NextStart(None, "it would fail every time")
        if self.deaths_in_row > self._config.restart_tries:
            return NextStart(None, f"{self.deaths_in_row} deaths in a row")
        return NextStart(back_off_s(self.deaths_in_row))


def back_off_s(deaths_in_row: int) -> float:
    """Return how long to wait before a worker is started again: at once, then 0.2 s, doubling up to 10 s."""
    if deaths_in_row <= 1:
        return 0.0
    return min(LONGEST_BACK_OFF_S, FIRST_BACK_OFF_S * 2.0 ** min(deaths_in_row - 2, 30))


def why_to_give_up(exchange: Exchange, config: InstrumentConfig, now_s: float) -> str:
    """Return why a worker that runs must be taken for dead; empty if it need not.

    *Source:* instrument-ipc, "Worker Crash": heartbeat monitoring.
    """
    # Only what was looked for counts as missing: if nobody could receive for a while, that is not the worker's silence.
    silent_s = exchange.last_look_s - (exchange.last_sign_s or exchange.last_look_s)
    if silent_s > config.heartbeat_timeout_s:
        return f"sent no heartbeat for {silent_s:.1f} s"
    exchange.ledger.check_stuck()
    since_s = exchange.ledger.stuck_since_s
    if config.stuck_restart_s is not None and since_s is not None and now_s - since_s > config.stuck_restart_s:
        return f"was stuck for {now_s - since_s:.1f} s"
    return ""
