"""Instruments that come and go while the rig runs."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from labwire.errors import ConfigError, NotFoundError, StateError
from labwire.instruments.config import InstrumentConfig
from labwire.operations.instrument_set import InstrumentOptions, InstrumentSet


class LiveInstruments(InstrumentSet):
    """Implements `InstrumentSet` for the instruments' actor.

    Args:
        instruments: Its instruments by name; changed here, on the actor's loop.
        take_in: Has the server run one of them.
        remove: Stops one and forgets it; waits for its worker.
        beside: Does something beside the loop; the caller gets the answer when it is there.
    """

    def __init__(
        self,
        instruments: dict[str, InstrumentConfig],
        *,
        take_in: Callable[[str], None],
        remove: Callable[[str], None],
        beside: Callable[[Callable[[], None]], None],
    ) -> None:
        self._instruments, self._take_in, self._remove, self._beside = instruments, take_in, remove, beside

    def take_in(self, name: str, config: InstrumentOptions) -> None:
        """See `InstrumentSet.take_in`."""
        try:
            wanted = msgspec.convert(config, InstrumentConfig)
        except msgspec.ValidationError as error:
            raise ConfigError(f"instrument {name}: {error}", instrument=name) from error
        present = self._instruments.get(name)
        if present == wanted:
            return  # this actor was started again meanwhile, with the new rig
        if present is not None:
            raise StateError(f"there is an instrument {name!r} already, with other options", instrument=name)
        self._instruments[name] = wanted
        self._take_in(name)

    def take_out(self, name: str) -> None:
        """See `InstrumentSet.take_out`."""
        if self._instruments.pop(name, None) is None:
            raise NotFoundError(f"no instrument {name!r} here", instrument=name)
        return self._beside(lambda: self._remove(name))
