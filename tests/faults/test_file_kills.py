"""Writers of files killed at random moments: nothing that was written is lost, and nobody ever reads a torn thing."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from labwire.errors import LabwireError
from labwire.file_backend.line_reader import LineReader
from labwire.picture import check_jpeg, encode_jpeg
from labwire.wire.envelope import decode_envelope

WRITER = Path(__file__).parents[1] / "file_backend" / "torture_writer.py"
ROOT = Path(__file__).parents[2]
KILLS = 8  # of one folder
READERS = 4  # of lines, and as many of frames
LIMIT_S = 30.0


class Readers:
    """Readers in tight loops; what they saw that is not whole."""

    def __init__(self, folder: Path) -> None:
        self.bad: list[str] = []
        self.lines = [0] * READERS
        self.frames = [0] * READERS
        self._folder, self._ending = folder, threading.Event()
        works = [self._read_lines, self._read_frames]
        self._threads = [threading.Thread(target=work, args=(n,)) for work in works for n in range(READERS)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(LIMIT_S)

    def _read_lines(self, n: int) -> None:
        reader, expected = LineReader(self._folder / "core_metrics.jsonl"), 0
        last = False
        while not last:
            last = self._ending.wait(0.001)
            for line in reader.take():
                try:
                    number = decode_envelope(line.data).payload["number"]
                except LabwireError as error:
                    self.bad.append(f"line before byte {line.offset}: {error}")
                    continue
                if number != expected:
                    self.bad.append(f"number {number} where {expected} was expected")
                expected = number + 1
                self.lines[n] += 1
        reader.close()

    def _read_frames(self, n: int) -> None:
        path = self._folder / "latest.jpg"
        while not self._ending.wait(0.0005):
            try:
                check_jpeg(path.read_bytes())
                self.frames[n] += 1
            except FileNotFoundError:
                if self.frames[n]:
                    self.bad.append("the newest frame was gone")
            except LabwireError as error:
                self.bad.append(f"frame: {error}")


def kill_one(folder: Path, pictures: list[Path], wait_s: float) -> int:
    """Run a writer, kill it; return the number that it had surely come to."""
    command = [sys.executable, str(WRITER), str(folder), *map(str, pictures)]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env) as writer:
        assert writer.stdout
        told = [writer.stdout.readline()]
        time.sleep(wait_s)  # the moment of death is what this is about
        writer.send_signal(signal.SIGKILL)
        told += writer.stdout.readlines()
    return max(int(line) for line in told if line.endswith(b"\n"))


def kill_some(folder: Path, pictures: list[Path], rng: random.Random) -> tuple[int, int, int]:
    """Kill a few writers of one folder, one after the other; return lines, torn tails and frames that were read."""
    folder.mkdir()
    readers, tails = Readers(folder), 0
    numbers: list[int] = []
    try:
        for _ in range(KILLS):
            written = kill_one(folder, pictures, rng.uniform(0, 0.05))
            *lines, rest = (folder / "core_metrics.jsonl").read_bytes().split(b"\n")
            numbers = [decode_envelope(line).payload["number"] for line in lines]
            assert numbers == list(range(len(numbers)))
            assert len(numbers) >= written
            tails += bool(rest)
            # Frames that stand under their names are whole; what was under way has another name.
            for path in folder.iterdir():
                if re.fullmatch(r"(frame\d{16}|latest)\.jpg", path.name):
                    check_jpeg(path.read_bytes())
    finally:
        readers.end()
    assert readers.bad == []
    assert set(readers.lines) == {len(numbers)}
    assert min(readers.frames) > 0
    assert len([path for path in folder.iterdir() if path.name.startswith("frame")]) <= 8
    return len(numbers), tails, sum(readers.frames)


@pytest.mark.timeout(1800)
def test_killed_writers_lose_nothing_and_show_nothing_torn(
    tmp_path: Path, seed: int, soak: Callable[[int, int], int]
) -> None:
    rng = random.Random(seed)
    noise = np.random.default_rng(1).integers(0, 255, (480, 640, 3), np.uint8)
    pictures = [tmp_path / f"{quality}.jpeg" for quality in (30, 95)]
    for path in pictures:
        path.write_bytes(encode_jpeg(noise, int(path.stem)))
    sums = [0, 0, 0]
    for n in range(soak(1, 500 // KILLS + 1)):
        folder = tmp_path / f"out{n}"
        sums = [before + more for before, more in zip(sums, kill_some(folder, pictures, rng), strict=True)]
        shutil.rmtree(folder)
    print("{} lines, {} unterminated tails, {} frames were read".format(*sums))
