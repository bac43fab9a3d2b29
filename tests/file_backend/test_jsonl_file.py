"""Lines are whole, in order, and survive full disks, killed writers, locks and rotation."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labwire.errors import DeviceError, UsageError
from labwire.file_backend import jsonl_tail
from labwire.file_backend.jsonl_file import JsonlFile, Line
from labwire.wire.envelope import Envelope, decode_envelope, encode_envelope
from tests.file_backend.disks import files_up_to, full, small_disk

SRC = Path(__file__).parents[2] / "src"


class Events(list[tuple[str, dict[str, Any]]]):
    """Collects what a file reports."""

    def __call__(self, kind: str, data: dict[str, Any]) -> None:
        self.append((kind, data))

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self]


def read(path: Path) -> list[Envelope]:
    data = path.read_bytes()
    assert data == b"" or data.endswith(b"\n")
    return [decode_envelope(line) for line in data.splitlines()]


def timestamps(path: Path) -> list[int]:
    return [envelope.timestamp for envelope in read(path)]


def line(timestamp_us: int, text: str = "") -> bytes:
    return encode_envelope(Envelope("status", timestamp_us, {"message": text}))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "status.jsonl"


def test_line_is_there_as_soon_as_it_is_appended(path: Path) -> None:
    with JsonlFile(path) as file:
        assert file.append("status", 5, {"code": 0, "message": "OK"})
        assert path.read_text() == '{"type":"status","timestamp":5,"payload":{"code":0,"message":"OK"}}\n'
        assert file.counters().written == 1


@given(stamps=st.lists(st.integers(0, 2**40), max_size=20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_timestamps_always_rise(path: Path, stamps: list[int]) -> None:
    path.unlink(missing_ok=True)
    with JsonlFile(path) as file:
        for stamp in stamps:
            file.append("status", stamp, {})
        file.append_all([Line("status", stamp, {}) for stamp in stamps])
    written = timestamps(path)
    assert len(written) == 2 * len(stamps)
    assert all(earlier < later for earlier, later in pairwise(written))


def test_stamps_that_rise_are_kept(path: Path) -> None:
    with JsonlFile(path) as file:
        for stamp in (3, 7, 7, 20):
            file.append("status", stamp, {})
        assert file.counters().moved_timestamps == 1
    assert timestamps(path) == [3, 7, 8, 20]


def test_stamps_go_on_rising_after_a_restart(path: Path) -> None:
    for _ in range(2):
        with JsonlFile(path) as file:
            file.append("status", 1000, {})
    assert timestamps(path) == [1000, 1001]


def test_many_lines_take_few_writes_of_whole_lines(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[bytes] = []
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: sizes.append(bytes(data)) or write(fd, data))
    with JsonlFile(path, buffer_bytes=1000) as file:
        assert file.append_all([Line("edge_metrics", n, {"eda": n / 10}) for n in range(100)]) == 100
        assert file.append("edge_metrics", 100, {"long": "x" * 5000})
    assert all(data.endswith(b"\n") for data in sizes)
    assert all(len(data) <= 1000 for data in sizes[:-1])
    assert len(sizes) < 15
    assert timestamps(path) == list(range(101))


def test_payload_that_is_no_json_is_the_callers_fault_and_writes_nothing(path: Path) -> None:
    with JsonlFile(path) as file:
        with pytest.raises(UsageError):
            file.append_all([Line("status", 1, {}), Line("status", 2, {"value": float("nan")})])
        assert file.append("status", 3, {})
    assert timestamps(path) == [3]


def test_truncate_begins_anew_in_the_same_file(path: Path) -> None:
    path.write_bytes(line(50) * 3)
    inode = path.stat().st_ino
    file = JsonlFile(path)
    file.open(truncate=True)
    assert file.append("status", 1, {})
    file.close()
    assert timestamps(path) == [1]
    assert path.stat().st_ino == inode


@pytest.mark.parametrize("rest", [b'{"type":"sta', line(60)[:-5], b"\xe2\x82", b"{}", b"\x00" * 100])
def test_torn_line_is_cut_off_before_the_first_append(path: Path, rest: bytes) -> None:
    path.write_bytes(line(50) + rest)
    events = Events()
    with JsonlFile(path, on_event=events) as file:
        file.append("status", 60, {})
        assert file.counters().repaired_bytes == len(rest)
    assert timestamps(path) == [50, 60]
    assert events == [("repaired", {"file": str(path), "cut_bytes": len(rest)})]


def test_whole_line_that_lacks_its_newline_is_kept(path: Path) -> None:
    path.write_bytes(line(50) + line(60).rstrip())
    with JsonlFile(path) as file:
        file.append("status", 60, {})
        assert file.counters().repaired_bytes == 0
    assert timestamps(path) == [50, 60, 61]


def test_long_torn_line_is_found_over_many_chunks(path: Path) -> None:
    path.write_bytes(line(50) + line(51, "x" * 300_000) + line(52, "y" * 500_000)[:-9])
    with JsonlFile(path) as file:
        file.append("status", 1, {})
    assert timestamps(path) == [50, 51, 52]


def test_rest_that_is_longer_than_any_line_is_not_ours_and_is_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl_tail, "MAX_LINE_BYTES", 1000)
    path.write_bytes(b"z" * 70_000)
    with JsonlFile(path) as file:
        file.append("status", 1, {})
    assert path.read_bytes() == b"z" * 70_000 + b"\n" + line(1).replace(b'{"message":""}', b"{}")


@given(content=st.binary(max_size=300), keep=st.integers(0, 100))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_stands_there_the_next_line_is_whole(path: Path, content: bytes, keep: int) -> None:
    path.write_bytes(content + line(5)[:keep])
    with JsonlFile(path) as file:
        assert file.append("status", 7, {"message": "new"})
    assert decode_envelope(path.read_bytes().splitlines()[-1]).payload == {"message": "new"}


def test_what_a_full_disk_took_of_a_line_is_cut_off_again(path: Path) -> None:
    events = Events()
    with JsonlFile(path, on_event=events) as file:
        file.append("status", 1, {"message": "fits"})
        size = path.stat().st_size
        with files_up_to(size + 20):
            assert not file.append("status", 2, {"message": "does not fit"})
            assert not file.append("status", 3, {"message": "nor does this"})
            assert path.stat().st_size == size
        assert file.append("status", 4, {"message": "fits again"})
        counters = file.counters()
    assert timestamps(path) == [1, 4]
    assert (counters.written, counters.dropped) == (2, 2)
    assert events.kinds() == ["failed", "recovered"]
    assert events[1][1]["dropped"] == 2


def test_whole_lines_of_a_short_write_are_kept_and_counted(path: Path) -> None:
    with JsonlFile(path) as file, files_up_to(3 * len(line(10)) + 5):
        assert file.append_all([Line("status", 10 + n, {"message": ""}) for n in range(10)]) == 3
        counters = file.counters()
    assert timestamps(path) == [10, 11, 12]
    assert (counters.written, counters.dropped) == (3, 7)


def test_really_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 64 * 1024) as folder, JsonlFile(folder / "status.jsonl") as file:
        with full(folder):
            written = sum(file.append("status", n, {"message": "x" * 50}) for n in range(200))
            assert file.counters().dropped == 200 - written > 0
            assert len(read(folder / "status.jsonl")) == written
        assert file.append("status", 1000, {})
        assert len(read(folder / "status.jsonl")) == written + 1


def rename(path: Path) -> None:
    path.rename(path.with_suffix(".1"))


def cut(path: Path) -> None:
    os.truncate(path, 0)


def cut_in_a_line(path: Path) -> None:
    os.truncate(path, 10)


def replace(path: Path) -> None:
    other = path.with_suffix(".other")
    other.write_bytes(line(500) + b"torn")
    other.replace(path)


@pytest.mark.parametrize("rotate", [rename, cut, cut_in_a_line, replace, Path.unlink])
def test_rotation_is_followed(path: Path, rotate: Callable[[Path], None]) -> None:
    events = Events()
    with JsonlFile(path, on_event=events) as file:
        file.append("status", 100, {})
        rotate(path)
        file.append("status", 50, {"message": "new"})
        file.append("status", 600, {})
        assert file.counters().rotations == 1
        assert file.counters().dropped == 0
    assert read(path)[-2].payload == {"message": "new"}
    assert timestamps(path)[-2] > 100
    assert timestamps(path)[-1] >= 600
    assert "rotated" in events.kinds()


def test_torn_line_of_somebody_else_does_not_fuse_with_ours(path: Path) -> None:
    with JsonlFile(path) as file:
        file.append("status", 1, {})
        with path.open("ab") as other:
            other.write(b'{"type":"sta')
        file.append("status", 2, {})
        assert file.counters().repaired_bytes == 12
    assert timestamps(path) == [1, 2]


def test_folder_that_vanishes_is_counted_until_it_is_back(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    events = Events()
    with JsonlFile(folder / "status.jsonl", on_event=events) as file:
        file.append("status", 1, {})
        (folder / "status.jsonl").unlink()
        folder.rmdir()
        assert not file.append("status", 2, {})
        folder.mkdir()
        assert file.append("status", 3, {})
    assert timestamps(folder / "status.jsonl") == [3]
    assert events.kinds() == ["failed", "recovered"]


@contextmanager
def locked_by_a_reader(path: Path) -> Iterator[None]:
    with path.open("rb") as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        yield


def test_lock_that_somebody_keeps_costs_no_line(path: Path) -> None:
    events = Events()
    with JsonlFile(path, on_event=events) as file:
        with locked_by_a_reader(path):
            assert file.append("status", 1, {})
            assert file.append("status", 2, {})
        assert file.append("status", 3, {})
        assert file.counters().lock_conflicts == 2
    assert timestamps(path) == [1, 2, 3]
    assert events == [
        ("lock_conflict", {"file": str(path), "pid": os.getpid()}),
        ("lock_free", {"file": str(path)}),
    ]


def test_lock_is_held_while_a_line_is_written_and_not_longer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def is_locked() -> bool:
        with path.open("rb") as reader:
            try:
                fcntl.flock(reader, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    seen: list[bool] = []
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: seen.append(is_locked()) or write(fd, data))
    with JsonlFile(path) as file:
        file.append("status", 1, {})
        assert not is_locked()
    with JsonlFile(path, locking=False) as file:
        file.append("status", 2, {})
    assert seen == [True, False]


def test_file_system_without_locks_is_written_without(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(fd: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with JsonlFile(path) as file:
        assert file.append("status", 1, {})
    assert timestamps(path) == [1]


def test_listener_may_append_to_the_same_file(path: Path) -> None:
    def listener(kind: str, data: dict[str, Any]) -> None:
        file.append("status", 99, {"message": kind})

    path.write_bytes(b"torn")
    file = JsonlFile(path, on_event=listener)
    with file:
        assert [envelope.payload["message"] for envelope in read(path)] == ["repaired"]


def test_listener_that_raises_costs_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def listener(kind: str, data: dict[str, Any]) -> None:
        raise RuntimeError(kind)

    path.write_bytes(b"torn")
    with JsonlFile(path, on_event=listener) as file:
        assert file.append("status", 1, {})
    assert "telling of repaired" in caplog.text


def test_threads_share_a_file(path: Path) -> None:
    def append_many() -> None:
        for n in range(200):
            file.append("status", n, {"message": "x" * 200})

    with JsonlFile(path) as file:
        threads = [threading.Thread(target=append_many) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(set(timestamps(path))) == 800


def follow(path: Path, done: threading.Event, *, locking: bool) -> tuple[list[int], int]:
    """Read as it grows, until `done`; return the timestamps of the lines and how often one was seen unfinished."""
    seen: list[int] = []
    unfinished, rest = 0, b""
    with path.open("rb", buffering=0) as reader:
        last = False
        while not last:
            last = done.wait(0.0002)
            if locking:
                fcntl.flock(reader, fcntl.LOCK_SH)
            rest += reader.readall()
            if locking:
                fcntl.flock(reader, fcntl.LOCK_UN)
            *lines, rest = rest.split(b"\n")
            unfinished += bool(rest)
            seen += [json.loads(each)["timestamp"] for each in lines]
    return seen, unfinished


@pytest.mark.parametrize("locking", [True, False])
def test_reader_that_follows_misses_nothing(path: Path, *, locking: bool, soak: Callable[[int, int], int]) -> None:
    count = soak(1000, 20_000)
    results: list[tuple[list[int], int]] = []
    done = threading.Event()
    with JsonlFile(path) as file:
        reader = threading.Thread(target=lambda: results.append(follow(path, done, locking=locking)))
        reader.start()
        for n in range(count):
            file.append("status", n, {"message": "x" * (7 * n % 20_000)})
        done.set()
        reader.join()
        conflicts = file.counters().lock_conflicts
    [(seen, unfinished)] = results
    assert seen == list(range(count))
    # Without the lock the beginning of a long line may be seen while its end is on its way.
    assert not locking or unfinished <= conflicts


def test_killed_writer_leaves_at_most_one_torn_line_and_the_next_one_mends_it(path: Path) -> None:
    code = f"""
