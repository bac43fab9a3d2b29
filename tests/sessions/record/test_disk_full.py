"""A disk that is full, for real: a file system of a few megabytes, and a limit on the size of files."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labwire.clock import RigClock, monotonic_s
from labwire.errors import DeviceError, DiskLowError
from labwire.sessions import events
from labwire.sessions.check.repair import repair_session
from labwire.sessions.config import RecorderConfig
from labwire.sessions.folder import free_bytes, list_sessions
from labwire.sessions.record.recording import SessionRecorder
from tests.sessions.logs import read_messages
from tests.sessions.making import datum, jpeg, picture_parts, wait_for
from tests.sessions.strict_player import check_folder, load_data

ROOT = Path(__file__).parents[3]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(disk)]
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root; the limit on file size below tests the same without")
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def record_until_it_ends(
    root: Path, *, leave_bytes: int = 0, **config: object
) -> tuple[Path, list[tuple[str, dict[str, object]]], int]:
    """Record until the session ends by itself; return its folder, the events, and how many messages were taken.

    No more is sent when less than `leave_bytes` are free.
    """
    clock = RigClock.create()
    happened: list[tuple[str, dict[str, object]]] = []
    options = {"disk_warn_bytes": 0, "disk_stop_bytes": 0, "sync_s": 0.0, "flush_s": 0.02, **config}
    recorder = SessionRecorder(
        RecorderConfig(root=str(root), **options),
        clock,
        on_event=lambda kind, data: happened.append((kind, data)),
    )
    folder = Path(recorder.start("full").rec_path)
    number = 0

    def has_ended() -> bool:
        return any(kind == events.ENDED for kind, _ in happened) or recorder.counters() == {}

    while not any(kind == events.ENDED for kind, _ in happened):
        now_s = monotonic_s()
        if leave_bytes and number % 500 == 0:
            written = number  # what waits would be written however little is free
            wait_for(lambda written=written: has_ended() or recorder.counters()["bus"].written >= written)
        enough = free_bytes(root) >= leave_bytes and number < 200_000
        if enough and recorder.put(datum("pupil.0", now_s, number=number, filling="x" * 300), now_s):
            number += 1
            if number % 500 == 0:
                recorder.put(picture_parts("frame.world", now_s, jpeg(number % 50)), now_s)
        else:
            wait_for(has_ended)
    clock.close()
    return folder, happened, number


def test_a_disk_that_is_full_ends_the_session_with_whole_files(small_disk: Path) -> None:
    folder, happened, _ = record_until_it_ends(small_disk)
    kinds = [kind for kind, _ in happened]
    assert events.STREAM_FAILED in kinds
    ended = happened[-1][1]
    assert ended["ended"] == events.DISK_FAILED
    (row,) = list_sessions(small_disk)
    if row.state == "broken":  # somebody else took even the last bytes; then there is something to repair later
        repair_session(folder)
    messages = [parts for parts in read_messages(folder / "bus.mcap") if parts[0] == b"pupil.0"]
    assert len(messages) > 3000
    check_folder(folder)
    assert 3000 < len(load_data(folder, "pupil")) <= len(messages)


def test_low_space_ends_the_session_before_the_disk_is_full(small_disk: Path) -> None:
    stop_bytes = 6_000_000  # no more comes then: on a busy machine the disk would be full before the guard looks
    folder, happened, _ = record_until_it_ends(
        small_disk, leave_bytes=stop_bytes, disk_warn_bytes=9_000_000, disk_stop_bytes=stop_bytes
    )
    assert events.DISK_LOW in [kind for kind, _ in happened]
    assert list_sessions(small_disk)[0].state == "complete"
    check_folder(folder)
    clock = RigClock.create()
    recorder = SessionRecorder(RecorderConfig(root=str(small_disk)), clock)
    with pytest.raises(DiskLowError):
        recorder.start("again")
    clock.close()


def test_nothing_is_left_of_a_session_for_which_there_is_no_room(small_disk: Path) -> None:
    try:
        with (small_disk / "filling").open("wb", buffering=0) as file:
            while file.write(bytes(4096)) == 4096:
                pass
    except OSError:
        pass
    clock = RigClock.create()
    recorder = SessionRecorder(RecorderConfig(root=str(small_disk), disk_stop_bytes=0, disk_warn_bytes=0), clock)
    with pytest.raises(DeviceError, match="space"):
        recorder.start("x")
    clock.close()
    assert [path.name for path in small_disk.iterdir()] == ["filling"]


def test_a_limit_on_the_size_of_files_ends_the_session_with_whole_files(tmp_path: Path) -> None:
    # In a process of its own: the limit cannot be raised again. 3 MB of log, then "File too large".
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    command = [sys.executable, "-m", "tests.sessions.record.test_disk_full", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    (row,) = list_sessions(tmp_path)
    folder = Path(row.path)
    if row.state == "broken":  # not even the index found room in the file
        repair_session(folder)
    messages = read_messages(folder / "bus.mcap")
    assert len(messages) > 3000
    check_folder(folder)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
    record_until_it_ends(Path(sys.argv[1]))
