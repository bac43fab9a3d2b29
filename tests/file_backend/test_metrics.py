"""Metrics in the folder, and what the status says when something is wrong with disk, clock or locks."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from labwire.clock import EpochAnchor
from labwire.file_backend import backend as backend_module
from labwire.file_backend.backend import CORE_METRICS, EDGE_METRICS, FileBackend
from labwire.file_backend.config import FileIpcOptions
from labwire.file_backend.jsonl_file import JsonlFile
from labwire.file_backend.status_board import REPEAT_S, Status, StatusBoard, StatusCode
from labwire.wire.envelope import Envelope, decode_envelope
from tests.file_backend.disks import files_up_to, full, small_disk
from tests.file_backend.test_pictures import jpeg, numbered, wait_for

SECOND_NS = 10**9
CORE = {"pulse": {"strict": {"value": 72.5, "confidence": 0.95}}}


def opened(folder: Path, **more: Any) -> FileBackend:
    own = {name: more.pop(name) for name in ("anchor", "now_us", "policy", "disk_floor", "on_status") if name in more}
    return FileBackend(FileIpcOptions(base_directory=str(folder), **more), **own)


def lines(folder: Path, name: str) -> list[Envelope]:
    data = (folder / name).read_bytes()
    assert data == b"" or data.endswith(b"\n")
    return [decode_envelope(line) for line in data.splitlines()]


def codes(folder: Path) -> list[int]:
    return [envelope.payload["code"] for envelope in lines(folder, "status.jsonl")]


def test_metrics_are_envelopes_in_their_files(tmp_path: Path) -> None:
    with opened(tmp_path) as backend:
        assert backend.metrics("core_metrics", 1234567890123456, CORE)
        assert backend.metrics("edge_metrics", 1234567890123457, {"eda": 0.42, "upper_breathing_trace": 1.23})
    assert (tmp_path / CORE_METRICS).read_text() == (
        '{"type":"core_metrics","timestamp":1234567890123456,"payload":{"pulse":{"strict":{"value":72.5,'
        '"confidence":0.95}}}}\n'
    )
    [edge] = lines(tmp_path, EDGE_METRICS)
    assert edge == Envelope("edge_metrics", 1234567890123457, {"eda": 0.42, "upper_breathing_trace": 1.23})


def test_a_line_is_visible_while_nothing_follows_it(tmp_path: Path) -> None:
    with opened(tmp_path, io_buffer_size=1 << 20) as backend:
        backend.metrics("edge_metrics", 1, {"eda": 0.1})
        wait_for(lambda: len(lines(tmp_path, EDGE_METRICS)) == 1)


def test_many_lines_are_written_in_batches_of_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[bytes] = []
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: sizes.append(bytes(data)) or write(fd, data))
    with opened(tmp_path, io_buffer_size=1000, policy="block") as backend:
        for n in range(2000):
            backend.metrics("edge_metrics", n, {"eda": n / 10})
    assert [envelope.timestamp for envelope in lines(tmp_path, EDGE_METRICS)] == list(range(2000))
    assert all(len(data) <= 1000 and data.endswith(b"\n") for data in sizes)


def test_a_line_without_a_form_in_json_costs_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with opened(tmp_path) as backend:
        for n, value in enumerate((0.1, float("nan"), 0.3)):
            backend.metrics("edge_metrics", n, {"eda": value})
        wait_for(lambda: len(lines(tmp_path, EDGE_METRICS)) == 2)
        assert backend.counters().lines.malformed == 1
    assert "payload.eda is nan" in caplog.text


def test_a_disk_that_does_not_answer_drops_the_oldest_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck, go_on = threading.Event(), threading.Event()
    append = JsonlFile.append_all

    def stay(file: JsonlFile, some: Any) -> int:
        stuck.set()
        go_on.wait()
        return append(file, some)

    monkeypatch.setattr(JsonlFile, "append_all", stay)
    with opened(tmp_path) as backend:
        backend.metrics("edge_metrics", 0, {})
        stuck.wait()
        for n in range(1, 5001):
            backend.metrics("edge_metrics", n, {})
        assert backend.counters().lines.dropped == 5000 - 4096
        go_on.set()
    assert lines(tmp_path, EDGE_METRICS)[-1].timestamp == 5000


def test_what_a_restart_finds_is_appended_to(tmp_path: Path) -> None:
    for _ in range(2):
        with opened(tmp_path, truncate_on_init=False) as backend:
            backend.metrics("core_metrics", 1000, CORE)
    assert [envelope.timestamp for envelope in lines(tmp_path, CORE_METRICS)] == [1000, 1001]


# --- the status


class Clocks:
    """A monotonic and a wall clock under the test's control, in nanoseconds."""

    def __init__(self) -> None:
        self.monotonic, self.wall = 10**9, 10**18

    def anchor(self) -> EpochAnchor:
        return EpochAnchor(lambda: self.monotonic, lambda: self.wall)

    def pass_s(self, seconds: float) -> None:
        self.monotonic += int(seconds * SECOND_NS)
        self.wall += int(seconds * SECOND_NS)