import itertools, sys
from pathlib import Path
from labwire.file_backend.jsonl_file import JsonlFile
with JsonlFile(Path({str(path)!r})) as file:
    for n in itertools.count():
        file.append("status", n, {{"message": "x" * 1_000_000}})
        print(n, flush=True)
"""
    writer = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(SRC)}
    )
    assert writer.stdout is not None
    written = [int(writer.stdout.readline()) for _ in range(20)]
    writer.send_signal(signal.SIGKILL)
    written += [int(each) for each in writer.stdout]
    writer.wait()
    writer.stdout.close()
    with JsonlFile(path) as file:
        file.append("status", 0, {"message": "after"})
    found = read(path)
    assert len(written) <= len(found) - 1 <= len(written) + 1
    assert found[-1].payload == {"message": "after"}


def test_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    (tmp_path / "status.jsonl").mkdir()
    with pytest.raises(DeviceError, match=r"status\.jsonl cannot be opened for writing"):
        JsonlFile(tmp_path / "status.jsonl").open()


def test_closed_file_drops_and_counts(path: Path) -> None:
    with JsonlFile(path) as file:
        file.append("status", 1, {})
    file.close()
    assert not file.append("status", 2, {})
    assert file.counters().dropped == 1
    assert timestamps(path) == [1]
