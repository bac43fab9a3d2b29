"""Instruments in a real rig: commands from Python, what the bus hears, acquisitions, sessions."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import pytest

from labwire.client import Rig, connect
from labwire.errors import CancelledError, CommandFailedError, DeadlineError, NotFoundError, StateError, UsageError
from labwire.instruments.drivers.simulated import Multimeter
from labwire.operations.instruments import CommandRequest
from tests.actors.asking import next_of, ready, state_of
from tests.bus.fake_hub import LIMIT_S, wait_until
from tests.rig_fixture import RunningRig, running_rig

LAZY = f"LAZY{os.getpid()}"  # its queues have names that other runs of the tests must not have
BENCH = f"""
name = "bench"

[instruments.DMM1]
driver = "labwire.instruments.drivers.simulated:Multimeter"
queue = "socket"
voltage_v = 2.5
drift_v = 0.0

[instruments.SCOPE1]
driver = "labwire.instruments.drivers.simulated:Oscilloscope"
queue = "socket"

[instruments.SLOW]
driver = "labwire.instruments.drivers.simulated:Slow"
queue = "socket"

[instruments.CRASH]
driver = "labwire.instruments.drivers.simulated:Crasher"
queue = "socket"

[instruments.{LAZY}]
external = true

[recorder]
disk_warn_bytes = 0
disk_stop_bytes = 0
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRig]:
    with running_rig(tmp_path_factory.mktemp("bench"), BENCH) as running:
        with connect(port=running.port, timeout_s=LIMIT_S) as rig:
            for name in ("DMM1", "SCOPE1", "SLOW", "CRASH"):
                ready(rig, name)  # a worker that starts in the middle of a test would look like a leak
        yield running


@pytest.fixture
def rig(bench: RunningRig) -> Iterator[Rig]:
    with connect(port=bench.port, timeout_s=LIMIT_S) as rig:
        yield rig


# --- commands


def test_verbs_are_methods(rig: Rig) -> None:
    dmm = rig.instrument("DMM1")
    assert dmm.measure_voltage(range=10.0, samples=100) == pytest.approx(2.5, abs=0.01)
    assert dmm.measure_voltage(10.0) == pytest.approx(2.5, abs=0.01)
    assert "measure_voltage" in dir(dmm)
    assert "Largest voltage expected" in (dmm.measure_voltage.__doc__ or "")
    assert [verb.name for verb in dmm.api.verbs] == ["IDENTIFY", "MEASURE_VOLTAGE"]
    assert rig.instruments["DMM1"].call("MEASURE_VOLTAGE", {"range": 10}) == pytest.approx(2.5, abs=0.01)


def test_a_driver_as_type(rig: Rig) -> None:
    value: float = rig.instrument("DMM1", Multimeter).measure_voltage(range=10.0)
    assert value == pytest.approx(2.5, abs=0.01)


def test_a_waveform_is_an_array(rig: Rig) -> None:
    wave = rig.instrument("SCOPE1").read_waveform(points=250_000)
    assert (wave.dtype, wave.shape) == (np.float32, (250_000,))
    assert 0.9 < wave.max() < 1.3


def test_what_is_wrong_is_told(rig: Rig) -> None:
    dmm = ready(rig, "DMM1")
    with pytest.raises(AttributeError, match=r"no measure_voltag; did you mean measure_voltage\?"):
        dmm.measure_voltag()
    with pytest.raises(NotFoundError, match="'MESURE'"):
        dmm.call("MESURE")
    with pytest.raises(UsageError, match="'range'"):
        dmm.measure_voltage(range=1e9)
    with pytest.raises(CommandFailedError, match="overload") as caught:
        dmm.measure_voltage(range=0.1)
    assert str(caught.value.data["command_id"]).startswith("DMM1-")
    with pytest.raises(NotFoundError, match="'NOBODY'"):
        rig.instrument("NOBODY").call("READ")
    with pytest.raises(NotFoundError, match="'NOBODY'"):
        _ = rig.instrument("NOBODY").status
    with pytest.raises(StateError, match="waits for its worker"):
        rig.instrument(LAZY).call("READ")


def test_many_callers_at_the_same_time(rig: Rig) -> None:
    slow = ready(rig, "SLOW")
    with ThreadPoolExecutor(8) as callers:
        waiting = callers.submit(slow.sleep, seconds=2.0)
        wait_until(lambda: state_of(rig, "SLOW").waiting == 1, "the slow one")
        echoes = [callers.submit(rig.instrument("DMM1").identify) for _ in range(50)]
        overtook = [not waiting.done() for _ in as_completed(echoes, LIMIT_S)]
        assert any(overtook), "others do not wait for the slow one, whatever else the machine does"
        assert {echo.result(LIMIT_S) for echo in echoes} == {"labwire,Simulated multimeter,0,1"}
        assert waiting.result(LIMIT_S) >= 2.0


