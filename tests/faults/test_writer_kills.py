"""Writers killed at random moments of a run, stopped for seconds, or on a disk that is really full."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from labwire.images.repair import repair_folder
from labwire.testing.processes import running_process
from labwire.wire.run_result import RunResult
from labwire.wire.tcp_run import SenderRun
from tests.images.runs import end, image, pixels_of, start_message, start_of, stored_images
from tests.images.tcp_detector import TcpDetector, stepping
from tests.images.told import Told

IMAGES, PER_FILE = 60, 10
ROOT = Path(__file__).parents[2]


@contextmanager
def writer(detector: TcpDetector, folder: Path, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """``labwire write`` in a process of its own."""
    command = [sys.executable, "-m", "labwire", "write", detector.address, "-o", str(folder), "--json", *more]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with running_process(command, env=env) as process:
        detector.wait_writers(1)
        yield process


def send_run(
    detector: TcpDetector, number: int, at: dict[int, Callable[[SenderRun], object]] | None = None
) -> RunResult:
    """One run; what `at` has for an image is done before it is sent."""
    start = start_message(IMAGES, PER_FILE, run=number, user={"file_prefix": f"run{number}"})
    run = detector.begin(number, start_of(start), images_per_file=PER_FILE)
    for image_number in range(IMAGES):
        (at or {}).get(image_number, lambda _: None)(run)
        detector.send(run, image_number, image(image_number))
    return detector.end(run, end())


def good_images(path: Path) -> int:
    """Check each image of a finished file; return how many there are."""
    first = PER_FILE * (int(path.stem[-6:]) - 1)
    with h5py.File(path) as file:
        pixels: Any = file["entry/data/data"]
        assert pixels.shape[0] == PER_FILE
        assert (pixels[()] == np.stack([pixels_of(first + n) for n in range(PER_FILE)])).all(), path
    return PER_FILE


def test_killed_at_random_moments(tmp_path: Path, seed: int, soak: Callable[[int, int], int]) -> None:
    """Finished files are good, the detector knows what is missing, a repair finds all that was acknowledged, and the
    next writer goes on.
    """
    chance = random.Random(seed)
    with TcpDetector() as detector:
        for number in range(1, 1 + soak(3, 200)):
            folder = tmp_path / str(number)
            with writer(detector, folder) as process:
                moment, later_s = chance.randrange(IMAGES), chance.uniform(0, 0.003)

                def kill(_: SenderRun, process: subprocess.Popen[bytes] = process, later_s: float = later_s) -> None:
                    time.sleep(later_s)
                    process.kill()

                result = send_run(detector, number, {moment: kill})
            detector.until(lambda: not detector.sockets, "the dead writer is let go")
            assert not result.ok
            assert result.acknowledged <= moment
            assert result.acknowledged + result.missing + result.failed == result.offered
            finished = sorted(folder.glob("*_data_*.h5"))
            assert sum(map(good_images, finished)) == len(finished) * PER_FILE
            # A file is finished before its last image is acknowledged.
            assert len(finished) >= result.acknowledged // PER_FILE
            assert list(folder.glob("*_master.h5")) == []
            repaired = repair_folder(folder)
            assert not [file for file in repaired if file.outcome == "left" or file.lost]
            # Every image that was acknowledged is in a file, and what is in a file was sent.
            assert set(range(result.acknowledged)) <= stored_images(folder, PER_FILE)
            assert sorted(path.suffix for path in folder.iterdir()) == [".h5"] * len(list(folder.iterdir()))
            if number % 20 == 1:
                with writer(detector, folder):  # the next run, into the same folder
                    assert send_run(detector, 1000 + number).ok
                assert sum(map(good_images, folder.glob(f"run{1000 + number}_data_*.h5"))) == IMAGES
                detector.until(lambda: not detector.sockets)
            shutil.rmtree(folder)


@pytest.mark.soak
def test_stopped_for_four_seconds(tmp_path: Path) -> None:
    """None of 1,000 images is lost when the whole process stands still."""
    with TcpDetector() as detector, writer(detector, tmp_path) as process:
        start = start_message(1000, 100, user={"file_prefix": "run7"})
        run = detector.begin(7, start_of(start), images_per_file=100)
        for number in range(1000):
            if number == 300:
                process.send_signal(signal.SIGSTOP)
                until_s = time.monotonic() + 4.0
                detector.until(lambda until_s=until_s: time.monotonic() > until_s or not run.ready_for(300))
                detector.until(lambda until_s=until_s: time.monotonic() > until_s)
                process.send_signal(signal.SIGCONT)
            detector.send(run, number, image(number))
        result = detector.end(run, end())
    assert result.ok, result
    assert result.acknowledged == 1000


def test_asked_to_end_in_the_middle_of_a_run(tmp_path: Path) -> None:
    with TcpDetector() as detector, writer(detector, tmp_path) as process:

        def ask(run: SenderRun) -> None:
            detector.until(lambda: run.result().acknowledged >= 20)
            process.send_signal(signal.SIGTERM)
            # It may take long to hear that, and would store the whole run meanwhile.
            detector.until(lambda: not detector.sockets, "the writer is gone")

        result = send_run(detector, 7, {25: ask})
        assert process.stdout is not None
        told = [json.loads(line) for line in process.stdout.read().splitlines()]
        assert process.wait(20) == 1
    (finished,) = told
    assert (finished["event"], finished["ended"], finished["ok"]) == ("run_finished", "stopped", False)
    assert finished["images"] >= result.acknowledged  # what had come was stored, though nobody heard of it any more
    with h5py.File(finished["master_file"]) as file:
        stored: Any = file["entry/detector/image_stored"]
        assert stored[()].sum() == finished["images"]


# --- a small file system of its own, in a name space of its own

_ON_A_SMALL_DISK = """
import sys, json
from pathlib import Path
from tests.faults.test_writer_kills import run_on_small_disk
print(json.dumps(run_on_small_disk(Path(sys.argv[1]))))
"""
_SPACE = ["unshare", "--user", "--map-root-user", "--mount"]


def can_mount(folder: Path) -> bool:
    """Whether this machine lets us have a file system of a size of our choice."""
    if shutil.which("unshare") is None:
        return False
    command = [*_SPACE, "mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    return subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0


def run_on_small_disk(folder: Path) -> dict[str, Any]:
    """In the name space: a run that does not fit, one that does after the first is removed."""
    from labwire.images.config import WriterConfig
    from labwire.images.writer import ImageWriter

    with TcpDetector() as detector:
        config = WriterConfig(address=detector.address, folder=str(folder))
        told = Told()
        with ImageWriter(config, told.hear):
            detector.wait_writers(1)
            start = start_message(1000, 250, user={"file_prefix": "big"})
            run = detector.begin(7, start_of(start), images_per_file=250)
            for number in range(1000):
                detector.send(run, number, image(number, "none"))
            result = detector.end(run, end())
            detector.until(lambda: told.of("run_finished"))
            with stepping(detector):
                counts: list[int] = []
                for path in sorted(folder.glob("*_data_*.h5")):
                    first = 250 * (int(path.stem[-6:]) - 1)
                    with h5py.File(path) as file:
                        pixels: Any = file["entry/data/data"]
                        stored: Any = file["entry/detector/image_stored"]
                        places = np.flatnonzero(stored[()])
                        assert all((pixels[n] == pixels_of(first + int(n))).all() for n in places)
                        counts.append(len(places))
                masters = len(list(folder.glob("*_master.h5")))
                for path in folder.iterdir():
                    path.unlink()
            following = send_run(detector, 8)
    return {
        "code": result.faults[0].code,
        "message": result.faults[0].message,
        "acknowledged": result.acknowledged,
        "stored": sum(counts),
        "masters": masters,
        "next": following.ok,
    }


@pytest.mark.timeout(150)
def test_a_small_disk_gets_really_full(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if not can_mount(small):
        pytest.skip("no file system of our own can be mounted here")
    script = f'mount -t tmpfs -o size=4m none "$1" && exec "{sys.executable}" -c "$2" "$1"'
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    done = subprocess.run(
        [*_SPACE, "sh", "-c", script, "sh", str(small), _ON_A_SMALL_DISK],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["code"] == "NoSpaceLeft"
    assert "no space left on device" in told["message"]
    assert told["acknowledged"] > 300
    assert told["stored"] == told["acknowledged"]
    assert (told["masters"], told["next"]) == (1, True)
