"""Instruments in a real rig that die, hang, are stopped, started and restarted, and the end of the rig."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from labwire.client import Rig, connect
from labwire.errors import PeerGoneError, StateError
from labwire.operations.instruments import InstrumentStatus
from tests.actors.asking import next_of, ready, state_of
from tests.bus.fake_hub import LIMIT_S, wait_until
from tests.rig_fixture import RunningRig, running_rig

LIVES = """
name = "lives"

[instruments.SLOW]
driver = "labwire.instruments.drivers.simulated:Slow"
queue = "socket"
stop_timeout_s = 0.2

[instruments.CRASH]
driver = "labwire.instruments.drivers.simulated:Crasher"
queue = "socket"
restart_tries = 1
"""


@pytest.fixture
def lives(tmp_path: Path) -> Iterator[RunningRig]:
    with running_rig(tmp_path, LIVES) as running:
        yield running


@pytest.fixture
def rig(lives: RunningRig) -> Iterator[Rig]:
    with connect(port=lives.port, timeout_s=LIMIT_S) as rig:
        yield rig


def test_a_death_fails_its_commands_and_it_comes_back(rig: Rig) -> None:
    crash = ready(rig, "CRASH")
    with rig.subscribe("notify.instrument.", "logging.") as told:
        with pytest.raises(PeerGoneError, match=r"Worker died: CRASH: ended by SIGSEGV"):
            crash.crash(way="segfault")
        died = next_of(iter(told), subject="instrument.died")
        assert (died["instrument"], died["failed_calls"]) == ("CRASH", 1)
        assert "SIGSEGV" in died["why"]
        again = next_of(iter(told), subject="instrument.restarted")
        assert again["pid"] != died["pid"]
    assert crash.echo(value=2.0) == 2.0
    assert state_of(rig, "CRASH").restarts == 1
    assert state_of(rig, "SLOW").restarts == 0


def test_one_that_dies_again_and_again_is_given_up_visibly(lives: RunningRig, rig: Rig) -> None:
    ready(rig, "CRASH")
    with rig.subscribe("notify.instrument.") as told:
        for _ in range(2):
            with pytest.raises(PeerGoneError):
                ready(rig, "CRASH").crash(way="kill")
        assert next_of(iter(told), subject="instrument.given_up")["instrument"] == "CRASH"
    with pytest.raises(StateError, match="given_up"):
        rig.instrument("CRASH").echo()
    assert state_of(rig, "CRASH").state == "given_up"
    log = Path(lives.ready.log_file)
    wait_until(lambda: "instrument CRASH is given up" in log.read_text(), "the log")
    assert rig.instruments.start("CRASH").state == "ready"


def test_it_is_stopped_started_and_restarted(rig: Rig) -> None:
    ready(rig, "SLOW")
    with rig.subscribe("notify.instrument.") as told:
        assert rig.instruments.stop("SLOW").state == "stopped"
        assert next_of(iter(told), subject="instrument.stopped")["instrument"] == "SLOW"
        with pytest.raises(StateError, match="stopped"):
            rig.instrument("SLOW").echo()
        assert rig.instruments.start("SLOW").state == "ready"
        before = state_of(rig, "SLOW").pid
        assert rig.instrument("SLOW").restart().pid != before


def test_a_restart_frees_one_that_hangs(rig: Rig) -> None:
    slow = ready(rig, "SLOW")
    hanging = slow.submit("SLEEP", seconds=60, timeout_ms=60_000)
    wait_until(lambda: state_of(rig, "SLOW").waiting == 1, "the command")
    restarting = threading.Thread(target=rig.instruments.restart, args=("SLOW",))
    restarting.start()
    with pytest.raises((PeerGoneError, StateError)):
        hanging.result(LIMIT_S)
    restarting.join()
    assert ready(rig, "SLOW").echo(value=1.0) == 1.0


def test_an_instrument_whose_driver_does_not_exist_holds_up_nothing(tmp_path: Path) -> None:
    toml = LIVES + '\n[instruments.ODD]\ndriver = "nowhere:Driver"\nqueue = "socket"\n'
    with running_rig(tmp_path, toml) as running, connect(port=running.port, timeout_s=LIMIT_S) as rig:
        wait_until(lambda: state_of(rig, "ODD").state == "given_up", "ODD is given up")
        assert "no module 'nowhere'" in state_of(rig, "ODD").last_error
        assert ready(rig, "SLOW").echo(value=1.0) == 1.0


def test_a_name_that_another_rig_serves_is_left_to_it(tmp_path: Path) -> None:
    name = f"NAMED{os.getpid()}"
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    toml = f'{LIVES}\n[instruments.{name}]\ndriver = "labwire.instruments.drivers.simulated:Slow"\n'
    with (
        running_rig(first, toml) as one,
        connect(port=one.port, timeout_s=LIMIT_S) as here,
    ):
        assert ready(here, name).echo(value=1.0) == 1.0  # a rig is there before its instruments have their names
        the_second_rig_is_refused(second, toml, name, here)


def the_second_rig_is_refused(folder: Path, toml: str, name: str, here: Rig) -> None:
    with running_rig(folder, toml) as other, connect(port=other.port, timeout_s=LIMIT_S) as there:
        assert ready(there, "SLOW").echo(value=1.0) == 1.0, "the others run"
        status = state_of(there, name)
        assert status.state == "given_up"
        assert f"{name} is served already, by process" in status.last_error
        for use in (lambda: there.instrument(name).call("ECHO"), lambda: there.instruments.start(name)):
            with pytest.raises(StateError, match="served already"):
                use()
        here.actors.stop("instruments")
        wait_until(lambda: not Path(f"/proc/{rig_pid(status)}").exists(), "the first server's end")
        assert there.instruments.start(name).state == "ready"


def rig_pid(status: InstrumentStatus) -> str:
    """Return the process that an error names."""
    return status.last_error.partition("by process ")[2].partition(" ")[0]


def test_a_wrong_option_of_a_driver_is_named(tmp_path: Path) -> None:
    odd = 'queue = "socket"\ndriver = "labwire.instruments.drivers.simulated:Multimeter"\nvolts = 3\n'
    toml = f"{LIVES}\n[instruments.ODD]\n{odd}"
    with running_rig(tmp_path, toml) as running, connect(port=running.port, timeout_s=LIMIT_S) as rig:
        wait_until(lambda: state_of(rig, "ODD").state == "given_up", "ODD is given up")
        assert "volts" in state_of(rig, "ODD").last_error


def test_the_rig_ends_in_good_order_while_a_command_runs(lives: RunningRig, rig: Rig) -> None:
    hanging = ready(rig, "SLOW").submit("SLEEP", seconds=60, timeout_ms=60_000)
    wait_until(lambda: state_of(rig, "SLOW").waiting == 1, "the command")
    assert lives.stop() == 0
    with pytest.raises((PeerGoneError, StateError)):
        hanging.result(LIMIT_S)


def test_workers_do_not_outlive_a_server_that_is_killed(lives: RunningRig, rig: Rig) -> None:
    ready(rig, "CRASH")
    pids = {status.pid for status in rig.instruments.list()}
    actor = next(actor for actor in rig.actors.list() if actor.name == "instruments")
    assert actor.pid
    with rig.subscribe("notify.actor.") as told:
        os.kill(actor.pid, signal.SIGKILL)
        next_of(iter(told), subject="actor.died", actor="instruments")
        next_of(iter(told), subject="actor.started", actor="instruments")
    wait_until(lambda: not any(pid and Path(f"/proc/{pid}").exists() for pid in pids), "the end of the workers")
    assert ready(rig, "CRASH").echo(value=1.0) == 1.0
