"""The supervisor with real processes, whose program is a few lines that a test writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labwire.bus.actor_runner import ActorSpec, Wiring
from labwire.bus.loop import Loop
from labwire.errors import ConfigError, MissingExtraError, NotFoundError, codes_of
from labwire.rig import supervisor as supervisor_module
from labwire.rig.supervisor import Child, State, Supervisor
from tests.bus.fake_hub import LIMIT_S

WIRING = Wiring("tcp://r", "tcp://p", "tcp://s", "tcp://q", "tcp://x")
OBEDIENT = "for line in sys.stdin: line.strip() == 'stop' and sys.exit(0)"
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN); say('deaf')\nwhile True: time.sleep(60)"
STUBBORN = "say('stubborn')\nwhile True: time.sleep(60)"


class Rig:
    """A supervisor on the test's own loop, and what it reported."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.monkeypatch = monkeypatch
        self.died: list[tuple[str, str]] = []
        self.at_death: Callable[[Child], object] = lambda child: None
        self.stopped: list[str] = []
        self.lines: list[str] = []
        self.faults: list[BaseException] = []
        self.loop = Loop(self.faults.append)
        self.supervisor = Supervisor(
            self.loop,
            on_died=self._note_death,
            on_stopped=lambda child: self.stopped.append(child.name),
            on_stderr=lambda name, line: self.lines.append(line),
        )

    def _note_death(self, child: Child, why: str) -> None:
        self.died.append((child.name, why))
        self.at_death(child)

    def start(self, program: str, name: str = "worker", **more: Any) -> Child:
        """Start an actor whose process reads its order and then runs this program."""
        path = self.folder / f"{name}.py"
        path.write_text(
            "import json, os, signal, sys, time\n"
            "def say(text): print(text, file=sys.stderr, flush=True)\n"
            "spec = json.loads(sys.stdin.readline())\n" + program
        )
        self.monkeypatch.setattr(supervisor_module, "_COMMAND", (sys.executable, str(path)))
        child = self.supervisor.add(ActorSpec(name, "m:C", WIRING, **more))
        child.back_off_s = supervisor_module.FIRST_BACK_OFF_S
        self.supervisor.start(child)
        return child

    def until(self, condition: Callable[[], object]) -> None:
        """Turn the loop until the condition comes true."""
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < deadline, f"in vain: {self.died=} {self.stopped=} {self.lines=}"
            self.loop.run_once(0.1)


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setattr(supervisor_module, "FIRST_BACK_OFF_S", 0.02)
    monkeypatch.setattr(supervisor_module, "LONGEST_BACK_OFF_S", 0.1)
    made = Rig(tmp_path, monkeypatch)
    yield made
    made.supervisor.end_all()
    made.loop.close()
    assert made.faults == []


def pid_of(child: Child) -> int:
    assert child.process
    return child.process.pid


def test_it_starts_and_stops(rig: Rig) -> None:
    child = rig.start("say(json.dumps(spec))\n" + OBEDIENT, config={"a": 1}, rig_name="r")
    assert child.status().state == "starting"
    rig.until(lambda: rig.lines)
    order = json.loads(rig.lines[0])
    assert (order["name"], order["config"], order["rig_name"], order["incarnation"]) == ("worker", {"a": 1}, "r", 0)
    rig.supervisor.is_ready("worker", ["lamp"])
    rig.supervisor.is_ready("nobody", [])
    assert (child.status().state, child.status().services, child.status().pid) == ("running", ["lamp"], pid_of(child))
    rig.supervisor.stop(child)
    assert child.status().state == "stopping"
    rig.until(lambda: rig.stopped == ["worker"])
    assert (child.status().state, child.status().pid, child.status().restarts) == ("stopped", None, 0)
    assert rig.died == []
    rig.supervisor.stop(child)
    assert rig.stopped == ["worker"]


