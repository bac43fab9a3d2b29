"""A driver's typed methods are its verbs: what is read from them, and how parameters are checked against it."""

from __future__ import annotations

import math
import subprocess
import sys
import tomllib
from collections.abc import Generator, Iterable, Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.errors import ConfigError, NotFoundError, UsageError
from labwire.instruments.api import check_params, find_verb
from labwire.instruments.driver import Driver, Waveform, api_of, load_driver, make_driver, quantity
from labwire.instruments.driver_api import parse_docstring
from labwire.operations.instrument_api import InstrumentApi, Parameter, Verb
from labwire.strict import Strict

if TYPE_CHECKING:
    import nowhere  # pyright: ignore[reportMissingImports]
    import numpy as only_for_types  # noqa: ICN001

Voltage = Annotated[float, quantity("V", ge=0, le=1000)]


class Base(Driver):
    """Common to a family."""

    def identify(self) -> str:
        """Tell what it is."""
        return "base"

    def reset(self) -> None:
        """Reset it."""


class Meter(Base):
    """A meter.

    With a second paragraph.
    """

    class Config(Strict):
        """Options."""

        offset_v: float = 0.0

    options: Config

    def open(self) -> None:
        """Not a verb."""

    def measure_voltage(
        self,
        range: Voltage = 10.0,  # noqa: A002
        samples: int = 100,
        mode: Literal["DC", "AC"] = "DC",
        label: str | None = None,
    ) -> Voltage:
        """Measure it.

        Twice, if need be.

        Args:
            range: Largest
                voltage expected.
            samples (int): How many: a colon too.
            mode: What
              to measure.

        Returns:
            The voltage.

        Raises:
            DeviceError: No.
        """
        return range + self.options.offset_v

    def set_points(self, points: list[float], on: bool = True) -> None:  # noqa: FBT001, FBT002
        """Set them."""

    def load(self, shape: Waveform, old: np.ndarray[Any, Any], other: only_for_types.ndarray) -> Waveform:
        """Load one."""
        return shape

    def unknown_types(self, a: nowhere.Thing, b, c: dict[str, int], d: int | str, e: float | int) -> object:  # noqa: ANN001, PYI041
        """Anything goes."""
        return a

    def blocks(self) -> Iterator[Annotated[Waveform, quantity("A")]]:
        """Yield."""
        yield np.zeros(1)

    def generator(self) -> Generator[float, None, str]:
        """Yield."""
        yield 1.0
        return "end"

    def untyped_generator(self):  # noqa: ANN201
        """Yield."""
        yield 1

    def reset(self) -> None:
        """Reset it otherwise."""

    def _private(self) -> None: ...

    @property
    def state(self) -> int:
        """Not a verb."""
        return 0

    @staticmethod
    def helper() -> int:
        """Not a verb."""
        return 0

    @classmethod
    def maker(cls) -> int:
        """Not a verb."""
        return 0


METER = api_of(Meter)
VOLTAGE = find_verb(METER, "MEASURE_VOLTAGE")


def parameter(verb: str, name: str) -> Parameter:
    return next(one for one in find_verb(METER, verb).parameters if one.name == name)


def test_the_public_methods_of_a_driver_and_its_bases_are_its_verbs() -> None:
    assert METER.driver == f"{__name__}:Meter"
    assert METER.doc == "A meter.\n\nWith a second paragraph."
    assert [verb.name for verb in METER.verbs] == [
        "IDENTIFY",
        "RESET",
        "MEASURE_VOLTAGE",
        "SET_POINTS",
        "LOAD",
        "UNKNOWN_TYPES",
        "BLOCKS",
        "GENERATOR",
        "UNTYPED_GENERATOR",
    ]
    assert find_verb(METER, "reset").doc == "Reset it otherwise."


def test_a_verb_has_the_types_units_ranges_and_texts_of_its_method() -> None:
    assert VOLTAGE == Verb(  # noqa: SIM300
        name="MEASURE_VOLTAGE",
        method="measure_voltage",
        doc="Measure it.\n\nTwice, if need be.",
        parameters=[
            Parameter(
                name="range",
                type="float",
                doc="Largest voltage expected.",
                unit="V",
                minimum=0,
                maximum=1000,
                required=False,
                default=10.0,
            ),
            Parameter(name="samples", type="int", doc="How many: a colon too.", required=False, default=100),
            Parameter(
                name="mode", type="str", doc="What to measure.", choices=["DC", "AC"], required=False, default="DC"
            ),
            Parameter(name="label", type="str", required=False, default=None),
        ],
        returns="float",
        unit="V",
    )


