"""The generic SCPI driver: verbs from a rig file, against pyvisa-sim and against a fake session."""

from __future__ import annotations

import math
import tomllib
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.errors import ConfigError, DeviceError, UsageError
from labwire.instruments.api import check_params
from labwire.instruments.driver import Answer, api_of, make_driver
from labwire.instruments.drivers.scpi import PARSERS, ScpiDriver, parse_numbers
from labwire.operations.instrument_api import Parameter

RIG = """
resource = "TCPIP0::dmm.simulated::inst0::INSTR"
backend = "@sim"
timeout_s = 0.3
error_query = "SYST:ERR?"
open_send = ["*CLS"]
close_send = ["*RST"]

[verbs.IDENTIFY]
send = "*IDN?"
parse = "str"
doc = "Tell what it is."

[verbs.MEASURE_VOLTAGE]
doc = "Measure."
send = ["CONF:VOLT:DC {range:g}", "VOLT:DC:NPLC {nplc}", "READ?"]
parse = "float"
unit = "V"
timeout_s = 5.0

[verbs.MEASURE_VOLTAGE.params]
range = { unit = "V", minimum = 0.1, maximum = 1000, default = 10, doc = "Largest." }
nplc = { type = "float", choices = [0.02, 0.2, 1.0, 10.0], default = 1.0 }

[verbs.AUTOZERO]
send = "VOLT:DC:ZERO:AUTO {on}"
params.on = { type = "bool" }

[verbs.IS_AUTOZERO]
send = "VOLT:DC:ZERO:AUTO?"
parse = "bool"

[verbs.SAMPLES]
send = "SAMP:COUN?"
parse = "int"

[verbs.WRONG]
send = "NONSENSE"
"""


def made(text: str = RIG, **options: Any) -> ScpiDriver:
    driver = make_driver(ScpiDriver, {**tomllib.loads(text), **options}, "DMM1")
    assert isinstance(driver, ScpiDriver)
    return driver


def call(driver: ScpiDriver, name: str, **params: Any) -> Any:
    bound = driver.verbs()[name]
    return bound.function(**check_params(bound.verb, params, "DMM1"))


def test_verbs_of_a_rig_file_work_on_a_simulated_instrument() -> None:
    pytest.importorskip("pyvisa_sim", reason="no simulated VISA: pip install 'labwire[demo]'")
    driver = made()
    driver.open()
    assert call(driver, "IDENTIFY").value.startswith("Keysight")
    voltage = call(driver, "MEASURE_VOLTAGE", range=100)
    assert 3.1 < voltage.value < 3.2
    assert voltage.text.startswith("+3.14")
    assert driver._query("CONF:VOLT:DC?") == "+1.00000000E+02"
    assert driver._session.timeout == 300
    call(driver, "AUTOZERO", on=False)
    assert call(driver, "IS_AUTOZERO") == Answer(False, "0")
    assert call(driver, "SAMPLES").value >= 1
    with pytest.raises(DeviceError, match="Undefined header"):
        call(driver, "WRONG")
    driver.close()


def test_the_api_is_that_of_the_rig_file() -> None:
    api = api_of(made())
    verb = next(verb for verb in api.verbs if verb.name == "MEASURE_VOLTAGE")
    assert (verb.method, verb.doc, verb.returns, verb.unit) == ("measure_voltage", "Measure.", "float", "V")
    assert verb.parameters == [
        Parameter(
            name="range",
            type="float",
            doc="Largest.",
            unit="V",
            minimum=0.1,
            maximum=1000,
            required=False,
            default=10.0,
        ),
        Parameter(name="nplc", type="float", choices=[0.02, 0.2, 1.0, 10.0], required=False, default=1.0),
    ]
    assert [verb.name for verb in api.verbs if verb.parameters and verb.parameters[0].required] == ["AUTOZERO"]
    assert not any(verb.name in {"WRITE", "QUERY"} for verb in api.verbs)


class Session:
    def __init__(self, answer: str = "") -> None:
        self.answer, self.sent, self.timeout = answer, list[str](), 300.0

    def write(self, command: str) -> None:
        self.sent.append(command)

    def query(self, command: str) -> str:
        self.sent.append(command)
        return self.answer

    def query_binary_values(self, command: str, **keys: Any) -> Any:
        self.sent.append(command)
        assert keys["header_fmt"] == "ieee"
        return np.frombuffer(b"\x00\x01\x00\x02", ">u2" if keys["is_big_endian"] else "<u2")

    def close(self) -> None:
        self.sent.append("closed")


def faked(verbs: str, answer: str = "", **options: Any) -> tuple[ScpiDriver, Session]:
    driver = made(f'resource = "X"\n{verbs}', **options)
    driver._session = session = Session(answer)
    return driver, session


def parsed(parse: str, answer: str) -> Any:
    driver, _ = faked(f'[verbs.V]\nsend = "V?"\nparse = "{parse}"', answer)
    return call(driver, "V")


@pytest.mark.parametrize(
    ("parse", "answer", "value"),
    [
        ("str", " text \n", "text"),
        ("float", "+1.50000E+00\n", 1.5),
        ("int", "+7", 7),
        ("int", "1.0E+01", 10),
        ("bool", "on", True),
        ("bool", "0", False),
        ("list", "1,2.5 , +3E0", [1.0, 2.5, 3.0]),
        ("list", "", []),
        ("list", "#15 1,2 \n", [1.0, 2.0]),
    ],
)
def test_answers_are_read_and_their_text_is_kept(parse: str, answer: str, value: object) -> None:
    assert parsed(parse, answer) == Answer(value, answer.strip())