def test_futures_and_a_whole_list(rig: Rig) -> None:
    dmm = rig.instrument("DMM1")
    futures = [dmm.submit("MEASURE_VOLTAGE", range=10.0) for _ in range(40)]
    assert all(future.result(LIMIT_S) == pytest.approx(2.5, abs=0.01) for future in futures)
    values = list(dmm.map("MEASURE_VOLTAGE", [{"range": 10.0}] * 500))
    assert len(values) == 500
    with pytest.raises(CommandFailedError, match="overload"):
        list(dmm.map("MEASURE_VOLTAGE", [{"range": 10.0}, {"range": 0.1}]))


def test_a_list_for_several_instruments(rig: Rig) -> None:
    ready(rig, "SCOPE1")
    commands = [
        CommandRequest(name="DMM1", verb="IDENTIFY"),
        CommandRequest(name="SCOPE1", verb="READ_WAVEFORM", params={"points": 10}),
        CommandRequest(name="DMM1", verb="MEASURE_VOLTAGE", params={"range": 0.1}),
        CommandRequest(name="DMM1", verb="IDENTIFY"),
    ]
    results = rig.instruments.run(commands).result(LIMIT_S)
    assert [(result.instrument, result.error_type) for result in results] == [
        ("DMM1", ""),
        ("SCOPE1", ""),
        ("DMM1", "CommandFailedError"),
    ]
    assert results[1].result.shape == (10,)
    every = rig.instruments.run(commands, stop_on_error=False).result(LIMIT_S)
    assert [bool(result.error) for result in every] == [False, False, True, False]


def test_a_timeout_marks_it_stuck_until_it_answers(rig: Rig) -> None:
    slow = ready(rig, "SLOW")
    with rig.subscribe("notify.instrument.") as told:
        with pytest.raises(DeadlineError, match="50 ms"):
            slow.sleep(seconds=1.5, timeout_ms=50)
        assert next_of(iter(told), instrument="SLOW")["subject"] == "instrument.stuck"
        assert next_of(iter(told), instrument="SLOW")["subject"] == "instrument.unstuck"
    assert state_of(rig, "SLOW").timed_out >= 1


def test_ping_and_barrier(rig: Rig) -> None:
    assert 0 < rig.instrument("DMM1").ping() < LIMIT_S
    done = rig.instruments.barrier(["DMM1", "SCOPE1"])
    assert done.names == ["DMM1", "SCOPE1"]
    assert abs(done.timestamp - rig.now()) < LIMIT_S


# --- the bus


def test_each_command_is_on_the_bus(rig: Rig) -> None:
    with rig.subscribe("instrument.") as bus:
        sent = ready(rig, "DMM1").execute("MEASURE_VOLTAGE", range=10.0)
        heard = next_of(iter(bus), command_id=sent.command_id)
        assert heard["topic"] == "instrument.DMM1.result"
        assert (heard["verb"], heard["params"]) == ("MEASURE_VOLTAGE", {"range": 10.0, "samples": 1})
        assert (heard["success"], heard["value"]) == (True, sent.value)
        assert heard["timestamp"] == sent.timestamp
        assert abs(heard["timestamp"] - rig.now()) < LIMIT_S
        with pytest.raises(CommandFailedError):
            rig.instrument("DMM1").call("MEASURE_VOLTAGE", range=0.1)
        failed = next_of(iter(bus), success=False)
        assert "overload" in failed["error"]
        assert failed["error_type"] == "CommandFailedError"


def test_a_waveform_on_the_bus_is_a_raw_part(rig: Rig) -> None:
    with rig.subscribe("instrument.SCOPE1.result") as bus:
        sent = ready(rig, "SCOPE1").execute("READ_WAVEFORM", points=1000)
        message = bus.recv(LIMIT_S)
        assert message.payload["command_id"] == sent.command_id
        heard = np.frombuffer(message.raw[0], message.payload["dtype"]).reshape(message.payload["shape"])
        assert (heard == sent.result).all()
        assert "value" not in message.payload


def test_the_state_is_on_the_bus(rig: Rig) -> None:
    with rig.subscribe("instrument.DMM1.state") as bus:
        state = bus.recv(LIMIT_S).payload
    assert (state["name"], state["state"], state["dropped"]) == ("DMM1", "ready", 0)
    assert {"ok", "failed", "timed_out", "restarts", "pid", "timestamp", "seq"} <= state.keys()
    assert state["heartbeat_age_s"] >= 0


def test_what_a_driver_logs_is_on_the_bus(rig: Rig) -> None:
    with rig.subscribe("logging.error") as log:
        with pytest.raises(CommandFailedError, match="raised on demand"):
            ready(rig, "CRASH").crash(way="error")
        record = next_of(iter(log), name="CRASH")
        assert "ValueError" in record["exc_text"]


# --- continuous acquisition


