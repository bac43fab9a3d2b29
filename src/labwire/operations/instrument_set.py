"""What the rig asks of its instruments' actor when the rig changes; people use ``rig.add`` and ``rig.remove``."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, TypeAlias

from labwire.errors import ConfigError, NotFoundError, StateError
from labwire.operations.service import Service, operation

InstrumentOptions: TypeAlias = dict[str, Any]


class InstrumentSet(Service):
    """Take instruments in and out; the others go on."""

    service = "instrument_set"

    @operation(errors=(ConfigError, StateError))
    @abstractmethod
    def take_in(self, name: str, config: InstrumentOptions) -> None:
        """Run one more instrument; its worker is started, and not waited for.

        Args:
            name: Of the instrument.
            config: Its `labwire.instruments.config.InstrumentConfig` as plain data.
        """

    @operation(errors=(NotFoundError,))
    @abstractmethod
    def take_out(self, name: str) -> None:
        """Let an instrument finish its command, stop it, and forget it.

        Args:
            name: Of the instrument.
        """