def test_death_is_noticed_and_it_starts_again(rig: Rig) -> None:
    child = rig.start("say(f'incarnation {spec[\"incarnation\"]}')\n" + OBEDIENT)
    rig.until(lambda: rig.lines)
    rig.supervisor.is_ready("worker", [])
    first, states = pid_of(child), list[str]()
    rig.at_death = lambda child: states.append(child.status().state)  # later it may have been started again already
    os.kill(first, signal.SIGKILL)
    rig.until(lambda: rig.died)
    assert rig.died == [("worker", "ended by SIGKILL; starts again in 0.02 s")]
    assert child.status().last_error == "ended by SIGKILL", "not what it had written before"
    assert states == ["backing_off"]
    rig.until(lambda: child.alive)
    rig.until(lambda: len(rig.lines) == 2)
    assert rig.lines == ["incarnation 0", "incarnation 1"]
    assert pid_of(child) != first
    assert child.status().restarts == 1


def test_back_off_grows_to_its_bound_and_ends_with_a_restart(rig: Rig) -> None:
    child = rig.start("sys.exit(5)")
    rig.until(lambda: len(rig.died) == 5)
    assert [why.rpartition("in ")[2] for _, why in rig.died] == ["0.02 s", "0.04 s", "0.08 s", "0.1 s", "0.1 s"]
    rig.supervisor.restart(child)
    assert child.back_off_s == supervisor_module.FIRST_BACK_OFF_S


def test_who_has_proven_itself_starts_again_at_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    child = rig.start(OBEDIENT)
    child.back_off_s = 60.0
    child.started_s -= supervisor_module.PROVEN_S + 1
    os.kill(pid_of(child), signal.SIGKILL)
    rig.until(lambda: child.restarts == 1)


@pytest.mark.parametrize("error", [ConfigError, MissingExtraError])
def test_what_cannot_run_is_not_started_again(rig: Rig, error: type[ConfigError]) -> None:
    child = rig.start(f"say('some noise'); say('worker: no such option'); sys.exit({codes_of(error).exit_code})")
    rig.until(lambda: rig.died)
    assert rig.died == [("worker", "cannot run: worker: no such option")]
    assert (child.status().state, child.status().last_error) == ("stopped", "worker: no such option")
    rig.loop.run_once(0.1)
    assert not child.alive
    rig.supervisor.restart(child)
    assert child.status().last_error == ""
    rig.until(lambda: len(rig.died) == 2)


def test_an_error_is_what_it_last_wrote(rig: Rig) -> None:
    child = rig.start("say('first'); sys.stderr.write('the reason'); sys.exit(70)")
    rig.until(lambda: rig.died)
    assert child.status().last_error == "the reason"
    assert "exit code 70" in rig.died[0][1]


def test_who_leaves_by_itself_is_not_started_again(rig: Rig) -> None:
    child = rig.start("sys.exit(0)")
    rig.until(lambda: rig.stopped)
    assert (child.status().state, rig.died) == ("stopped", [])


@pytest.mark.parametrize(("program", "number"), [(STUBBORN, signal.SIGTERM), (DEAF, signal.SIGKILL)])
def test_who_does_not_stop_is_ended(rig: Rig, monkeypatch: pytest.MonkeyPatch, program: str, number: int) -> None:
    monkeypatch.setattr(supervisor_module, "STOP_LIMIT_S", 0.1)
    monkeypatch.setattr(supervisor_module, "TERMINATE_LIMIT_S", 0.1)
    child = rig.start(program)
    rig.until(lambda: rig.lines)
    process = child.process
    assert process
    rig.supervisor.stop(child)
    rig.until(lambda: rig.stopped)
    assert process.returncode == -number


def test_asking_again_does_not_put_off_the_deadline(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "STOP_LIMIT_S", 0.1)
    monkeypatch.setattr(supervisor_module, "TERMINATE_LIMIT_S", 0.1)
    child = rig.start(DEAF)
    rig.until(lambda: rig.lines)
    first = pid_of(child)
    rig.supervisor.stop(child)
    rig.supervisor.restart(child)
    assert child.status().state == "stopping"
    rig.until(lambda: child.process is not None and child.process.pid != first)
    assert rig.stopped == rig.died == [], "it is a restart"
    assert child.status().restarts == 0, "that counts deaths"


