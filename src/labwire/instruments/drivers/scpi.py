"""A driver for any instrument that speaks SCPI: its verbs stand in the rig file, no Python is needed.

[instruments.SUPPLY]
driver = "scpi"
resource = "TCPIP0::192.168.1.7::inst0::INSTR"

[instruments.SUPPLY.verbs.SET_VOLTAGE]
doc = "Set the output voltage."
send = "VOLT {voltage}"
params.voltage = { type = "float", unit = "V", minimum = 0, maximum = 30 }

[instruments.SUPPLY.verbs.MEASURE_CURRENT]
send = "MEAS:CURR?"
parse = "float"
unit = "A"
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal, cast

import msgspec

from labwire.errors import ConfigError, DeviceError, UsageError, needs_extra
from labwire.instruments.api import check_params
from labwire.instruments.driver import Answer, BoundVerb
from labwire.instruments.drivers.visa import VisaConfig, VisaDriver
from labwire.operations.instrument_api import Parameter, Verb
from labwire.strict import Strict

_NOT_A_NUMBER = 9.91e37
_INFINITE = 9.9e37  # SCPI-1999 7.2.1: how an instrument says that a value is infinite, or no number
_VERB = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_UNSAFE = re.compile(r"[;\x00-\x1f\x7f]")


class ScpiParameter(Strict):
    """A parameter of a verb."""

    type: Literal["float", "int", "str", "bool", "list[float]"] = "float"
    doc: str = ""
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: list[float | str] = []
    """If not empty, the only values allowed."""
    default: float | str | bool | None = None
    """What holds when it is not given; without one it must be given."""


class ScpiVerb(Strict):
    """A verb: what is sent for it, and what its answer is."""

    send: str | list[str]
    """The command, or several; ``{name}`` is replaced by a parameter, ``{name:.3f}`` in that format."""
    parse: Literal["none", "str", "float", "int", "bool", "list", "waveform", "block"] = "none"
    """What the answer to the last command is; none: it has none. waveform: numbers as text; block: as binary data."""
    unit: str = ""
    """Unit of the answer."""
    doc: str = ""
    params: dict[str, ScpiParameter] = {}
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=86400)] | None = None
    """How long this answer may take, if that is longer than usual."""
    element: Literal["b", "B", "h", "H", "i", "I", "q", "Q", "f", "d"] = "f"
    """Type of a block's elements, as Python's struct names them."""
    big_endian: bool = False
    """Whether the first byte of a block's elements is the highest."""
    scale: float = 1.0
    """Waveforms and blocks are multiplied by it."""
    offset: float = 0.0
    """And this is added then."""


class ScpiConfig(VisaConfig):
    """Options of the generic driver."""

    verbs: dict[str, ScpiVerb] = {}
    """What the instrument can do, by names like MEASURE_VOLTAGE."""
    open_send: list[str] = []
    """Commands that are sent after connecting."""
    close_send: list[str] = []
    """Commands that leave the instrument in a safe state; sent before disconnecting."""
    error_query: str = ""
    """Asked after each verb, if given: an answer that does not begin with 0 is an error. Usually ``SYST:ERR?``."""
    raw: bool = False
    """Add the verbs WRITE and QUERY, which send any text."""


class ScpiDriver(VisaDriver):
    """Any instrument that speaks SCPI; its verbs stand in the rig file."""

    Config = ScpiConfig
    options: ScpiConfig

    def __init__(self, options: ScpiConfig) -> None:
        super().__init__(options)
        self._verbs = {name: self._make(name, verb) for name, verb in options.verbs.items()}
        if options.raw:
            self._verbs |= self._raw_verbs()

    def open(self) -> None:
        """Connect and prepare."""
        super().open()
        for command in self.options.open_send:
            self._write(command)
        self._check()

    def close(self) -> None:
        """Leave the instrument in a safe state and disconnect."""
        try:
            if self._session is not None:
                for command in self.options.close_send:
                    self._write(command)
        finally:
            super().close()

    def verbs(self) -> Mapping[str, BoundVerb]:
        """Return the verbs of the rig file."""
        return self._verbs

    def _make(self, name: str, config: ScpiVerb) -> BoundVerb:
        if not _VERB.fullmatch(name) or name != name.upper():
            raise ConfigError(f"verbs.{name}: a verb's name is made of capital letters, digits and '_'")
        commands = [config.send] if isinstance(config.send, str) else config.send
        _check_template(name, commands, config)
        returns = {"list": "list[float]", "block": "waveform"}.get(config.parse, config.parse)
        verb = Verb(
            name=name,
            method=name.lower(),
            doc=config.doc,
            parameters=[_parameter(name, key, param) for key, param in config.params.items()],
            returns=returns,
            unit=config.unit,
        )
        return BoundVerb(verb, partial(self._run, commands, config))

    def _run(self, commands: Sequence[str], config: ScpiVerb, /, **params: Any) -> Any:
        texts = {name: _as_text(name, value) for name, value in params.items()}
        filled = [command.format(**texts) for command in commands]
        for command in filled[:-1]:
            self._write(command)
        if config.timeout_s is None:
            value = self._ask(filled[-1], config)
        else:
            with self._within(config.timeout_s):
                value = self._ask(filled[-1], config)
        self._check()
        return value

    def _ask(self, command: str, config: ScpiVerb) -> Any:
        if config.parse == "none":
            self._write(command)
            return None
        if config.parse == "block":
            block = self._query_block(command, config.element, big_endian=config.big_endian)
            return block if (config.scale, config.offset) == (1.0, 0.0) else block * config.scale + config.offset
        text = self._query(command)
        try:
            value = PARSERS[config.parse](text)
        except ValueError as error:
            raise DeviceError(
                f"{self.options.resource}: {command!r} was answered with {text[:100]!r}: {error}"
            ) from error
        if config.parse == "waveform":
            return value * config.scale + config.offset
        return value if isinstance(value, float) and not math.isfinite(value) else Answer(value, text)

    def _check(self) -> None:
        if self.options.error_query:
            self._check_errors(self.options.error_query)

    def _raw_verbs(self) -> dict[str, BoundVerb]:
        command = Parameter(name="command", type="str", doc="What to send.")
        write = Verb(name="WRITE", method="write", doc="Send a command without an answer.", parameters=[command])
        query = Verb(
            name="QUERY", method="query", doc="Send a command, return its answer.", parameters=[command], returns="str"
        )
        return {
            "WRITE": BoundVerb(write, self._write),
            "QUERY": BoundVerb(query, self._query),
        }


