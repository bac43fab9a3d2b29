"""The queues of this computer: looked at without taking a message out, and cleaned when nobody uses them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labwire.cli import queues
from labwire.cli.connection import Connection
from labwire.cli.main import main
from labwire.errors import ResourceError
from labwire.instruments import linux
from labwire.instruments.queues.contract import QueueState
from labwire.instruments.queues.open import create_pair
from labwire.wire.instrument_message import Message, MessageType, encode_message
from tests.bus.fake_hub import LIMIT_S
from tests.rig_fixture import environment, running_rig

NOWHERE = ["--port", "1"]
MADE_AND_LEFT = """
import os, sys
from labwire.instruments.queues.open import create_pair
create_pair("boost", sys.argv[1])
os._exit(0)
"""


@pytest.fixture
def name() -> str:
    return f"Q{os.getpid()}"


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exited:
        main(["queues", *NOWHERE, *words])
    captured = capsys.readouterr()
    return int(str(exited.value.code)), captured.out, captured.err


def test_it_shows_what_waits_and_takes_nothing(capsys: pytest.CaptureFixture[str], name: str) -> None:
    with create_pair("boost", name) as pair:
        pair.requests.send(encode_message(Message(MessageType.COMMAND, 42, b"{}")))
        pair.requests.send(encode_message(Message(MessageType.SHUTDOWN, 43)))
        for _ in range(2):
            _, text, _ = run(capsys, "--json")
            found = {row["name"]: row for row in json.loads(text)}
            requests = found[f"instrument_{name}_req"]
            assert (requests["waiting"], requests["depth"], requests["ids"]) == (2, 100, [42, 43])
            assert requests["types"] == {"COMMAND": 1, "SHUTDOWN": 1}
            assert os.getpid() in requests["used_by"]
        _, text, _ = run(capsys)
        line = next(line for line in text.splitlines() if f"{name}_req" in line)
        assert "2 of 100" in line
        assert "1 COMMAND, 1 SHUTDOWN (id 42, 43)" in line
        assert pair.requests.receive(LIMIT_S) is not None


@pytest.fixture
def left(name: str) -> Iterator[str]:
    """Queues that a process made which is no more."""
    made = subprocess.run([sys.executable, "-c", MADE_AND_LEFT, name], check=True, capture_output=True)
    assert made.returncode == 0
    yield f"instrument_{name}_req"
    for end in ("req", "resp"):
        Path(f"/dev/shm/instrument_{name}_{end}").unlink(missing_ok=True)


def test_what_a_dead_process_left_is_removed_after_a_question(
    capsys: pytest.CaptureFixture[str], left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Path("/dev/shm") / left
    # Queues of others may be about on this computer: only ours are looked at.
    found = queues_of(left)
    monkeypatch.setattr("labwire.instruments.queues.inspection.queue_states", lambda names=(): found)
    code, _, told = run(capsys, "--clean")
    assert (code, "add --yes" in told, here.exists()) == (2, True, True)
    monkeypatch.setattr(queues.sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: "n")
    code, _, told = run(capsys, "--clean")
    assert (code, "nothing was removed" in told, here.exists()) == (0, True, True)
    assert left in told
    monkeypatch.setattr("builtins.input", lambda _: "yes")
    code, text, _ = run(capsys, "--clean")
    assert (code, left in text, here.exists()) == (0, True, False)


def test_programs_are_not_asked(capsys: pytest.CaptureFixture[str], left: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = queues_of(left)
    monkeypatch.setattr("labwire.instruments.queues.inspection.queue_states", lambda names=(): found)
    code, text, _ = run(capsys, "--clean", "--yes", "--json")
    assert (code, len(json.loads(text)["removed"])) == (0, 2)
    monkeypatch.setattr("labwire.instruments.queues.inspection.queue_states", lambda names=(): [])
    assert run(capsys, "--clean", "--yes")[1] == "nothing to remove: every queue is in use\n"


def queues_of(left: str) -> list[QueueState]:
    from labwire.instruments.queues.inspection import queue_states

    return queue_states([left, left.replace("_req", "_resp")])


def test_one_in_use_is_never_removed(
    capsys: pytest.CaptureFixture[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with create_pair("boost", name):
        found = queues_of(f"instrument_{name}_req")
        monkeypatch.setattr("labwire.instruments.queues.inspection.queue_states", lambda names=(): found)
        assert run(capsys, "--clean", "--yes")[1] == "nothing to remove: every queue is in use\n"
        assert (Path("/dev/shm") / f"instrument_{name}_req").exists()


def test_yes_alone_means_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, told = run(capsys, "--yes")
    assert (code, "--clean" in told) == (2, True)


def test_sockets_are_told_by_their_server(tmp_path: Path) -> None:
    toml = (
        'name = "bench"\n[instruments.DMM1]\nqueue = "socket"\n'
        'driver = "labwire.instruments.drivers.simulated:Multimeter"\n'
    )
    with running_rig(tmp_path, toml) as rig:
        found = list(queues.sockets_of(Connection(port=rig.port)))
    assert [(state.name, state.kind, state.depth, state.waiting) for state in found] == [
        ("socket of DMM1", "socket", 100, 0)
    ]


def test_a_lock_whose_owner_is_dead_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    state = QueueState("instrument_X_req", "boost", 100, None, lock_owner=7, lock_owner_alive=False, note="broken")
    queues.show_queues([state])
    text = capsys.readouterr().out
    assert "thread 7, dead" in text
    assert "? of 100" in text
    assert "broken" in text


@pytest.mark.parametrize("words", [["queues"], ["worker", "X", "--driver", "a:B"]])
def test_another_platform_is_told_once(words: list[str], tmp_path: Path) -> None:
    code = f"import sys\nsys.platform = 'darwin'\nfrom labwire.cli.main import main\nmain({words!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(tmp_path), capture_output=True, text=True, check=False
    )
    assert done.returncode == 13
    assert "needs Linux" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_linux_is_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    linux.check_linux("this test")
    monkeypatch.setattr(linux.sys, "platform", "win32")
    with pytest.raises(ResourceError, match="this test needs Linux"):
        linux.check_linux("this test")
