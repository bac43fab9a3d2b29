"""The base of every driver: a class whose typed methods are the verbs of an instrument.

A worker process imports this and little else: keep it light.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias

import msgspec

from labwire.errors import ConfigError, LabwireError
from labwire.instruments.driver_api import Quantity, bound_verbs, quantity, read_api
from labwire.operations.instrument_api import InstrumentApi, Verb
from labwire.strict import Strict, find_mistakes, is_strict, nearest

if TYPE_CHECKING:
    import numpy as np

    Waveform: TypeAlias = np.ndarray[Any, Any]
    """An array, as the type of a parameter or a result; a driver that only names it need not import numpy."""
else:

    class Waveform:
        """An array, as the type of a parameter or a result; a driver that only names it need not import numpy."""


__all__ = ["Answer", "Driver", "NoOptions", "Quantity", "Waveform", "api_of", "load_driver", "make_driver", "quantity"]

ENTRY_POINTS = "labwire.drivers"


class NoOptions(Strict):
    """A driver without options."""


class Answer(NamedTuple):
    """A result together with what the instrument really said, where that is worth keeping."""

    value: Any
    text: str
    """Goes into ``text_response``."""


class BoundVerb(NamedTuple):
    """A verb and what to call for it."""

    verb: Verb
    function: Callable[..., Any]


class Driver:
    """Speaks to one instrument, in a worker process of its own.

    Each public method is a verb: ``measure_voltage`` is MEASURE_VOLTAGE. Parameters have types ``float``, ``int``,
    ``str``, ``bool``, ``list[float]``, `Waveform` or a ``Literal`` of choices; `quantity` adds unit and range. What the
    docstring says under ``Args:`` documents them. A generator method is a continuous acquisition: each value that it
    yields is a block. A numpy array as result reaches the caller as one, through shared memory.

    >>> from typing import Annotated
    >>> class Heater(Driver):
    ...     def set_power(self, power_w: Annotated[float, quantity("W", ge=0, le=50)]) -> None:
    ...         '''Heat.
    ...
    ...         Args:
    ...             power_w: Power of the heater.
    ...         '''
    >>> api_of(Heater).verbs[0].name
    'SET_POWER'

    Everything runs on one thread, command after command. Raise `labwire.errors.DeviceError` for what the instrument
    does wrong, `labwire.errors.UsageError` for what the caller does wrong; anything else is taken for a bug.
    """

    Config: ClassVar[type[Strict]] = NoOptions
    """Options of this driver: a `Strict` struct, filled from the instrument's table in the rig file."""

    def __init__(self, options: Any) -> None:
        self.options: Any = options
        self.log = logging.getLogger(type(self).__name__)

    def open(self) -> None:
        """Connect to the instrument; the worker says that it is ready when this returns."""

    def close(self) -> None:
        """Leave the instrument in a safe state and disconnect; called once if `open` has returned.

        *Source:* instrument-ipc, "SHUTDOWN": plugin_shutdown().
        """

    def verbs(self) -> Mapping[str, BoundVerb]:
        """Return the verbs by their names on the wire; a driver whose verbs stand in its options overrides this."""
        return {verb.name: BoundVerb(verb, getattr(self, verb.method)) for verb in bound_verbs(type(self), Driver)}


def api_of(driver: type[Driver] | Driver) -> InstrumentApi:
    """Return what an instrument can do.

    Args:
        driver: The class; for a driver whose verbs depend on its options, the object.

    Raises:
        ConfigError: A method cannot be a verb: the message says which and why.
    """
    if isinstance(driver, Driver):
        return read_api(type(driver), [bound.verb for bound in driver.verbs().values()])
    return read_api(driver, bound_verbs(driver, Driver))


def load_driver(name: str) -> type[Driver]:
    """Import a driver's class.

    Args:
        name: ``module:Class``, or the name of an entry point of group ``labwire.drivers``.

    Raises:
        ConfigError: There is no such entry point, module or class, importing it fails, or it is no driver.
    """
    if ":" not in name:
        name = _from_entry_point(name)
    module_name, _, class_name = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except LabwireError:
        raise
    except ModuleNotFoundError as error:
        raise ConfigError(f"driver {name!r}: there is no module {error.name!r} on the Python path") from error
    except Exception as error:
        raise ConfigError(f"driver {name!r} cannot be imported: {type(error).__name__}: {error}") from error
    if (loaded := getattr(module, class_name, None)) is None:
        text = f"driver {name!r}: module {module_name!r} has no class {class_name!r}"
        near = nearest(class_name, [one for one, value in vars(module).items() if isinstance(value, type)])
        raise ConfigError(f"{text}; did you mean {near!r}?" if near else text)
    if not (isinstance(loaded, type) and issubclass(loaded, Driver)):
        raise ConfigError(f"{name!r} is not a driver: subclass labwire.instruments.driver.Driver")
    if not is_strict(loaded.Config):
        raise ConfigError(f"{name!r}: the class Config of its options must be a subclass of labwire.strict.Strict")
    return loaded


def make_driver(driver: type[Driver], options: Mapping[str, Any], instrument: str) -> Driver:
    """Check a driver's options and make it; `Driver.open` is not called yet.

    Raises:
        ConfigError: An option is unknown or has the wrong type.
    """
    mistakes = list(find_mistakes(dict(options), driver.Config))
    if mistakes:
        lines = [mistake.in_a_line() for mistake in mistakes]
        known = ", ".join(driver.Config.__struct_fields__) or "none"
        raise ConfigError(f"instrument {instrument!r}: {'; '.join(lines)} (options of {driver.__name__}: {known})")
    return driver(msgspec.convert(dict(options), driver.Config))


def _from_entry_point(name: str) -> str:
    from importlib.metadata import entry_points  # takes as long to import as all the rest of a worker

    found = {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}
    if name in found:
        return found[name]
    near = nearest(name, found)
    hint = f"did you mean {near!r}?" if near else f"installed are: {', '.join(sorted(found)) or 'none'}."
    raise ConfigError(f"no driver {name!r} is installed; {hint} A class is named 'module:Class'")
