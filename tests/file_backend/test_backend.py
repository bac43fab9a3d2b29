"""The file backend as a whole: its folder, its one writer, its status."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from labwire.clock import EpochAnchor
from labwire.errors import DeviceError, StateError
from labwire.file_backend.backend import FileBackend
from labwire.file_backend.config import FileIpcConfig, FileIpcOptions
from labwire.file_backend.status_board import StatusCode
from labwire.wire.envelope import Envelope, decode_envelope
from tests.file_backend.disks import files_up_to
from tests.file_backend.test_pictures import jpeg, numbered, wait_for

SRC = Path(__file__).parents[2] / "src"
LINES = ["core_metrics.jsonl", "edge_metrics.jsonl", "status.jsonl"]


def options(folder: Path, **more: Any) -> FileIpcOptions:
    return FileIpcOptions(base_directory=str(folder), **more)


def statuses(folder: Path) -> list[Envelope]:
    return [decode_envelope(line) for line in (folder / "status.jsonl").read_bytes().splitlines()]


def test_folder_has_the_layout_of_the_spec(tmp_path: Path) -> None:
    with FileBackend(options(tmp_path / "a" / "b", max_frame_count=2)) as backend:
        backend.put(jpeg(0))
    assert sorted(os.listdir(tmp_path / "a" / "b")) == sorted([*LINES, "frame1700000000000000.jpg", "latest.jpg"])


def test_client_of_the_spec_reads_the_folder(tmp_path: Path) -> None:
    with FileBackend(options(tmp_path)):
        # file-ipc, "Python Client Example": it opens both files of metrics whether or not there are any.
        for name in ("core_metrics.jsonl", "edge_metrics.jsonl"):
            with (tmp_path / name).open() as file:
                assert [json.loads(line) for line in file] == []


def test_rig_configuration_is_taken_as_it_is(tmp_path: Path) -> None:
    with FileBackend(FileIpcConfig(base_directory=str(tmp_path), camera="world")) as backend:
        assert backend.put(jpeg(0))


def test_status_is_an_envelope(tmp_path: Path) -> None:
    anchor = EpochAnchor()
    with FileBackend(options(tmp_path), anchor=anchor) as backend:
        before = anchor.now_us()
        assert backend.status(StatusCode.OK, "OK")
        after = anchor.now_us()
        [status] = statuses(tmp_path)
    assert (tmp_path / "status.jsonl").read_text().startswith('{"type":"status","timestamp":')
    assert status.payload == {"code": 0, "message": "OK"}
    assert before <= status.timestamp <= after


def test_status_is_written_when_it_changes(tmp_path: Path) -> None:
    with FileBackend(options(tmp_path)) as backend:
        written = [backend.status(*status) for status in [(0, "OK"), (0, "OK"), (1, "no face"), (0, "OK")]]
        assert backend.status(0, "OK", repeat=True)
    assert written == [True, False, True, True]
    assert [status.payload["code"] for status in statuses(tmp_path)] == [0, 1, 0, 0]


def test_status_times_do_not_go_back_with_the_wall_clock(tmp_path: Path) -> None:
    now = {"monotonic": 10**9, "epoch": 10**18}
    anchor = EpochAnchor(lambda: now["monotonic"], lambda: now["epoch"])
    with FileBackend(options(tmp_path), anchor=anchor) as backend:
        backend.status(1, "before")
        now["epoch"] -= 3600 * 10**9
        now["monotonic"] += 10**9
        backend.status(2, "after")
    earlier, later = (status.timestamp for status in statuses(tmp_path))
    assert later - earlier == 1_000_000


def test_first_frame_says_ok_and_trouble_is_a_status(tmp_path: Path) -> None:
    events: list[str] = []
    with FileBackend(options(tmp_path), on_event=lambda kind, _: events.append(kind)) as backend:
        backend.put(jpeg(0))
        wait_for(lambda: backend.counters().frames.written == 1)
        with files_up_to(500):
            backend.put(jpeg(1))
            wait_for(lambda: backend.counters().frames.failed == 1)
            wait_for(lambda: len(events) == 2)
        backend.put(jpeg(2))
    assert [status.payload["code"] for status in statuses(tmp_path)] == [0, StatusCode.FRAMES_NOT_WRITTEN, 0]
    assert "File too large" in statuses(tmp_path)[1].payload["message"]
    assert events == ["written", "failed", "recovered"]


def test_startup_clears_what_is_ours_once(tmp_path: Path) -> None:
    for _ in range(2):
        with FileBackend(options(tmp_path)) as backend:
            backend.put(jpeg(0))
            wait_for(lambda backend=backend: backend.counters().status.written == 1)
        (tmp_path / "mine.txt").touch()
        with (tmp_path / "core_metrics.jsonl").open("a") as file:
            file.write("old\n")
    assert len(statuses(tmp_path)) == 1
    with FileBackend(options(tmp_path)):
        assert sorted(os.listdir(tmp_path)) == ["core_metrics.jsonl", "edge_metrics.jsonl", "mine.txt", "status.jsonl"]
        assert all((tmp_path / name).stat().st_size == 0 for name in LINES)


def test_without_clearing_everything_goes_on(tmp_path: Path) -> None:
    for n in range(2):
        with FileBackend(options(tmp_path, truncate_on_init=False)) as backend:
            backend.put(jpeg(n))
            backend.status(7, f"run {n}")
    assert [status.payload["message"] for status in statuses(tmp_path)] == ["run 0", "run 1"]
    times = [status.timestamp for status in statuses(tmp_path)]
    assert times == sorted(set(times))
    assert len(numbered(tmp_path)) == 2


@contextmanager
def another_writer(folder: Path) -> Iterator[subprocess.Popen[str]]:
    code = f"""