@pytest.mark.parametrize(("answer", "value"), [("9.9E+37", math.inf), ("-9.9E37", -math.inf), ("9.91E37", math.nan)])
def test_what_is_infinite_or_no_number_is_that(answer: str, value: float) -> None:
    found = parsed("float", answer)
    assert found == value or (math.isnan(found) and math.isnan(value))


@pytest.mark.parametrize(
    ("parse", "answer"), [("float", "OVLD"), ("float", ""), ("int", "1.5"), ("bool", "2"), ("list", "1,,2")]
)
def test_an_answer_of_another_kind_is_told_with_its_text(parse: str, answer: str) -> None:
    with pytest.raises(DeviceError, match=rf"X: 'V\?' was answered with '{answer}'"):
        parsed(parse, answer)


@given(st.text(max_size=20))
def test_no_answer_raises_anything_but_a_value_error(text: str) -> None:
    for parse in (*PARSERS.values(), parse_numbers):
        try:
            parse(text)
        except ValueError:
            pass


def test_waveforms_and_blocks_are_arrays_in_their_unit() -> None:
    text = '[verbs.V]\nsend = "V?"\nparse = "waveform"\nscale = 0.5\noffset = 1.0'
    assert call(faked(text, "#14 2,4")[0], "V").tolist() == [2.0, 3.0]
    block = '[verbs.V]\nsend = ["A", "V?"]\nparse = "block"\nelement = "H"\nbig_endian = true'
    driver, session = faked(block)
    assert call(driver, "V").tolist() == [1, 2]
    assert session.sent == ["A", "V?"]
    assert call(faked(block + "\nscale = 2.0\noffset = 1.0")[0], "V").tolist() == [3.0, 5.0]
    assert api_of(driver).verbs[0].returns == "waveform"


@pytest.mark.parametrize(
    ("kind", "template", "value", "sent"),
    [
        ("float", "V {x}", 1, "V 1.0"),
        ("float", "V {x:.3f}", 1, "V 1.000"),
        ("int", "V {x:02d}", 5, "V 05"),
        ("bool", "V {x}", True, "V 1"),
        ("str", 'V "{x}"', "a label", 'V "a label"'),
        ("list[float]", "V {x}", [1, 2.5], "V 1.0,2.5"),
        ("float", "V {x}, {x}", 2.0, "V 2.0, 2.0"),
        ("float", "V {{{x}}}", 2.0, "V {2.0}"),
    ],
)
def test_parameters_stand_in_the_command(kind: str, template: str, value: object, sent: str) -> None:
    driver, session = faked(f"[verbs.V]\nsend = '{template}'\nparams.x = {{ type = \"{kind}\" }}")
    call(driver, "V", x=value)
    assert session.sent == [sent]


@pytest.mark.parametrize("value", ["a;*RST", "a\n*RST", "a\r", "\0", "\x1b"])
def test_text_cannot_bring_commands_of_its_own(value: str) -> None:
    driver, session = faked("[verbs.V]\nsend = 'V {x}'\nparams.x = { type = \"str\" }")
    with pytest.raises(UsageError, match="must not contain ';' or control characters"):
        call(driver, "V", x=value)
    assert session.sent == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[verbs.v]\nsend = 'V'", "capital letters"),
        ("[verbs.'@noop']\nsend = 'V'", "capital letters"),
        ("[verbs.'A B']\nsend = 'V'", "capital letters"),
        ("[verbs.V]\nsend = []", "at least one command"),
        ("[verbs.V]\nsend = 'V {x}'", "uses {x}, which is not in verbs.V.params"),
        ("[verbs.V]\nsend = 'V {}'", "uses {}, which is not in"),
        ("[verbs.V]\nsend = 'V {x.real}'\nparams.x = {}", "uses {x.real}, which is not in"),
        ("[verbs.V]\nsend = 'V {x'\nparams.x = {}", "is no template"),
        ("[verbs.V]\nsend = 'V {x:d}'\nparams.x = {}", "its format does not fit"),
        ("[verbs.V]\nsend = 'V {x:{y}}'\nparams.x = {}", "its format does not fit"),
        ("[verbs.V]\nsend = 'V'\nparams.x = {}", "parameter x is not used"),
        ("[verbs.V]\nsend = 'V {x}'\nparams.x = { default = 'a' }", "the default does not fit: V: parameter 'x' must"),
        ("[verbs.V]\nsend = 'V {x}'\nparams.x = { maximum = 1, default = 2 }", "the default does not fit"),
        ("[verbs.V]\nsend = 'V'\nparse = 'flot'", 'parse: must be one of .* did you mean "float"'),
        ("[verbs.V]\nsnd = 'V'", "snd: unknown key; did you mean send"),
    ],
)
def test_what_is_wrong_in_the_rig_file_is_told_before_anything_is_opened(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        made(f'resource = "X"\n{text}')


def test_raw_verbs_are_there_if_asked_for() -> None:
    driver, session = faked("", "answer\n", raw=True)
    assert call(driver, "QUERY", command="*IDN?") == "answer"
    assert call(driver, "WRITE", command="*RST") is None
    assert session.sent == ["*IDN?", "*RST"]


def test_a_safe_state_is_sent_before_disconnecting() -> None:
    driver, session = faked("", close_send=["OUTP OFF", "*CLS"])
    driver.close()
    driver.close()
    assert session.sent == ["OUTP OFF", "*CLS", "closed"]
    assert msgspec.structs.asdict(driver.options)["close_send"] == ["OUTP OFF", "*CLS"]
