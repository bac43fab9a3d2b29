"""Frames per second: replaced as a whole beside written in place; and how often a reader finds a torn one."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.common import Case
from labwire.errors import LabwireError
from labwire.file_backend.config import FileIpcOptions
from labwire.file_backend.pictures import PictureFiles
from labwire.file_backend.replace import replace_file, write_new
from labwire.picture import Picture, check_jpeg, encode_jpeg

WIDTH, HEIGHT, QUALITY = 640, 480, 90
RATE_HZ = 60
LIMIT_COUNT = 1000

ATOMIC = "labwire, latest.jpg replaced as a whole"
IN_PLACE = "latest.jpg written in place"
OS_REPLACE = "latest.jpg by a temporary file and os.replace"
BACKEND = "labwire's backend: latest.jpg and a numbered frame, 1000 kept"
NAMES = (ATOMIC, OS_REPLACE, IN_PLACE, BACKEND)


class Torn(NamedTuple):
    """What a reader in a tight loop found."""

    name: str
    reads: int
    torn: int


def jpeg() -> bytes:
    """Return the picture that is written: a noisy one, as a camera's is."""
    noise = np.random.default_rng(1).normal(110, 12, (HEIGHT, WIDTH, 3))
    return encode_jpeg(np.clip(noise, 0, 255).astype(np.uint8), QUALITY)


def cases(folder: Path, count: int) -> list[Case]:
    """Return the cases; each writes so many frames."""
    data = jpeg()

    def case(name: str, run: Callable[[Path, bytes, int], None]) -> Case:
        def measure() -> list[float]:
            here = folder / "frames"
            here.mkdir()
            started_s = time.perf_counter()
            run(here, data, count)
            elapsed_s = time.perf_counter() - started_s
            shutil.rmtree(here)
            return [count / elapsed_s]

        return Case(name, measure)

    return [
        case(ATOMIC, lambda here, data, n: _repeat(_atomic, here, data, n)),
        case(OS_REPLACE, lambda here, data, n: _repeat(_os_replace, here, data, n)),
        case(IN_PLACE, lambda here, data, n: _repeat(_in_place, here, data, n)),
        case(BACKEND, _backend),
    ]


def count_torn(folder: Path, seconds: float) -> list[Torn]:
    """Read in a tight loop while frames are written 60 times a second; count what is not whole."""
    data = jpeg()
    found: list[Torn] = []
    for name, write in ((ATOMIC, _atomic), (IN_PLACE, _in_place)):
        here = folder / "torn"
        here.mkdir()
        write(here, data)
        ending = threading.Event()
        writer = threading.Thread(target=_keep_writing, args=(write, here, data, ending))
        writer.start()
        reads = torn = 0
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            reads += 1
            try:
                check_jpeg((here / "latest.jpg").read_bytes())
            except LabwireError:
                torn += 1
        ending.set()
        writer.join()
        found.append(Torn(name, reads, torn))
        shutil.rmtree(here)
    return found


def _keep_writing(write: Callable[[Path, bytes], None], folder: Path, data: bytes, ending: threading.Event) -> None:
    while not ending.wait(1 / RATE_HZ):
        write(folder, data)


def _repeat(write: Callable[[Path, bytes], None], folder: Path, data: bytes, count: int) -> None:
    for _ in range(count):
        write(folder, data)


def _atomic(folder: Path, data: bytes) -> None:
    write_new(folder / ".latest.new", data)
    replace_file(folder / ".latest.new", folder / "latest.jpg")


def _os_replace(folder: Path, data: bytes) -> None:
    (folder / ".latest.new").write_bytes(data)
    os.replace(folder / ".latest.new", folder / "latest.jpg")  # noqa: PTH105


def _in_place(folder: Path, data: bytes) -> None:
    (folder / "latest.jpg").write_bytes(data)


def _backend(folder: Path, data: bytes, count: int) -> None:
    files = PictureFiles(folder, FileIpcOptions(max_frame_count=LIMIT_COUNT), policy="block").start()
    for n in range(count):
        picture = Picture(
            index=n, monotonic_s=0, epoch_us=10**15 + n, width=WIDTH, height=HEIGHT, format="jpeg", data=data
        )
        files.put(picture)
    files.close()
