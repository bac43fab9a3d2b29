"""The drivers over VISA, against pyvisa-sim; what goes wrong on the way, against a fake session."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("pyvisa", reason="no VISA: pip install 'labwire[visa]'")
pytest.importorskip("pyvisa_sim", reason="no simulated VISA: pip install 'labwire[demo]'")

import pyvisa
from pyvisa.constants import StatusCode

from labwire.errors import ConfigError, DeadlineError, DeviceError, MissingExtraError
from labwire.instruments.driver import Driver, api_of, make_driver
from labwire.instruments.drivers.dmm import Keysight34465A
from labwire.instruments.drivers.oscilloscope import KeysightOscilloscope
from labwire.instruments.drivers.visa import VisaDriver
from labwire.instruments.waveforms import open_waveform
from labwire.wire.instrument_extras import WaveformHandle
from tests.instruments.worker_kit import worker_process

DMM = {"resource": "TCPIP0::dmm.simulated::inst0::INSTR", "backend": "@sim", "timeout_s": 0.2}
SCOPE = {"resource": "TCPIP0::scope.simulated::inst0::INSTR", "backend": "@sim", "transfer": "ASCII"}
SCOPE_BINARY = {"resource": "TCPIP0::scope-binary.simulated::inst0::INSTR", "backend": "@sim", "transfer": "BYTE"}
SCOPES = pytest.mark.parametrize("options", [SCOPE, SCOPE_BINARY], ids=["text", "binary"])


def opened(driver: type[Driver], options: dict[str, Any]) -> Any:
    made = make_driver(driver, options, "X")
    made.open()
    return made


@pytest.fixture
def dmm() -> Iterator[Keysight34465A]:
    made = opened(Keysight34465A, DMM)
    yield made
    made.close()


@pytest.mark.parametrize(
    "resource", [DMM["resource"], "USB0::0x2A8D::0x0101::SIM0000001::INSTR", "GPIB0::22::INSTR", "ASRL1::INSTR"]
)
def test_a_multimeter_measures_over_every_kind_of_connection(resource: str) -> None:
    dmm = opened(Keysight34465A, {**DMM, "resource": resource})
    assert dmm.identify().startswith("Keysight Technologies,34465A,SIM")
    assert 3.141 <= dmm.measure_voltage(10.0) <= 3.142
    assert 3.1415 <= dmm.measure_voltage(10.0, 100, nplc=0.1) <= 3.1417
    dmm.close()


def test_all_that_it_can_measure(dmm: Keysight34465A) -> None:
    dmm.reset()
    assert dmm.measure_voltage(1.0, nplc=1) > 3
    assert dmm.measure_voltage(0.1, mode="AC") > 3
    assert dmm.measure_current(1e-3, 5) > 3
    assert dmm.measure_current(1.0, mode="AC") > 3
    assert dmm.measure_resistance(1e6) > 3
    assert dmm.measure_resistance(100.0, 2, four_wire=True) > 3
    assert dmm._query("CONF:RES?") == "+1.00000000E+06"
    assert dmm._query("VOLT:DC:NPLC?") == "+1.00000000E+00"


def test_settings_reach_the_meter(dmm: Keysight34465A) -> None:
    dmm.measure_voltage(100.0, 7, nplc=0.2)
    asked = {query: float(dmm._query(query)) for query in ("CONF:VOLT:DC?", "VOLT:DC:NPLC?", "SAMP:COUN?")}
    assert asked == {"CONF:VOLT:DC?": 100.0, "VOLT:DC:NPLC?": 0.2, "SAMP:COUN?": 7.0}


def test_what_the_meter_reports_is_an_error_once(dmm: Keysight34465A) -> None:
    dmm._write("NONSENSE")
    dmm._write("MORE NONSENSE")
    with pytest.raises(DeviceError, match=r'dmm.simulated.* reports: -113,"Undefined header"; -113,"Undefined header"'):
        dmm.measure_voltage()
    assert dmm.measure_voltage() > 3
    unchecked = opened(Keysight34465A, {**DMM, "check_errors": False})
    unchecked._write("NONSENSE")
    assert unchecked.measure_voltage() > 3
    unchecked._query("SYST:ERR?")
    unchecked.close()


def test_a_question_that_is_not_answered_ends_in_time_and_the_next_one_is_answered(dmm: Keysight34465A) -> None:
    with pytest.raises(DeadlineError, match=r"dmm.simulated.*: 'NONSENSE\?' was not answered within 0.2 s"):
        dmm._query("NONSENSE?")
    assert dmm.identify().startswith("Keysight")
    dmm._query("SYST:ERR?")


@SCOPES
def test_an_oscilloscope_reads_its_waveform(options: dict[str, Any]) -> None:
    scope = opened(KeysightOscilloscope, options)
    assert scope.identify().startswith("KEYSIGHT")
    scope.reset()
    scope.set_channel(2, 0.5, -0.1)
    scope.set_timebase(1e-3)
    scope.single()
    samples = scope.read_waveform(2, 500)
    assert (samples.dtype, samples.shape) == (np.float32, (500,))
    np.testing.assert_allclose(samples, np.sin(2 * np.pi * 5 * np.arange(500) / 500), atol=0.05)
    assert [len(block) for block in scope.acquire(1, 500, 3)] == [500, 500, 500]
    assert scope.measure(1, "FREQ") == 1000.0
    assert scope.measure(4) == float("inf")
    assert scope._query(":CHAN2:SCAL?") == "+5.00000000E-01"
    scope.close()


def test_sixteen_bits_are_read_with_their_preamble(monkeypatch: pytest.MonkeyPatch) -> None:
    scope = make_driver(KeysightOscilloscope, {"resource": "X", "check_errors": False}, "X")
    assert isinstance(scope, KeysightOscilloscope)
    asked: list[Any] = []
    monkeypatch.setattr(scope, "_session", type("Session", (), {"timeout": 1.0})())
    monkeypatch.setattr(scope, "_write", asked.append)
    monkeypatch.setattr(scope, "_query", lambda _: "1,0,3,1,1e-6,0,0,0.5,-1.0,32768")

    def block(command: str, kind: str, *, big_endian: bool) -> Any:
        asked.append((command, kind, big_endian))
        return np.array([32768, 32770, 0], np.uint16)

    monkeypatch.setattr(scope, "_query_block", block)
    assert scope.read_waveform(3, 1000).tolist() == [-1.0, 0.0, -16385.0]
    assert asked == [
        ":WAV:SOUR CHAN3",
        ":WAV:FORM WORD",
        ":WAV:UNS 1",
        ":WAV:BYT LSBF",
        ":WAV:POIN 1000",
        (":WAV:DATA?", "H", False),
    ]
    monkeypatch.setattr(scope, "_query", lambda _: "1,2,3")
    with pytest.raises(DeviceError, match="a preamble has 10 fields, this one: '1,2,3'"):
        scope.read_waveform()


def test_drivers_describe_themselves() -> None:
    for driver in (Keysight34465A, KeysightOscilloscope):
        api = api_of(driver)
        assert all(verb.doc for verb in api.verbs)
        assert all(one.doc for verb in api.verbs for one in verb.parameters)
    voltage = next(verb for verb in api_of(Keysight34465A).verbs if verb.name == "MEASURE_VOLTAGE")
    assert [one.name for one in voltage.parameters] == ["range", "samples", "nplc", "mode"]


# --- connections that fail


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        (
            {"resource": "TCPIP0::nobody::inst0::INSTR"},
            DeviceError,
            "cannot be opened by backend @sim: there is no such resource; there are",
        ),
        ({"resource": "nonsense"}, DeviceError, "nonsense cannot be opened"),
        ({"backend": "/nowhere/file.yaml@sim"}, ConfigError, "cannot be used"),
        ({"backend": "@nothing"}, ConfigError, "cannot be used"),
    ],
)
def test_what_cannot_be_opened_is_told(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        opened(VisaDriver, {**DMM, **options})


def test_a_backend_that_is_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise ValueError("Wrapper not found: No package named pyvisa_py")

    monkeypatch.setattr(pyvisa, "ResourceManager", missing)
    with pytest.raises(MissingExtraError, match=r"labwire\[visa\]"):
        opened(VisaDriver, {"resource": "GPIB0::1::INSTR"})


def test_serial_settings_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    passed: dict[str, Any] = {}

    class Manager:
        def __init__(self, _: str) -> None: ...

        def open_resource(self, name: str, **settings: Any) -> object:
            passed.update(settings, name=name)
            return object()

    monkeypatch.setattr(pyvisa, "ResourceManager", Manager)
    line = {"baud_rate": 115200, "parity": "even", "stop_bits": "1.5", "flow_control": "rts_cts", "data_bits": 7}
    opened(VisaDriver, {"resource": "ASRL/dev/ttyUSB0::INSTR", "serial": line, "read_termination": "\r\n"})
    assert (passed["baud_rate"], passed["data_bits"], passed["parity"].name) == (115200, 7, "even")
    assert (passed["stop_bits"].name, passed["flow_control"].name) == ("one_and_a_half", "rts_cts")
    assert (passed["read_termination"], passed["write_termination"], passed["timeout"]) == ("\r\n", "\n", 2000.0)


class Session:
    """A VISA session that fails as it is told."""

    def __init__(self) -> None:
        self.fail: Exception | None = None
        self.timeout = 1000.0
        self.cleared = self.closed = 0

    def query(self, command: str) -> str:
        if self.fail:
            raise self.fail
        return f"answer to {command}\n"

    def clear(self) -> None:
        self.cleared += 1

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize(
    ("failure", "error", "lost"),
    [
        (pyvisa.VisaIOError(StatusCode.error_timeout), DeadlineError, False),
        (pyvisa.VisaIOError(StatusCode.error_connection_lost), DeviceError, True),
        (ConnectionResetError("reset"), DeviceError, True),
        (EOFError("end"), DeviceError, True),
        (UnicodeDecodeError("ascii", b"\xff", 0, 1, "bad"), DeviceError, False),
        (ValueError("no header"), DeviceError, False),
    ],
)
def test_a_connection_that_is_lost_is_opened_again_by_the_next_command(
    failure: Exception, error: type[Exception], *, lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions: list[Session] = []

    def connect() -> Session:
        sessions.append(Session())
        return sessions[-1]

    driver = make_driver(VisaDriver, {"resource": "X"}, "X")
    assert isinstance(driver, VisaDriver)
    monkeypatch.setattr(driver, "_connect", connect)
    driver.open()
    sessions[0].fail = failure
    with pytest.raises(error, match="X: 'A"):
        driver._query("A?")
    assert (sessions[0].closed, sessions[0].cleared) == ((1, 0) if lost else (0, 1))
    sessions[0].fail = None
    assert driver._query("B?") == "answer to B?"
    assert len(sessions) == 1 + lost
    driver.close()
    driver.close()
    assert sessions[-1].closed == 1


def test_more_time_is_given_for_what_takes_long_and_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = make_driver(VisaDriver, {"resource": "X", "timeout_s": 3.0}, "X")
    assert isinstance(driver, VisaDriver)
    session = Session()
    monkeypatch.setattr(driver, "_connect", lambda: session)
    with driver._within(60.0):
        assert session.timeout == 60_000.0
        assert driver._query("A?")
    assert session.timeout == 3000.0


def test_an_error_queue_that_never_ends_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = make_driver(VisaDriver, {"resource": "X"}, "X")
    assert isinstance(driver, VisaDriver)
    monkeypatch.setattr(driver, "_query", lambda _: '-350,"Queue overflow"')
    with pytest.raises(DeviceError) as error:
        driver._check_errors()
    assert len(error.value.data["errors"]) == 20  # type: ignore[arg-type]


# --- in a worker's process


def test_a_multimeter_in_a_worker() -> None:
    with worker_process("labwire.instruments.drivers.dmm:Keysight34465A", options=DMM) as worker:
        response = worker.peer.call("MEASURE_VOLTAGE", {"range": 10.0, "samples": 100})
        assert 3.1 < response.return_value < 3.2
        assert not worker.peer.call("MEASURE_VOLTAGE", {"range": 5000.0}).success
        assert worker.end() == 0
        assert worker.log_lines() == []


def test_an_oscilloscope_in_a_worker() -> None:
    driver = "labwire.instruments.drivers.oscilloscope:KeysightOscilloscope"
    with worker_process(driver, options=SCOPE_BINARY, waveform_prefix="labwire_test_scope") as worker:
        response = worker.peer.call("READ_WAVEFORM", {"points": 500})
        array = open_waveform(msgspec.convert(response.waveform, WaveformHandle))
        assert (array.shape, array.dtype) == ((500,), np.float32)
        assert worker.end() == 0