@pytest.mark.parametrize(
    ("verb", "name", "kind"),
    [
        ("SET_POINTS", "points", "list[float]"),
        ("SET_POINTS", "on", "bool"),
        ("LOAD", "shape", "waveform"),
        ("LOAD", "old", "waveform"),
        ("LOAD", "other", "waveform"),
        ("UNKNOWN_TYPES", "a", "any"),
        ("UNKNOWN_TYPES", "b", "any"),
        ("UNKNOWN_TYPES", "c", "any"),
        ("UNKNOWN_TYPES", "d", "any"),
        ("UNKNOWN_TYPES", "e", "float"),
    ],
)
def test_types_of_parameters(verb: str, name: str, kind: str) -> None:
    assert parameter(verb, name).type == kind
    assert parameter(verb, name).required == (name != "on")


@pytest.mark.parametrize(
    ("verb", "returns", "unit", "continuous"),
    [
        ("RESET", "none", "", False),
        ("IDENTIFY", "str", "", False),
        ("LOAD", "waveform", "", False),
        ("UNKNOWN_TYPES", "any", "", False),
        ("BLOCKS", "waveform", "A", True),
        ("GENERATOR", "float", "", True),
        ("UNTYPED_GENERATOR", "any", "", True),
    ],
)
def test_types_of_results(verb: str, returns: str, unit: str, *, continuous: bool) -> None:
    found = find_verb(METER, verb)
    assert (found.returns, found.unit, found.continuous) == (returns, unit, continuous)


def test_a_class_that_sends_what_an_iterable_yields_is_not_a_generator() -> None:
    class Lister(Driver):
        def items(self) -> Iterable[float]:
            """List."""
            return [1.0]

    assert not api_of(Lister).verbs[0].continuous


def test_an_object_and_its_class_tell_the_same() -> None:
    assert api_of(Meter(Meter.Config())) == METER
    assert set(Meter(Meter.Config()).verbs()) == {verb.name for verb in METER.verbs}


def test_parameters_without_a_name_cannot_be_sent() -> None:
    class Loose(Driver):
        def set_all(self, *values: float) -> None: ...

    class Looser(Driver):
        def set_all(self, **values: float) -> None: ...

    for loose in (Loose, Looser):
        with pytest.raises(ConfigError, match=r"set_all: .*values.* cannot be sent"):
            api_of(loose)


def test_what_no_json_can_carry_is_no_parameter() -> None:
    class Odd(Driver):
        def set_phase(self, phase: complex) -> None: ...

    with pytest.raises(ConfigError, match=r"set_phase: phase: .*complex.* cannot be sent: use float"):
        api_of(Odd)


def test_a_verb_is_not_async() -> None:
    class Hasty(Driver):
        async def read(self) -> float:
            return 1.0

    class Endless(Driver):
        async def watch(self) -> Any:
            yield 1.0

    for hasty in (Hasty, Endless):
        with pytest.raises(ConfigError, match="is async: a verb is a plain method"):
            api_of(hasty)


def test_a_driver_that_says_nothing_of_itself_does_not_speak_for_its_base() -> None:
    class Silent(Driver):
        def read(self) -> float:
            return 1.0

    assert api_of(Silent).doc == ""


@pytest.mark.parametrize(
    ("text", "intro", "entries"),
    [
        ("", "", {}),
        ("One line.", "One line.", {}),
        ("One.\n\nTwo.", "One.\n\nTwo.", {}),
        ("A.\n\nArgs:\n    x: The x.\n    *y: The y.", "A.", {"x": "The x.", "y": "The y."}),
        ("A.\n\nArgs:\n    x:\n        Below.\n\n    y: Y.", "A.", {"x": "Below.", "y": "Y."}),
        ("A.\n\nReturns:\n    x: no.\n\nArgs:\n    z: Z.\nRaises:\n    E: no.", "A.", {"z": "Z."}),
        ("Args:\n    what is this\n    x: X.", "", {"x": "X."}),
    ],
)
def test_docstrings(text: str, intro: str, entries: dict[str, str]) -> None:
    assert parse_docstring(text) == (intro, entries)


@given(st.text(alphabet=" \nArgs:xyz()*", max_size=80))
def test_no_docstring_is_too_odd(text: str) -> None:
    parse_docstring(text)


# --- parameters of a command