@pytest.mark.parametrize(("step_s", "word"), [(-3600, "back by 3600.0 s"), (7, "forward by 7.0 s")])
def test_a_step_of_the_clock_is_a_status_and_never_moves_time_back(tmp_path: Path, step_s: int, word: str) -> None:
    clocks = Clocks()
    with opened(tmp_path, anchor=clocks.anchor()) as backend:
        backend.status(1, "no face")
        clocks.wall += step_s * SECOND_NS
        backend._tick()
        backend.status(0, "OK")
    written = lines(tmp_path, "status.jsonl")
    assert [envelope.payload["code"] for envelope in written] == [1, StatusCode.CLOCK_STEPPED, 1, 0]
    assert word in written[1].payload["message"]
    assert all(a.timestamp < b.timestamp for a, b in pairwise(written))


def test_an_unchanged_status_is_repeated(tmp_path: Path) -> None:
    clocks = Clocks()
    with opened(tmp_path, anchor=clocks.anchor()) as backend:
        backend._tick()
        backend.status(0, "OK")
        for passed_s in (REPEAT_S - 1, 1, 1):
            clocks.pass_s(passed_s)
            backend._tick()
    assert codes(tmp_path) == [0, 0]


def test_a_status_has_the_time_of_its_picture(tmp_path: Path) -> None:
    told: list[tuple[Status, int]] = []
    with opened(tmp_path, now_us=lambda: 50, on_status=lambda *status: told.append(status)) as backend:
        backend.status(1, "no face", timestamp_us=40)
        backend.alarm(StatusCode.CAMERA_FAILED, "gone")
    assert [envelope.timestamp for envelope in lines(tmp_path, "status.jsonl")] == [40, 50]
    assert told == [((1, "no face"), 40), ((101, "gone"), 50)]


def test_worst_stands_last() -> None:
    board = StatusBoard()
    lost, low = Status(StatusCode.CAMERA_FAILED, "gone"), Status(StatusCode.DISK_LOW, "low")
    no_face, fine = Status(1, "no face"), Status(0, "OK")

    def say(due: list[Status]) -> list[Status]:
        for status in due:
            board.written(status, 0)
        return due

    assert board.tick(1e6) == []  # nothing is known yet
    assert say(board.first_ok()) == [fine]
    assert say(board.first_ok()) == []
    assert say(board.base(no_face)) == [no_face]
    assert say(board.alarm(low)) == [low, no_face]
    assert say(board.alarm(lost)) == [lost]
    assert say(board.base(fine)) == []
    assert say(board.base(no_face)) == []
    assert say(board.clear(StatusCode.CAMERA_FAILED)) == [no_face]
    assert say(board.clear(StatusCode.CAMERA_FAILED)) == []
    assert say(board.base(fine)) == [low]
    assert say(board.clear(StatusCode.DISK_LOW)) == [fine]


def test_what_could_not_be_written_is_written_when_it_can(tmp_path: Path) -> None:
    with opened(tmp_path) as backend:
        backend.status(0, "OK")
        with files_up_to((tmp_path / "status.jsonl").stat().st_size + 10):
            assert not backend.status(1, "no face")
            backend._tick()
        backend._tick()
    assert codes(tmp_path)[-1] == 1


@contextmanager
def locked_by_a_reader(path: Path) -> Iterator[None]:
    with path.open("rb") as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        yield


def test_a_lock_conflict_has_the_specs_words_and_its_remedy(tmp_path: Path) -> None:
    with opened(tmp_path) as backend:
        with locked_by_a_reader(tmp_path / EDGE_METRICS):
            backend.metrics("edge_metrics", 1, {"eda": 0.1})
            wait_for(lambda: codes(tmp_path) == [StatusCode.LOCK_CONFLICT])
        backend.status(0, "OK")
        backend.metrics("edge_metrics", 2, {"eda": 0.1})
    [conflict, ok] = lines(tmp_path, "status.jsonl")
    message = conflict.payload["message"]
    assert f"Resource temporarily unavailable: edge_metrics.jsonl is locked by process {os.getpid()}" in message
    assert f"lsof | grep {tmp_path.name}" in message
    assert "use_file_locking" in message
    assert ok.payload["code"] == 0
    assert len(lines(tmp_path, EDGE_METRICS)) == 2