def _parameter(verb: str, name: str, config: ScpiParameter) -> Parameter:
    parameter = Parameter(
        name=name,
        type=config.type,
        doc=config.doc,
        unit=config.unit,
        minimum=config.minimum,
        maximum=config.maximum,
        choices=list(config.choices),
    )
    if config.default is None:
        return parameter
    try:
        default = check_params(Verb(name=verb, method="", parameters=[parameter]), {name: config.default})[name]
    except UsageError as error:
        raise ConfigError(f"the default does not fit: {error}") from error
    return msgspec.structs.replace(parameter, required=False, default=default)


def _check_template(verb: str, commands: Sequence[str], config: ScpiVerb) -> None:
    where = f"verbs.{verb}.send"
    if not commands:
        raise ConfigError(f"{where}: at least one command is needed")
    used: set[str] = set()
    for command in commands:
        try:
            fields = [field for _, field, _, _ in string.Formatter().parse(command) if field is not None]
        except ValueError as error:
            raise ConfigError(f"{where}: {command!r} is no template: {error}") from error
        if unknown := [field for field in fields if field not in config.params]:
            raise ConfigError(f"{where}: {command!r} uses {{{unknown[0]}}}, which is not in verbs.{verb}.params")
        used.update(fields)
    if unused := config.params.keys() - used:
        raise ConfigError(f"{where}: parameter {min(unused)} is not used")
    sample = {name: _SAMPLES[param.type] for name, param in config.params.items()}
    try:
        for command in commands:
            command.format(**sample)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ConfigError(f"{where}: its format does not fit the parameter's type: {error}") from error


_SAMPLES: Mapping[str, Any] = {"float": 1.0, "int": 1, "str": "A", "bool": 1, "list[float]": "1.0,2.0"}


def _as_text(name: str, value: Any) -> Any:
    """Return a parameter as it stands in a command; text must not bring commands of its own."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, list):
        return ",".join(repr(item) for item in cast("list[float]", value))
    if isinstance(value, str) and _UNSAFE.search(value):
        raise UsageError(f"parameter {name!r} must not contain ';' or control characters: {value[:60]!r}")
    return value


def parse_number(text: str) -> float:
    """Read a number; SCPI's own ways to write infinity and not-a-number are understood.

    Raises:
        ValueError: It is none.
    """
    value = float(text)
    if abs(value) == _NOT_A_NUMBER:
        return math.nan
    return math.copysign(math.inf, value) if abs(value) == _INFINITE else value


def parse_whole(text: str) -> int:
    """Read a whole number, also one that is written as ``+1.0E+01``.

    Raises:
        ValueError: It is none.
    """
    try:
        return int(text)
    except ValueError:
        value = float(text)
        if not value.is_integer():
            raise ValueError(f"{text} is no whole number") from None
        return int(value)


def parse_switch(text: str) -> bool:
    """Read ``1``, ``ON``, ``0`` or ``OFF``.

    Raises:
        ValueError: It is none of them.
    """
    known = {"1": True, "+1": True, "ON": True, "0": False, "+0": False, "OFF": False}
    if text.upper() not in known:
        raise ValueError("not 1, ON, 0 or OFF")
    return known[text.upper()]


def parse_numbers(text: str) -> list[float]:
    """Read numbers with commas between them, with or without the header of a block before them.

    Raises:
        ValueError: One is no number.
    """
    if text.startswith("#") and text[1:2].isdigit():
        text = text[2 + int(text[1]) :]
    return [parse_number(item) for item in text.split(",")] if text.strip() else []


def parse_waveform(text: str) -> Any:
    """Read numbers with commas between them into a numpy array of float64.

    Raises:
        ValueError: One is no number.
    """
    with needs_extra("waveforms"):
        import numpy as np
    return np.array(parse_numbers(text), dtype=np.float64)


PARSERS: Mapping[str, Callable[[str], Any]] = {
    "str": str,
    "float": parse_number,
    "int": parse_whole,
    "bool": parse_switch,
    "list": parse_numbers,
    "waveform": parse_waveform,
}
