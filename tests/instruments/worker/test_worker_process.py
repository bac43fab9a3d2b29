"""A worker in a process of its own: its start, its limits, its log, all the ways in which it and its server can die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from labwire.errors import ConfigError, PeerGoneError, ResourceError, codes_of
from labwire.instruments.config import LimitsConfig, QueueKind
from labwire.instruments.waveforms import open_waveform, remove_left
from labwire.instruments.worker.heartbeat import ORPHAN_EXIT_CODE
from labwire.testing.processes import end_by_force
from labwire.wire.instrument_extras import NOOP, WaveformHandle
from labwire.wire.instrument_message import MessageType, decode_error
from tests.instruments.worker_kit import LIMIT_S, NAME, SIMULATED, Peer, Process, spec_of, wait_until, worker_process

KINDS: tuple[QueueKind, ...] = ("socket", "boost")
NOTER = "tests.instruments.process_drivers:Noter"
ROOT = Path(__file__).parents[3]
PREFIX = f"labwire_test_{os.getpid()}_process"


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes"


def noter(notes: Path, **keys: Any) -> dict[str, Any]:
    options = {"notes": str(notes), **keys.pop("options", {})}
    return {"driver": NOTER, "options": options, "python_path": [str(ROOT)], **keys}


def noted(notes: Path) -> list[str]:
    return notes.read_text().split("\n")[:-1] if notes.exists() else []


@pytest.mark.parametrize("queue", KINDS)
def test_a_worker_starts_serves_and_exits_with_0(queue: QueueKind) -> None:
    with worker_process(SIMULATED + "Multimeter", queue, options={"voltage_v": 2.0, "seed": 1}) as worker:
        assert worker.peer.call(NOOP).success
        response = worker.peer.call("MEASURE_VOLTAGE", {"range": 10.0, "samples": 100})
        assert abs(response.return_value - 2.0) < 0.01
        assert response.text_response == repr(response.return_value)
        assert worker.end() == 0
        assert worker.log_lines() == []


def test_what_a_driver_logs_and_prints_goes_to_standard_error(notes: Path) -> None:
    with worker_process(**noter(notes)) as worker:
        assert worker.end() == 0
        lines = worker.log_lines()
    assert "printed by the driver" in lines
    (record,) = [line for line in lines if isinstance(line, dict)]
    assert (record["level"], record["name"], record["text"]) == ("WARNING", "Noter", "logged by the driver: 42")
    assert noted(notes) == ["open", "close"]


def test_a_worker_has_no_privileges_to_gain_and_the_limits_it_was_given(notes: Path) -> None:
    limits = LimitsConfig(memory_mb=2000, open_files=64, cpu_s=1000)
    with worker_process(**noter(notes, limits=limits)) as worker:
        facts = worker.peer.call("FACTS").return_value
        assert facts["no_new_privs"] == "1"
        assert facts["memory"] == [2000 << 20, 2000 << 20]
        assert facts["files"] == [64, 64]
        assert facts["cpu"] == [1000, 1005]
        too_many = worker.peer.call("OPEN_FILES")
        assert not too_many.success
        assert "Too many open files" in too_many.error_message
        assert worker.end() == 0


def test_a_worker_at_its_memory_limit_fails_the_command_and_lives_on() -> None:
    with worker_process(SIMULATED + "Crasher", limits=LimitsConfig(memory_mb=300)) as worker:
        response = worker.peer.call("CRASH", {"way": "memory"})
        assert (response.success, response.error_code) == (False, codes_of(ResourceError).worker_code)
        assert worker.peer.call("ECHO", {"value": 1.0}).return_value == 1.0
        assert worker.end() == 0


def test_a_worker_above_its_processor_time_is_ended(notes: Path) -> None:
    with worker_process(**noter(notes, limits=LimitsConfig(cpu_s=1))) as worker:
        worker.peer.command("BURN")
        assert worker.process.wait(2 * LIMIT_S) == -signal.SIGXCPU  # others may want the processors, too


def test_a_limit_above_the_system_s_own_is_a_fatal_error(notes: Path) -> None:
    with worker_process(**noter(notes, limits=LimitsConfig(open_files=2**62)), wait=False) as worker:
        message = worker.peer.receive()
        assert message.type is MessageType.ERROR
        error = decode_error(message.payload)
        assert error.fatal
        assert "limits.open_files" in error.error_message
        assert worker.process.wait(LIMIT_S) == codes_of(ResourceError).exit_code
    assert noted(notes) == []


def test_a_driver_with_wrong_options_is_a_fatal_error() -> None:
    with worker_process(SIMULATED + "Multimeter", options={"voltage": 1}, wait=False) as worker:
        error = decode_error(worker.peer.receive().payload)
        assert error.fatal
        assert "voltage: unknown key; did you mean voltage_v?" in error.error_message
        assert error.error_code == codes_of(ConfigError).worker_code
        assert worker.process.wait(LIMIT_S) == codes_of(ConfigError).exit_code


@pytest.mark.parametrize("queue", KINDS)
@pytest.mark.parametrize(
    ("way", "status"),
    [
        ("segfault", -signal.SIGSEGV),
        ("abort", -signal.SIGABRT),
        ("exit", 3),
        ("sys_exit", 4),
        ("kill", -signal.SIGKILL),
    ],
)
def test_a_driver_that_crashes_ends_its_worker_only(queue: QueueKind, way: str, status: int) -> None:
    with worker_process(SIMULATED + "Crasher", queue) as worker:
        worker.peer.command("CRASH", {"way": way})
        assert worker.process.wait(LIMIT_S) == status
        if way == "sys_exit":
            assert decode_error(worker.peer.receive().payload).fatal
        if way in {"segfault", "abort"}:
            assert any("Fatal Python error" in str(line) for line in worker.log_lines())
        if queue == "socket":
            with pytest.raises(PeerGoneError):
                worker.peer.receive()


def test_a_million_floats_come_from_a_worker_and_those_nobody_fetched_are_removed() -> None:
    with worker_process(SIMULATED + "Oscilloscope", waveform_prefix=PREFIX) as worker:
        params = {"points": 1_000_000}
        worker.peer.call("READ_WAVEFORM", params)  # not fetched
        handle = msgspec.convert(worker.peer.call("READ_WAVEFORM", params).waveform, WaveformHandle)
        array = open_waveform(handle, prefix=PREFIX)
        assert (array.shape, array.dtype) == ((1_000_000,), np.float32)
        assert 0.9 < float(np.abs(array).max()) < 1.3
        assert worker.end() == 0
    assert remove_left(PREFIX) == 1


# --- the end, from the server's side


def test_sigterm_ends_in_good_order(notes: Path) -> None:
    with worker_process(**noter(notes)) as worker:
        worker.peer.command("SLEEP", {"seconds": 60.0})
        wait_until(lambda: "sleep" in noted(notes), "the command runs")
        worker.process.terminate()
        assert worker.process.wait(LIMIT_S) == 128 + signal.SIGTERM
    assert noted(notes) == ["open", "sleep", "end of sleep", "close"]


def test_ctrl_c_is_not_for_workers(notes: Path) -> None:
    with worker_process(**noter(notes)) as worker:
        worker.process.send_signal(signal.SIGINT)
        assert worker.peer.call(NOOP).success
        assert worker.end() == 0


@pytest.mark.parametrize("queue", KINDS)
def test_a_lifeline_that_ends_ends_an_idle_worker(queue: QueueKind, notes: Path) -> None:
    with worker_process(queue=queue, waveform_prefix=PREFIX, **noter(notes)) as worker:
        worker.peer.call("WAVEFORM", {"points": 1000})
        close_lifeline(worker)
        assert worker.process.wait(LIMIT_S) == 0
        assert remove_left(PREFIX) == 0
    assert noted(notes) == ["open", "close"]


@pytest.mark.parametrize("queue", KINDS)
def test_a_lifeline_that_ends_ends_a_worker_that_hangs(queue: QueueKind, notes: Path) -> None:
    keys = noter(notes, options={"orphan_limit_s": 0.1})
    with worker_process(queue=queue, waveform_prefix=PREFIX, **keys) as worker:
        worker.peer.call("WAVEFORM", {"points": 1000})
        worker.peer.command("HANG_IN_C")
        wait_until(lambda: "hang" in noted(notes), "the command runs")
        close_lifeline(worker)
        assert worker.process.wait(LIMIT_S) == ORPHAN_EXIT_CODE
        assert remove_left(PREFIX) == 0


def test_a_driver_cannot_reach_the_lifeline_nor_can_what_it_starts(notes: Path) -> None:
    with worker_process(**noter(notes)) as worker:
        assert worker.peer.call("READ_INPUT").return_value == ""
        child = worker.peer.call("START_CHILD").return_value
        worker.process.kill()
        with pytest.raises(PeerGoneError):
            worker.peer.receive()
        assert _alive(child)


def close_lifeline(worker: Process) -> None:
    assert worker.process.stdin
    worker.process.stdin.close()


def test_a_lifeline_that_ends_before_the_order_ends_the_worker() -> None:
    command = [sys.executable, "-m", "labwire.instruments.worker.process"]
    assert subprocess.run(command, stdin=subprocess.DEVNULL, check=False, timeout=LIMIT_S).returncode == 0


SERVER = """
import json, os, subprocess, sys, time
import msgspec
from labwire.instruments.queues.open import create_pair
from tests.instruments.worker_kit import Peer
spec = json.loads(sys.argv[1])
pair = create_pair(spec["queue"], spec["name"])
fds = () if pair.worker_fd is None else (pair.worker_fd,)
process = subprocess.Popen(
    [sys.executable, "-m", "labwire.instruments.worker.process"], stdin=subprocess.PIPE, pass_fds=fds
)
process.stdin.write(json.dumps({**spec, "socket_fd": pair.worker_fd}).encode() + b"\\n")
process.stdin.flush()
pair.release_worker_fd()
peer = Peer(pair, spec["name"])
peer.wait_for_heartbeats(1)
print(process.pid, flush=True)
if sys.argv[2] == "keep lifeline":
    os.set_inheritable(process.stdin.fileno(), True)
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], close_fds=False)
while True:
    response = peer.call("WAVEFORM", {"points": 1000})