def test_without_locking_nobody_can_be_in_the_way(tmp_path: Path) -> None:
    with opened(tmp_path, use_file_locking=False) as backend, locked_by_a_reader(tmp_path / EDGE_METRICS):
        backend.metrics("edge_metrics", 1, {"eda": 0.1})
        wait_for(lambda: len(lines(tmp_path, EDGE_METRICS)) == 1)
        assert backend.counters().edge_metrics.lock_conflicts == 0


# --- the disk


def test_numbered_frames_stop_before_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = 1000
    monkeypatch.setattr(backend_module, "free_bytes", lambda _: free)
    with opened(tmp_path, disk_floor=500) as backend:
        backend.put(jpeg(0))
        wait_for(lambda: backend.counters().frames.written == 1)
        free = 499
        backend.put(jpeg(1))
        wait_for(lambda: backend.counters().frames.written == 2)
        assert len(numbered(tmp_path)) == 1
        assert (tmp_path / "latest.jpg").read_bytes() == jpeg(1).data
        free = 600
        backend._tick()
        assert codes(tmp_path) == [0, StatusCode.DISK_LOW]
        free = 700
        backend._tick()
        backend.put(jpeg(2))
    assert len(numbered(tmp_path)) == 2
    assert codes(tmp_path) == [0, StatusCode.DISK_LOW, 0]


def test_frames_without_a_limit_leave_room_for_lines(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1024 * 1024) as folder, opened(folder, policy="block") as backend:
        for n in range(1000):
            backend.put(jpeg(n))
        wait_for(lambda: backend.counters().frames.written == 1000)
        assert 10 < len(numbered(folder)) < 1000
        backend.metrics("core_metrics", 1, CORE)
        wait_for(lambda: len(lines(folder, CORE_METRICS)) == 1)
        assert StatusCode.DISK_LOW in codes(folder)
        assert backend.counters().frames.failed == 0


def test_a_full_disk_says_so_frames_stop_and_everything_comes_back(tmp_path: Path) -> None:
    # "block": else lines that come faster than they are written push others out, full disk or not.
    with small_disk(tmp_path / "disk", 512 * 1024) as folder, opened(folder, policy="block") as backend:
        backend.put(jpeg(0))
        wait_for(lambda: backend.counters().frames.written == 1)
        with full(folder):
            count = 0
            while not backend.counters().core_metrics.dropped:
                count += 1
                backend.metrics("core_metrics", count, CORE)
            wait_for(lambda: StatusCode.DISK_FULL in codes(folder))
            held = backend.counters().frames.held_back
            backend.put(jpeg(1))
            wait_for(lambda: backend.counters().frames.held_back > held)
            found = lines(folder, CORE_METRICS)
            assert [envelope.timestamp for envelope in found] == list(range(1, len(found) + 1))
        backend.metrics("core_metrics", count + 1, CORE)
        wait_for(lambda: codes(folder)[-1] == 0)
        backend.put(jpeg(2))
        wait_for(lambda: (folder / "latest.jpg").read_bytes() == jpeg(2).data)
        wait_for(lambda: lines(folder, CORE_METRICS)[-1].timestamp == count + 1)


def test_frames_go_on_when_there_is_room_even_if_no_line_comes(tmp_path: Path) -> None:
    with opened(tmp_path) as backend:
        assert backend._frames is not None
        backend._frames.paused = True
        backend._tick()
        backend.put(jpeg(0))
    assert (tmp_path / "latest.jpg").exists()


def test_frames_without_a_limit_are_warned_of_in_gb_per_hour(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with opened(tmp_path, policy="block") as backend:
        for n in range(100):
            backend.put(jpeg(n))
    [record] = [record for record in caplog.records if "GB per hour" in record.getMessage()]
    size = len(jpeg(0).data)
    assert record.levelno == logging.WARNING
    assert f"{size * 30 * 3600 / 1e9:.1f} GB per hour" in record.getMessage()
    caplog.clear()
    with opened(tmp_path, policy="block", max_frame_count=5) as backend:
        for n in range(100):
            backend.put(jpeg(n))
    assert "GB per hour" not in caplog.text


def test_quality_100_is_warned_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with opened(tmp_path, compress_frames=False) as backend:
        backend.put(jpeg(0))
        backend.put(jpeg(1))
    assert caplog.text.count("quality 100") == 1
    with opened(tmp_path, compress_frames=False, frame_extension="png"):
        pass
    assert caplog.text.count("quality 100") == 1
