"""A worker by hand and messages by hand: `labwire worker`, `ipc-send`, and a rig that waits for a worker."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from labwire.cli import ipc_send
from labwire.cli.ipc_send import await_answer, open_pair_of, read_queue_name
from labwire.client import connect
from labwire.errors import ERROR_CODES, DeadlineError, NotFoundError, RefusedError, UsageError
from labwire.wire.instrument_message import SPEC, Message, MessageType, encode_message
from tests.bus.fake_hub import LIMIT_S, wait_until
from tests.rig_fixture import environment, run_labwire, running_rig

MULTIMETER = "labwire.instruments.drivers.simulated:Multimeter"


@pytest.fixture
def name() -> str:
    return f"HAND{os.getpid()}"


@contextmanager
def worker(name: str, folder: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "labwire", "worker", name, "--driver", MULTIMETER, "--json", *words]
    with subprocess.Popen(command, env=environment(folder), cwd=folder, stdout=subprocess.PIPE) as process:
        assert process.stdout
        try:
            assert select.select([process.stdout], [], [], LIMIT_S)[0]
            assert json.loads(process.stdout.readline())["name"] == name
            yield process
        finally:
            process.terminate()
            process.wait(LIMIT_S)


def send(*words: str) -> subprocess.CompletedProcess[str]:
    program = "from labwire.cli.ipc_send import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


def test_a_command_by_hand(name: str, tmp_path: Path) -> None:
    queue = f"instrument_{name}_req"
    payload = json.dumps({"id": "test-42", "verb": "MEASURE_VOLTAGE", "params": {"range": 10.0}})
    with worker(name, tmp_path, "voltage_v=7.5") as process:
        done = send("--queue", queue, "--type", "COMMAND", "--payload", payload, "--wait", "--json")
        assert done.returncode == 0, done.stderr
        sent, answer = map(json.loads, done.stdout.splitlines())
        assert (sent["id"], sent["kind"], sent["profile"]) == (42, "boost", "spec")
        assert (answer["type"], answer["id"], answer["payload"]["command_id"]) == ("RESPONSE", 42, "test-42")
        assert answer["payload"]["return_value"] == pytest.approx(7.5, abs=0.01)
        done = send("--queue", queue, "--payload", "this is no JSON", "--id", "7", "--wait")
        assert done.stdout.startswith("ERROR 7 ")
        assert "Invalid JSON in command" in done.stdout
        assert send("--queue", queue, "--type", "SHUTDOWN").returncode == 0
        assert process.wait(LIMIT_S) == 0
    assert not list(Path("/dev/shm").glob(f"*{name}*"))


def test_a_worker_that_is_told_to_end_leaves_nothing(name: str, tmp_path: Path) -> None:
    with worker(name, tmp_path) as process:
        second = run_labwire("worker", name, "--driver", MULTIMETER, env=environment(tmp_path), cwd=tmp_path)
        assert second.returncode == ERROR_CODES[RefusedError].exit_code
        assert f"{name} has a worker already, process {process.pid} " in second.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) != 0
    assert not list(Path("/dev/shm").glob(f"*{name}*"))


def test_a_rig_waits_for_a_worker_that_somebody_starts(name: str, tmp_path: Path) -> None:
    toml = f'name = "hand"\n\n[instruments.{name}]\nexternal = true\n'
    with running_rig(tmp_path, toml) as running, connect(port=running.port, timeout_s=LIMIT_S) as rig:
        instrument = rig.instrument(name)
        wait_until(lambda: instrument.status.state == "waiting", "it waits")
        with worker(name, tmp_path, "voltage_v=7.5"):
            wait_until(lambda: instrument.status.state == "ready", "the worker is there")
            assert instrument.call("MEASURE_VOLTAGE", range=10.0) == pytest.approx(7.5, abs=0.01)
            assert instrument.measure_voltage(range=10.0) == pytest.approx(7.5, abs=0.01)
            text = running.labwire("instruments", name).stdout
            assert "any verb is sent as it is" in text
        wait_until(lambda: instrument.status.state == "waiting", "it waits for the next one")
        said = instrument.status.last_error.split("; ")
        assert len(set(said)) == len(said), "once is enough"
        assert "ToldToEnd" not in instrument.status.last_error


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--queue", "instrument_NOBODYHERE_req"], 4, "there are no queues of an instrument 'NOBODYHERE'"),
        (["--queue", "mailbox"], 2, "'mailbox' is no queue"),
        (["--queue", "instrument_X_req", "--type", "BANANA"], 2, "BANANA"),
        (["--queue", "instrument_X_req", "--id", "-1"], 2, "-1"),
        ([], 2, "--queue"),
    ],
)
def test_what_goes_wrong_reads_well(words: Sequence[str], code: int, told: str) -> None:
    done = send(*words)
    assert done.returncode == code
    assert told in done.stderr


def test_queues_have_names() -> None:
    assert read_queue_name("instrument_DMM1_req") == ("DMM1", True)
    assert read_queue_name("/dev/mqueue/instrument_a_b_resp") == ("a_b", False)
    with pytest.raises(UsageError):
        read_queue_name("instrument_DMM1")


class Mailbox:
    """A queue that holds what a test put in."""

    name = "instrument_X_resp"

    def __init__(self, *messages: bytes) -> None:
        self.messages = list(messages)

    def receive(self, timeout_s: float) -> bytes | None:
        return self.messages.pop(0) if self.messages else None


def test_only_the_answer_is_taken_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    box = Mailbox(
        encode_message(Message(MessageType.HEARTBEAT)),
        b"garbage",
        encode_message(Message(MessageType.RESPONSE, 6, b"{}")),
        encode_message(Message(MessageType.RESPONSE, 7, b'{"a": 1}')),
    )
    answer = await_answer(box, SPEC, 7, 1.0)  # type: ignore[arg-type]  # all that is needed of a queue
    assert answer.payload == b'{"a": 1}'
    told = capsys.readouterr().err
    assert "took RESPONSE 6 out of instrument_X_resp" in told
    assert "are no message" in told
    with pytest.raises(DeadlineError, match="no answer to message 7"):
        await_answer(Mailbox(), SPEC, 7, 0.01)  # type: ignore[arg-type]


def test_a_system_without_either_kind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ipc_send, "_SHARED", tmp_path)
    with pytest.raises(NotFoundError, match="of kind posix"), open_pair_of("NOBODYHERE", "posix", None):
        pass