def test_defaults_are_filled_in_and_numbers_become_what_they_are_declared() -> None:
    assert check_params(VOLTAGE, {}) == {"range": 10.0, "samples": 100, "mode": "DC", "label": None}
    checked = check_params(VOLTAGE, {"range": 5, "samples": 3.0, "mode": "AC", "label": None})
    assert checked == {"range": 5.0, "samples": 3, "mode": "AC", "label": None}
    assert type(checked["range"]) is float
    assert type(checked["samples"]) is int
    numpys = check_params(VOLTAGE, {"range": np.float32(0.5), "samples": np.int16(7)})
    assert (type(numpys["range"]), numpys["range"], type(numpys["samples"]), numpys["samples"]) == (float, 0.5, int, 7)
    assert check_params(VOLTAGE, {"samples": 2**70})["samples"] == 2**70


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"range": 2000.0}, "parameter 'range' must be from 0 to 1000 V, not 2000 V"),
        ({"range": -0.001}, "parameter 'range' must be from 0 to 1000 V, not -0.001 V"),
        ({"range": "10"}, "parameter 'range' must be a number, not \"10\""),
        ({"range": True}, "parameter 'range' must be a number, not true"),
        ({"range": None}, "parameter 'range' must be a number, not None"),
        ({"range": math.nan}, "parameter 'range' must be a finite number, not nan: JSON has no form for it"),
        ({"range": math.inf}, "parameter 'range' must be a finite number, not inf: JSON has no form for it"),
        ({"range": 10**400}, "parameter 'range' is too large for a number with a point"),
        ({"samples": 2.5}, "parameter 'samples' must be a whole number, not 2.5"),
        ({"samples": True}, "parameter 'samples' must be a whole number, not true"),
        ({"samples": math.inf}, "parameter 'samples' must be a whole number, not inf"),
        ({"samples": [1, 2, 3, 4]}, "parameter 'samples' must be a whole number, not a list of 4"),
        ({"mode": "dc"}, 'parameter \'mode\' must be one of "DC", "AC", not "dc"; did you mean DC?'),
        ({"mode": 1}, "parameter 'mode' must be text, not 1"),
        ({"rang": 1.0}, "parameter 'rang' is not known; did you mean range?"),
        ({"zzzz": 1.0}, "parameter 'zzzz' is not known; known are: range, samples, mode, label"),
    ],
)
def test_what_is_wrong_is_told_with_instrument_verb_parameter_value_and_range(
    params: dict[str, Any], text: str
) -> None:
    with pytest.raises(UsageError) as error:
        check_params(VOLTAGE, params, "DMM1")
    assert str(error.value) == f"DMM1 MEASURE_VOLTAGE: {text}"
    assert error.value.data["verb"] == "MEASURE_VOLTAGE"
    assert error.value.data["parameter"] == next(iter(params))


def test_a_missing_parameter_is_told_with_what_it_is() -> None:
    verb = Verb(name="SET", method="set", parameters=[Parameter(name="power", type="float", doc="Of the heater.")])
    with pytest.raises(UsageError, match=r"SET: parameter 'power' is missing \(Of the heater\.\)"):
        check_params(verb, {})


def one(**keys: Any) -> Verb:
    return Verb(name="V", method="v", parameters=[Parameter(name="x", **keys)])


@pytest.mark.parametrize(
    ("keys", "value", "text"),
    [
        ({"type": "float", "minimum": 2}, 1, "must be at least 2, not 1"),
        ({"type": "float", "maximum": 2}, 3, "must be at most 2, not 3"),
        ({"type": "list[float]", "maximum": 2}, [1, 3], "must be at most 2, not 3"),
        ({"type": "list[float]"}, 3, "must be a list of numbers, not 3"),
        ({"type": "list[float]"}, "abc", "must be a list of numbers, not"),
        ({"type": "list[float]"}, [1, "a"], 'must be a list of numbers; item 1 must be a number, not "a"'),
        ({"type": "waveform"}, [math.nan], "item 0 must be a finite number"),
        ({"type": "bool"}, 1, "must be true or false, not 1"),
        ({"type": "int", "choices": [1, 2]}, 3, "must be one of 1, 2, not 3"),
        ({"type": "any", "choices": [1, "a"]}, [], "must be one of 1"),
    ],
)
def test_wrong_values_of_other_types(keys: dict[str, Any], value: object, text: str) -> None:
    with pytest.raises(UsageError) as error:
        check_params(one(**keys), {"x": value})
    assert text in str(error.value)