def test_blocks_come_to_the_caller_and_onto_the_bus(rig: Rig) -> None:
    ready(rig, "SCOPE1")
    with rig.subscribe("instrument.SCOPE1.block") as bus:
        with rig.instrument("SCOPE1").blocks("ACQUIRE", points=100, blocks=40, real_time=False) as blocks:
            taken = list(blocks)
        heard = [bus.recv(LIMIT_S) for _ in range(40)]
    assert [block.number for block in taken] == list(range(40))
    assert [message.payload["block"] for message in heard] == list(range(40))
    assert len({block.command_id for block in taken}) == 1
    assert all((np.frombuffer(m.raw[0], "<f4") == b.result).all() for m, b in zip(heard, taken, strict=True))


def test_a_caller_that_takes_nothing_holds_the_instrument_up(rig: Rig) -> None:
    ready(rig, "SCOPE1")
    with rig.subscribe("instrument.SCOPE1.block") as bus:
        with rig.instrument("SCOPE1").blocks("ACQUIRE", points=10, real_time=False, window=4) as blocks:
            first = next(blocks)
            assert state_of(rig, "SCOPE1").acquisitions == 1
            for _ in range(20):
                next(blocks)
            made = 0
            with pytest.raises(DeadlineError):
                while True:
                    made = bus.recv(0.5).payload["block"] + 1
            assert made <= 21 + 4 + 1, "at most the window, and the one that waits to be sent"
        assert first.number == 0
    wait_until(lambda: state_of(rig, "SCOPE1").acquisitions == 0, "the end")
    assert rig.instrument("SCOPE1").read_waveform(points=3).shape == (3,)


def test_an_acquisition_only_for_the_bus_runs_until_it_is_cancelled(rig: Rig) -> None:
    ready(rig, "SCOPE1")
    with rig.subscribe("instrument.SCOPE1.block") as bus:
        job = rig.instruments.acquire("SCOPE1", "ACQUIRE", {"points": 10, "interval_s": 1e-4}, window=0)
        for number in range(10):
            assert bus.recv(LIMIT_S).payload["block"] == number
        rig.instruments.cancel("SCOPE1")
        with pytest.raises(CancelledError):
            job.result(LIMIT_S)


@pytest.mark.parametrize("window", [0, 1000])
def test_an_acquisition_ends_with_the_connection_of_its_caller(bench: RunningRig, rig: Rig, window: int) -> None:
    ready(rig, "SCOPE1")
    with connect(port=bench.port, timeout_s=LIMIT_S) as caller:
        caller.instruments.acquire("SCOPE1", "ACQUIRE", {"points": 10}, window=window)
        wait_until(lambda: state_of(rig, "SCOPE1").acquisitions == 1, "it runs")
    wait_until(lambda: state_of(rig, "SCOPE1").acquisitions == 0, "its end")


def test_an_acquisition_that_makes_no_sense_is_refused(rig: Rig) -> None:
    with pytest.raises(UsageError, match="not continuous"):
        list(ready(rig, "DMM1").blocks("IDENTIFY"))
    with pytest.raises(UsageError, match="window"):
        rig.instrument("SCOPE1").blocks("ACQUIRE", window=0)
    with pytest.raises(NotFoundError, match="NOBODY"):
        rig.instrument("NOBODY").blocks("ACQUIRE")
        list(rig.instrument("NOBODY").blocks("ACQUIRE"))


# --- sessions


def test_a_session_has_each_command_with_its_id(rig: Rig) -> None:
    ready(rig, "SCOPE1")
    started = rig.record.start("bench")
    assert "instruments" in started.started
    with rig.subscribe("instrument.") as bus:
        plain = rig.instrument("DMM1").execute("MEASURE_VOLTAGE", range=10.0)
        wave = rig.instrument("SCOPE1").execute("READ_WAVEFORM", points=50)
        with pytest.raises(CommandFailedError):
            rig.instrument("DMM1").measure_voltage(range=0.1)
        on_bus: list[str] = []
        while len(on_bus) < 3:
            message = bus.recv(LIMIT_S)
            if message.topic.endswith(".result"):  # each also tells its state
                on_bus.append(message.payload["command_id"])
    stopped = rig.record.stop()
    assert (stopped.counters["instruments"].written, stopped.counters["instruments"].dropped) == (3, 0)
    folder = Path(started.rec_path)
    rows = [json.loads(line) for line in (folder / "instruments.jsonl").read_text().splitlines()]
    assert [row["command_id"] for row in rows] == on_bus
    assert rows[0]["value"] == plain.value
    array = rows[1]["array"]
    found = np.fromfile(folder / "instruments.arrays", array["dtype"], 50, offset=array["offset"])
    assert (found == wave.result).all()
    assert (rows[2]["success"], "overload" in rows[2]["error"]) == (False, True)
    assert "instruments" in json.loads((folder / "session.json").read_text())["streams"]