def test_stop_ends_the_waiting_for_a_restart(rig: Rig) -> None:
    child = rig.start("sys.exit(5)")
    rig.at_death = rig.supervisor.stop
    rig.until(lambda: rig.died)
    assert child.state is State.STOPPED
    rig.loop.run_once(0.2)
    rig.loop.run_once(0.2)
    assert len(rig.died) == 1
    rig.supervisor.restart(child)
    rig.until(lambda: len(rig.died) == 2)


def test_a_flood_on_standard_error_is_cut_and_costs_no_line_of_others(rig: Rig) -> None:
    rig.start("sys.stderr.write('x\\n' * 100_000); sys.exit(5)", "noisy")
    rig.until(lambda: rig.died)
    assert len(rig.lines) < 2000
    assert any("more lines left out" in line for line in rig.lines)


def test_a_system_that_gives_no_process_counts_as_a_death(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.Popen

    def refuse(*_: Any, **__: Any) -> Any:
        monkeypatch.setattr(subprocess, "Popen", real)
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    child = rig.start("say('here')\n" + OBEDIENT)
    assert "could not be started" in rig.died[0][1]
    assert child.status().state == "backing_off"
    rig.until(lambda: rig.lines == ["here"])


def test_all_are_ended_by_force(rig: Rig) -> None:
    children = [rig.start(DEAF, f"worker{n}") for n in range(3)]
    rig.until(lambda: len(rig.lines) == 3)
    pids = [pid_of(child) for child in children]
    rig.supervisor.end_all()
    assert not any(child.alive for child in children)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert rig.died == [], "that was asked for"


def test_descriptors_are_passed_on_only_if_the_spec_says_so(rig: Rig) -> None:
    read, write = os.pipe()
    program = (
        "for fd in spec['config']['fds']:\n"
        "    try: os.fstat(fd); say(f'{fd} open')\n"
        "    except OSError: say(f'{fd} closed')\n"
    )
    rig.start(program, config={"fds": [read, write]}, inherited_fds=[write])
    rig.until(lambda: len(rig.lines) == 2)
    assert rig.lines == [f"{read} closed", f"{write} open"]
    os.close(read)
    os.close(write)


def test_nobody_is_found_by_a_wrong_name(rig: Rig) -> None:
    child = rig.start(OBEDIENT)
    assert rig.supervisor.find("worker") is child
    with pytest.raises(NotFoundError, match=r"'nope'.*worker"):
        rig.supervisor.find("nope")


def test_silence_and_the_end_of_it_are_told_once(rig: Rig) -> None:
    child = rig.start(OBEDIENT)
    heard = rig.supervisor.heard
    assert not heard(child, silent=True), "it has not begun to speak"
    rig.supervisor.is_ready("worker", [])
    assert [heard(child, silent=silent) for silent in (False, True, True)] == [False, True, False]
    assert child.status().state == "silent"
    assert [heard(child, silent=silent) for silent in (False, False)] == [True, False]
    assert child.status().state == "running"
    rig.supervisor.stop(child)
    assert not heard(child, silent=True), "it has been asked to end"


def test_who_waits_for_its_turn_is_starting_and_who_cannot_run_has_failed(rig: Rig) -> None:
    waiting = rig.supervisor.add(ActorSpec("waiting", "m:C", WIRING))
    waiting.state = State.STARTING
    child = rig.start(f"print('no', file=sys.stderr); sys.exit({codes_of(ConfigError).exit_code})")
    assert rig.supervisor.starting() == ["waiting", "worker"]
    rig.until(lambda: child.failed)
    assert rig.supervisor.starting() == ["waiting"]
    child.state = State.STARTING
    assert rig.supervisor.starting() == ["waiting"], "one that is tried again may fail again"
    rig.supervisor.stop(child)
    rig.supervisor.stop(waiting)
    assert (child.failed, waiting.state, rig.supervisor.starting()) == (False, State.STOPPED, [])
