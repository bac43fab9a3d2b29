"""Commands in a session: files, counts, a disk that fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from labwire.errors import CommandFailedError, DeviceError, PeerGoneError, StateError
from labwire.instruments import recording
from labwire.instruments.calling.dispatch import Outcome
from labwire.instruments.recording import ARRAYS_FILE, COMMANDS_FILE, CommandRecorder
from labwire.operations.instruments import CommandRequest
from labwire.operations.recordable import SessionStart
from labwire.wire.instrument_message import Command, CommandResponse
from tests.bus.fake_hub import wait_until


def session(folder: Path) -> SessionStart:
    return SessionStart(str(folder), "pilot", "u", 100.0, 0.0, 1_000_000)


def outcome(number: int, value: Any = None, error: Any = None, *, block: int | None = None) -> Outcome:
    request = CommandRequest(name="DMM1", verb="READ", params={"n": number})
    command = Command(id=f"DMM1-{number}", instrument_name="DMM1", verb="READ", params=request.params)
    response = CommandResponse(command_id=command.id, success=error is None, return_value=value)
    gone = isinstance(error, PeerGoneError)
    return Outcome(request, command, None if gone else response, error, 100.0 + number, 0.25, block)


@pytest.fixture
def troubles() -> list[str]:
    return []


@pytest.fixture
def recorder(troubles: list[str]) -> Iterator[CommandRecorder]:
    made = CommandRecorder(lambda monotonic_s: monotonic_s + 1000.0, troubles.append)
    yield made
    made.stop()


def rows_in(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / COMMANDS_FILE).read_text().splitlines()]


def test_each_command_is_a_line(recorder: CommandRecorder, tmp_path: Path) -> None:
    recorder.put(outcome(0, 1.0))  # no session: nothing happens
    description = recorder.prepare(session(tmp_path))
    assert description.files == [COMMANDS_FILE, ARRAYS_FILE]
    recorder.start()
    recorder.put(outcome(1, 3.5))
    recorder.put(outcome(2, error=CommandFailedError("overload")))
    recorder.put(outcome(3, error=PeerGoneError("Worker died")))
    recorder.put(outcome(4, [1, 2], block=7))
    counters = recorder.stop()
    rows = rows_in(tmp_path)
    assert (counters.received, counters.written, counters.dropped) == (4, 4, 0)
    assert counters.written_bytes == (tmp_path / COMMANDS_FILE).stat().st_size
    assert rows[0] == {
        "command_id": "DMM1-1",
        "instrument": "DMM1",
        "verb": "READ",
        "params": {"n": 1},
        "success": True,
        "value": 3.5,
        "text": "",
        "timestamp": 1101.0,
        "epoch_us": 2_000_000,
        "duration_s": 0.25,
    }
    assert [(row["success"], row.get("error"), row.get("block")) for row in rows[1:]] == [
        (False, "overload", None),
        (False, "Worker died", None),
        (True, None, 7),
    ]


def test_arrays_stand_beside(recorder: CommandRecorder, tmp_path: Path) -> None:
    recorder.prepare(session(tmp_path))
    recorder.start()
    arrays = [np.arange(6, dtype="<f4").reshape(2, 3), np.empty((0,), "<i2"), np.arange(3, dtype="<f8")]
    for number, array in enumerate(arrays):
        recorder.put(outcome(number, array))
    recorder.stop()
    for row, array in zip(rows_in(tmp_path), arrays, strict=True):
        about = row["array"]
        found = np.fromfile(tmp_path / ARRAYS_FILE, about["dtype"], array.size, offset=about["offset"])
        assert (found.reshape(about["shape"]) == array).all()
        assert about["bytes"] == array.nbytes


def test_what_was_recorded_is_there_at_once(recorder: CommandRecorder, tmp_path: Path) -> None:
    recorder.prepare(session(tmp_path))
    recorder.start()
    recorder.put(outcome(1, 3.5))
    wait_until(lambda: len((tmp_path / COMMANDS_FILE).read_text().splitlines()) == 1, "the line")


def test_too_much_is_dropped_and_counted(
    recorder: CommandRecorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "DEPTH", 3)
    recorder.prepare(session(tmp_path))
    recorder.start()
    hold = open(tmp_path / "lock", "w")  # noqa: SIM115, PTH123
    writing = monkeypatch.setattr
    writing(recorder, "_write", lambda _: wait_until(lambda: hold.closed, "go on"))
    for number in range(10):
        recorder.put(outcome(number))
    hold.close()
    counters = recorder.stop()
    assert counters.received == 10
    assert counters.dropped >= 6


def test_a_disk_that_fails_is_told_once_and_counted(
    recorder: CommandRecorder, troubles: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Outcome) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(recorder, "_write", fail)
    recorder.prepare(session(tmp_path))
    recorder.start()
    for number in range(5):
        recorder.put(outcome(number))
    counters = recorder.stop()
    assert (counters.written, counters.dropped) == (0, 5)
    assert troubles == ["commands are not recorded: no space left"]


def test_where_one_file_cannot_be_made_the_other_is_closed(recorder: CommandRecorder, tmp_path: Path) -> None:
    (tmp_path / ARRAYS_FILE).mkdir()
    with pytest.raises(DeviceError, match=rf"cannot write .*{ARRAYS_FILE}"):
        recorder.prepare(session(tmp_path))
    (tmp_path / ARRAYS_FILE).rmdir()
    recorder.prepare(session(tmp_path))


def test_the_contract(recorder: CommandRecorder, tmp_path: Path) -> None:
    with pytest.raises(StateError):
        recorder.start()
    assert recorder.stop().received == 0
    with pytest.raises(DeviceError, match="cannot write"):
        recorder.prepare(session(tmp_path / "nowhere"))
    recorder.prepare(session(tmp_path))
    with pytest.raises(StateError, match="already"):
        recorder.prepare(session(tmp_path))
    recorder.stop()
    recorder.prepare(session(tmp_path))


def test_a_session_that_nobody_ended_makes_way_for_the_next(recorder: CommandRecorder, tmp_path: Path) -> None:
    """Its recorder died: the next one may not be refused for ever."""
    first, second = tmp_path / "1", tmp_path / "2"
    for folder in (first, second):
        folder.mkdir()
    recorder.prepare(session(first))
    recorder.start()
    recorder.put(outcome(1))
    recorder.prepare(msgspec.structs.replace(session(second), uuid="v"))
    recorder.put(outcome(2))  # not started yet
    recorder.start()
    recorder.put(outcome(3))
    recorder.stop()
    assert [[row["command_id"] for row in rows_in(folder)] for folder in (first, second)] == [["DMM1-1"], ["DMM1-3"]]
