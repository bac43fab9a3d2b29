"""One server for each name: refused with the pid while it lives, free and clean when it is dead."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from labwire.errors import InvalidNameError, RefusedError, ResourceError
from labwire.instruments.queues.open import create_pair
from labwire.instruments.supervision import name_lock
from labwire.instruments.supervision.name_lock import NameLock, WorkerLock, runtime_folder

NAME = f"L{os.getpid()}"
HOLD = f"""
import sys
from labwire.instruments.supervision.name_lock import NameLock
from labwire.instruments.queues.open import create_pair
lock = NameLock({NAME!r})
pair = create_pair("boost", {NAME!r})
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_living_server_is_named() -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        with pytest.raises(
            RefusedError, match=f"served already, by process {process.pid} .*{sys.executable}"
        ) as caught:
            NameLock(NAME)
        assert caught.value.data["pid"] == process.pid
        process.kill()
        process.wait()
        waveform = Path(f"/dev/shm/labwire_{process.pid}_{NAME}_3_17")
        others = [
            Path(f"/dev/shm/labwire_{process.pid}_{NAME}_1_3_17"),
            Path(f"/dev/shm/labwire_{os.getpid()}_{NAME}_3_1"),
        ]
        for path in (waveform, *others):
            path.touch()
        try:
            with NameLock(NAME) as lock:
                assert sorted(lock.clean()) == sorted(
                    [f"/dev/shm/instrument_{NAME}_req", f"/dev/shm/instrument_{NAME}_resp", str(waveform)]
                )
                assert lock.clean() == []
                assert all(path.exists() for path in others), "another instrument's, and our own"
        finally:
            for path in (waveform, *others):
                path.unlink(missing_ok=True)


def test_released_is_free_again_and_leaves_no_file() -> None:
    lock = NameLock(NAME)
    with pytest.raises(RefusedError, match=f"by process {os.getpid()} "):
        NameLock(NAME)
    lock.release()
    lock.release()
    NameLock(NAME).release()
    assert not list(runtime_folder().glob(f"*{NAME}*"))


@pytest.mark.parametrize("before", ["", "4194305\n"])  # no process has a number above 2^22
def test_who_has_just_taken_it_is_named_though_the_file_does_not_say_it_yet(
    before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(name_lock, "_PID_LIMIT_S", 20.0)
    with NameLock(NAME):
        file = runtime_folder() / f"instrument_{NAME}.lock"
        file.write_text(before)
        writing = threading.Timer(0.05, file.write_text, [f"{os.getpid()}\n"])
        writing.start()
        with pytest.raises(RefusedError, match=f"by process {os.getpid()} "):
            NameLock(NAME)
        writing.join()


def test_what_is_in_use_is_not_cleaned() -> None:
    with NameLock(NAME) as lock, create_pair("boost", NAME):
        assert lock.clean() == []


def test_only_one_of_many_gets_it() -> None:
    for _ in range(30):
        locks: list[NameLock] = []
        together = threading.Barrier(4)

        def take(locks: list[NameLock] = locks, together: threading.Barrier = together) -> None:
            together.wait()
            try:
                locks.append(NameLock(NAME))
            except RefusedError:
                pass

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(locks) == 1
        locks[0].release()


def test_names_and_folders_that_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(InvalidNameError):
        NameLock("../x")
    open_folder = tmp_path / "labwire-open"
    open_folder.mkdir(mode=0o755)
    monkeypatch.setattr(name_lock, "Path", lambda text: open_folder if "labwire" in text else tmp_path / "none")
    with pytest.raises(ResourceError, match="must belong to this user alone"):
        runtime_folder()
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(ResourceError, match="Linux"):
        NameLock(NAME)


def test_a_worker_by_hand_has_a_place_of_its_own() -> None:
    with NameLock(NAME), WorkerLock(NAME):
        with pytest.raises(RefusedError, match=f"{NAME} has a worker already, process {os.getpid()} ") as caught:
            WorkerLock(NAME)
        assert caught.value.data["pid"] == os.getpid()
    with WorkerLock(NAME):
        pass