import sys
from labwire.file_backend.backend import FileBackend
from labwire.file_backend.config import FileIpcOptions
with FileBackend(FileIpcOptions(base_directory={str(folder)!r})):
    print("ready", flush=True)
    sys.stdin.read()
"""
    writer = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SRC)},
    )
    assert writer.stdout is not None
    assert writer.stdin is not None
    try:
        assert writer.stdout.readline() == "ready\n"
        yield writer
    finally:
        writer.stdin.close()
        writer.wait(30)
        writer.stdout.close()


def test_second_writer_is_refused_and_told_who_has_the_folder(tmp_path: Path) -> None:
    with another_writer(tmp_path) as writer:
        (tmp_path / "status.jsonl").write_bytes(b"not to be touched")
        with pytest.raises(StateError, match=f"process {writer.pid}") as caught:
            FileBackend(options(tmp_path)).open()
        assert caught.value.data["pid"] == writer.pid
        assert (tmp_path / "status.jsonl").read_bytes() == b"not to be touched"
    FileBackend(options(tmp_path)).open().close()


def test_folder_of_a_killed_writer_is_free(tmp_path: Path) -> None:
    with another_writer(tmp_path) as writer:
        writer.send_signal(signal.SIGKILL)
        writer.wait(30)
        FileBackend(options(tmp_path)).open().close()


def test_second_writer_in_the_same_process_is_refused(tmp_path: Path) -> None:
    with FileBackend(options(tmp_path)), pytest.raises(StateError, match="this process"):
        FileBackend(options(tmp_path)).open()


@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True), (False, False)])
def test_second_writer_is_refused_without_locks_on_lines_too(tmp_path: Path, *, first: bool, second: bool) -> None:
    with FileBackend(options(tmp_path, use_file_locking=first)), pytest.raises(StateError, match="this process"):
        FileBackend(options(tmp_path, use_file_locking=second)).open()


def test_missing_folder_is_told_when_it_must_not_be_created(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"mkdir -p .*create_if_missing"):
        FileBackend(options(tmp_path / "none", create_if_missing=False)).open()
    assert os.listdir(tmp_path) == []


def test_folder_that_cannot_be_created_is_told_in_the_specs_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DeviceError, match=r"Failed to create directory .*/file/out: Not a directory"):
        FileBackend(options(tmp_path / "file" / "out")).open()


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_folder_without_permission_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DeviceError, match="Permission denied"):
        FileBackend(options(tmp_path)).open()


def test_what_fails_half_way_leaves_the_folder_free(tmp_path: Path) -> None:
    (tmp_path / "status.jsonl").mkdir()
    with pytest.raises(DeviceError, match=r"status\.jsonl"):
        FileBackend(options(tmp_path)).open()
    (tmp_path / "status.jsonl").rmdir()
    FileBackend(options(tmp_path)).open().close()


def test_after_closing_nothing_is_written(tmp_path: Path) -> None:
    backend = FileBackend(options(tmp_path)).open()
    backend.close()
    backend.close()
    assert not backend.put(jpeg(0))
    assert not backend.status(1, "late")
    assert sorted(os.listdir(tmp_path)) == LINES


def test_debug_logging_tells_of_each_line_and_frame(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("labwire.file_backend")
    before = logger.level
    try:
        with FileBackend(options(tmp_path, enable_debug_logging=True)) as backend:
            backend.put(jpeg(0))
    finally:
        logger.setLevel(before)
    assert "wrote frame1700000000000000.jpg" in caplog.text
    assert "status.jsonl: 1 lines" in caplog.text
