"""The drivers of the examples, in workers."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from labwire.instruments.drivers.visa import SIMULATION
from labwire.wire.instrument_extras import CANCEL, CREDIT
from tests.instruments.worker_kit import NAME, worker_process
from tests.rig_fixture import running_rig

DRIVERS = Path(__file__).parents[2] / "examples" / "drivers"
ID = os.getpid()
RIG = tomllib.loads((DRIVERS / "rig.toml").read_text())["instruments"]


def test_the_heater() -> None:
    keys = dict(RIG["HEATER"])
    with worker_process(keys.pop("driver"), options=keys, python_path=[str(DRIVERS)], log_level="INFO") as worker:
        peer = worker.peer
        assert peer.call("READ_TEMPERATURE").return_value == 22.5
        assert peer.call("SET_POWER", {"power": 5, "ramp": "slow"}).success
        refused = peer.call("SET_POWER", {"power": 51})
        assert refused.error_message == f"{NAME} SET_POWER: parameter 'power' must be from 0 to 50 W, not 51 W"
        number = peer.command("WATCH", {"interval": 0.01})
        peer.control(CREDIT, id=f"{NAME}-{number}", blocks=3)
        assert [peer.response().block for _ in range(3)] == [0, 1, 2]
        peer.control(CANCEL, id=f"{NAME}-{number}")
        assert peer.response().success
        assert worker.end() == 0
        assert [line["text"] for line in worker.log_lines()] == ["5 W, slow"]


def test_the_multimeter_of_the_rig_file() -> None:
    pytest.importorskip("pyvisa_sim", reason="no simulated VISA: pip install 'labwire[demo]'")
    keys = dict(RIG["DMM1"])
    with worker_process(keys.pop("driver"), options=keys) as worker:
        assert 3.1 < worker.peer.call("MEASURE_VOLTAGE", {"range": 1.0}).return_value < 3.2
        assert worker.end() == 0


def test_a_driver_of_pymeasure() -> None:
    pytest.importorskip("pymeasure", reason="a driver of PyMeasure in a worker is not tested: pip install pymeasure")
    options = {"resource": "TCPIP0::dmm.simulated::inst0::INSTR", "backend": f"{SIMULATION}@sim"}
    driver = "pymeasure_multimeter:PyMeasureMultimeter"
    with worker_process(driver, options=options, python_path=[str(DRIVERS)]) as worker:
        assert worker.peer.call("IDENTIFY").return_value.startswith("Keysight")
        assert 3.1 < worker.peer.call("MEASURE").return_value < 3.2
        assert 3.1 < worker.peer.call("MEASURE", {"what": "resistance"}).return_value < 3.2
        assert worker.end() == 0


def test_the_rig(tmp_path: Path) -> None:
    pytest.importorskip("pyvisa_sim", reason="no simulated VISA: pip install 'labwire[demo]'")
    (tmp_path / "heater.py").write_text((DRIVERS / "heater.py").read_text())
    with running_rig(tmp_path, _named_otherwise((DRIVERS / "rig.toml").read_text())) as rig:
        assert rig.labwire("call", f"HEATER{ID}", "SET_POWER", "power=5").returncode == 0
        measured = rig.labwire("call", f"DMM{ID}", "MEASURE_VOLTAGE", "range=1")
        assert measured.stdout.startswith("3.14"), measured.stderr
        assert measured.stdout.endswith(" V\n")


def _named_otherwise(text: str) -> str:
    """Names of instruments are the whole machine's, where somebody may be trying the same example."""
    return text.replace("DMM1", f"DMM{ID}").replace("HEATER", f"HEATER{ID}")