@pytest.mark.parametrize(
    ("keys", "value", "checked"),
    [
        ({"type": "list[float]"}, [1, 2.5], [1.0, 2.5]),
        ({"type": "list[float]"}, (1,), [1.0]),
        ({"type": "list[float]", "minimum": 0}, np.arange(3), [0.0, 1.0, 2.0]),
        ({"type": "waveform"}, np.ones(2, np.float32), [1.0, 1.0]),
        ({"type": "bool"}, np.True_, True),
        ({"type": "any"}, {"a": [1]}, {"a": [1]}),
        ({"type": "of the future"}, object, object),
        ({"type": "int", "choices": [1, 2]}, 2.0, 2),
    ],
)
def test_right_values_of_other_types(keys: dict[str, Any], value: object, checked: object) -> None:
    assert check_params(one(**keys), {"x": value}) == {"x": checked}


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["range", "samples", "mode", "label", "other"]), junk))
def test_no_value_is_let_through_that_does_not_fit(params: dict[str, Any]) -> None:
    try:
        checked = check_params(VOLTAGE, params)
    except UsageError:
        return
    assert list(checked) == ["range", "samples", "mode", "label"]
    assert type(checked["range"]) is float
    assert 0 <= checked["range"] <= 1000
    assert type(checked["samples"]) is int
    assert checked["mode"] in {"DC", "AC"}
    assert checked["label"] is None or type(checked["label"]) is str


def test_a_verb_is_found_by_either_name_and_a_wrong_one_tells_the_nearest() -> None:
    assert find_verb(METER, "measure_voltage") is VOLTAGE
    with pytest.raises(NotFoundError, match=r"DMM1 has no verb 'MEASURE_VOLTS'; did you mean MEASURE_VOLTAGE\?"):
        find_verb(METER, "MEASURE_VOLTS", "DMM1")
    with pytest.raises(NotFoundError, match="it has: none"):
        find_verb(InstrumentApi(), "V")


# --- finding and making a driver


def test_a_driver_is_found_by_its_dotted_name() -> None:
    assert load_driver(f"{__name__}:Meter") is Meter or load_driver(f"{__name__}:Meter").__name__ == "Meter"


def test_a_driver_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints(
        [EntryPoint("multimeter", "labwire.instruments.drivers.simulated:Multimeter", "labwire.drivers")]
    )
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points.select(group=group))
    assert load_driver("multimeter").__name__ == "Multimeter"
    with pytest.raises(ConfigError, match="no driver 'multimetr' is installed; did you mean 'multimeter'"):
        load_driver("multimetr")
    with pytest.raises(ConfigError, match="installed are: multimeter"):
        load_driver("xyz")


def test_every_entry_point_of_labwire_names_a_driver() -> None:
    pyproject = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    points = pyproject["project"]["entry-points"]["labwire.drivers"]
    assert {"scpi", "keysight_34465a", "simulated_multimeter"} <= points.keys()
    for name, value in points.items():
        assert api_of(load_driver(value)).driver == value, name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nowhere.at.all:X", "there is no module 'nowhere' on the Python path"),
        ("labwire.instruments.driver:Nothing", "has no class 'Nothing'"),
        ("tests.instruments.server_drivers:Obediant", r"has no class 'Obediant'; did you mean 'Obedient'\?"),
        ("labwire.strict:Strict", "is not a driver"),
        ("labwire.strict:nearest", "is not a driver"),
        ("labwire.strict:", "has no class ''"),
        ("tests.instruments.broken_driver:X", "cannot be imported: ZeroDivisionError"),
        ("tests.instruments.server_drivers:PlainOptions", r"Config .* must be a subclass of labwire\.strict\.Strict"),
    ],
)
def test_what_cannot_be_loaded_is_told(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        load_driver(name)


def test_options_are_checked_before_the_driver_is_made() -> None:
    made = make_driver(Meter, {"offset_v": 1}, "DMM1")
    assert isinstance(made, Meter)
    assert made.measure_voltage(2.0) == 3.0
    with pytest.raises(ConfigError, match=r"'DMM1': ofset_v: unknown key; did you mean offset_v\? .*Meter: offset_v"):
        make_driver(Meter, {"ofset_v": 1}, "DMM1")
    with pytest.raises(ConfigError, match="offset_v: must be a number"):
        make_driver(Meter, {"offset_v": "1"}, "DMM1")


def test_the_base_of_drivers_is_light() -> None:
    code = "import sys, labwire.instruments.worker.process; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {
        "numpy",
        "pyvisa",
        "asyncio",
        "zmq",
        "rich",
        "cyclopts",
        "labwire.bus",
        "labwire.client",
        "email",
    } & set(loaded)
