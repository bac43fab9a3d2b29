"""Binds commands to the methods of a driver: the verb is looked up, the parameters are checked and converted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

from labwire.errors import needs_extra
from labwire.instruments.api import check_params, unknown_verb
from labwire.instruments.driver import BoundVerb, Driver
from labwire.operations.instrument_api import Verb
from labwire.wire.instrument_message import Command


class BoundCall(NamedTuple):
    """A command, ready to be executed: ``function(**params)``."""

    verb: Verb
    function: Callable[..., Any]
    params: dict[str, Any]


class Methods:
    """The verbs of one driver.

    Args:
        driver: Opened already, if its verbs are known only then.
        instrument: Name, for the texts of errors.

    Raises:
        ConfigError: A method of the driver cannot be a verb.
    """

    def __init__(self, driver: Driver, instrument: str) -> None:
        self._instrument = instrument
        self._methods = {name: (bound, _array_parameters(bound)) for name, bound in driver.verbs().items()}

    def bind(self, command: Command) -> BoundCall:
        """Return what is to be called for a command.

        Raises:
            NotFoundError: The driver has no such verb.
            UsageError: A parameter is unknown, missing or wrong.
        """
        found = self._methods.get(command.verb)
        if found is None:
            raise unknown_verb(command.verb, list(self._methods), self._instrument)
        (verb, function), arrays = found
        params = check_params(verb, command.params, self._instrument)
        for name in arrays:
            params[name] = _to_array(params[name])
        return BoundCall(verb, function, params)


def _array_parameters(bound: BoundVerb) -> tuple[str, ...]:
    return tuple(parameter.name for parameter in bound.verb.parameters if parameter.type == "waveform")


def _to_array(value: Any) -> Any:
    if value is None:
        return None
    with needs_extra("waveforms"):
        import numpy as np
    return np.asarray(cast("list[float]", value), dtype=float)