"""


@pytest.mark.parametrize("queue", KINDS)
@pytest.mark.parametrize("lifeline", ["lifeline ends", "keep lifeline"])
def test_a_server_that_is_killed_leaves_neither_worker_nor_shared_memory(
    queue: QueueKind, lifeline: str, notes: Path
) -> None:
    # With the lifeline kept open by somebody else, the worker sees that its parent is another one.
    spec = spec_of(queue=queue, waveform_prefix=PREFIX, heartbeat_s=0.05, name=NAME, **noter(notes))
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, msgspec.json.encode(spec).decode(), lifeline],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd=ROOT,
    )
    try:
        assert server.stdout
        pid = int(server.stdout.readline())
        wait_until(lambda: [name for name in os.listdir("/dev/shm") if name.startswith(PREFIX)], "there are arrays")
        server.kill()
        wait_until(lambda: not _alive(pid), "the worker has ended")
        assert noted(notes) == ["open", "close"]
        assert [name for name in os.listdir("/dev/shm") if PREFIX in name or NAME in name] == []
    finally:
        end_by_force(server)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_worker_killed_while_it_writes_arrays_leaves_what_is_found_by_its_prefix(notes: Path) -> None:
    with worker_process(waveform_prefix=PREFIX, **noter(notes)) as worker:
        for _ in range(20):
            worker.peer.command("WAVEFORM", {"points": 2_000_000})
        until = time.monotonic() + LIMIT_S
        while not any(name.startswith(PREFIX) for name in os.listdir("/dev/shm")) and time.monotonic() < until:
            pass
        worker.process.kill()
        worker.process.wait(LIMIT_S)
    assert remove_left(PREFIX) >= 1
    assert [name for name in os.listdir("/dev/shm") if name.startswith(PREFIX)] == []


def test_a_second_server_s_queues_of_the_same_name_are_left_alone(notes: Path) -> None:
    with (
        worker_process(queue="boost", **noter(notes)) as first,
        worker_process(queue="boost", **noter(notes)) as second,
    ):
        close_lifeline(first)
        assert first.process.wait(LIMIT_S) == 0
        assert Path(f"/dev/shm/instrument_{NAME}_req").exists()
        assert Peer(second.pair, NAME).call(NOOP).success
        assert second.end() == 0
