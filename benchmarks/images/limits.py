"""What no image stream can be faster than: the same exchange in C, raw ZeroMQ, `write()`, h5py's own pipeline.

As a program, ``python -m benchmarks.images.limits ADDRESS`` takes what comes from a PUSH socket, and answers the last.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

import numpy as np
import zmq

from benchmarks.common import cpu_s

ROOT = Path(__file__).parents[2]
SOURCE = Path(__file__).parent / "exchange.c"
_LIMIT_S = 120.0


class Measured(NamedTuple):
    """One exchange."""

    seconds: float
    cpu_s: float
    """Of both sides."""


class CExchange:
    """A pair of C programs, built here; `missing` says why if they cannot be."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="labwire-benchmark-")
        self._program = Path(self._folder.name) / "exchange"
        self.missing = self._build()
        self._server: subprocess.Popen[str] | None = None
        if not self.missing:
            self._server = subprocess.Popen([self._program, "serve"], stdout=subprocess.PIPE, text=True)
            self._port = self._line()

    def _build(self) -> str:
        if (compiler := shutil.which("cc") or shutil.which("gcc")) is None:
            return "no C compiler"
        built = subprocess.run(
            [compiler, "-O2", str(SOURCE), "-o", str(self._program), "-pthread"],
            capture_output=True,
            text=True,
            check=False,
        )
        return "" if built.returncode == 0 else built.stderr.strip().splitlines()[0]

    def _line(self) -> str:
        assert self._server is not None
        assert self._server.stdout is not None
        return self._server.stdout.readline().strip()

    def measure(self, images: int, image_bytes: int) -> Measured:
        """Send images."""
        told = subprocess.run(
            [self._program, "send", self._port, str(images), str(image_bytes)],
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=True,
        )
        seconds, sender_s = map(float, told.stdout.split())
        return Measured(seconds, sender_s + float(self._line()))

    def close(self) -> None:
        """End the server, and remove the program."""
        if self._server is not None:
            self._server.kill()
            self._server.communicate()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RawZeroMq:
    """PUSH here, PULL in another Python process; nothing copied in Python."""

    def __init__(self) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self._push = self._context.socket(zmq.PUSH)
        self._push.sndhwm = 16
        self._push.bind("tcp://127.0.0.1:*")
        self._done = self._context.socket(zmq.PULL)
        self._done.bind("tcp://127.0.0.1:*")
        addresses = [socket.getsockopt_string(zmq.LAST_ENDPOINT) for socket in (self._push, self._done)]
        self._reader = subprocess.Popen([sys.executable, "-m", __name__, *addresses], cwd=ROOT)

    def measure(self, images: int, image: memoryview) -> Measured:
        """Send images."""
        began_s, used_s = time.perf_counter(), self._cpu_s()
        for _ in range(images):
            self._push.send(image, copy=False)
        self._push.send(b"")
        self._done.recv()
        return Measured(time.perf_counter() - began_s, self._cpu_s() - used_s)

    def _cpu_s(self) -> float:
        return time.process_time() + cpu_s(self._reader.pid)

    def close(self) -> None:
        """End the reader."""
        self._reader.kill()
        self._reader.wait(_LIMIT_S)
        self._context.destroy(linger=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def plain_write(folder: Path, images: int, image: memoryview, *, sync: bool) -> Measured:
    """Write the same bytes into one file."""
    path = folder / "plain.bin"
    began_s, used_s = time.perf_counter(), time.process_time()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        for _ in range(images):
            left = image
            while left:
                left = left[os.write(fd, left) :]
        if sync:
            os.fdatasync(fd)
    finally:
        os.close(fd)
    measured = Measured(time.perf_counter() - began_s, time.process_time() - used_s)
    path.unlink()
    return measured


def h5py_pipeline(folder: Path, images: int, pixels: np.ndarray) -> Measured:
    """Write images through HDF5's filter pipeline, which compresses each."""
    import h5py
    import hdf5plugin

    path = folder / "pipeline.h5"
    began_s, used_s = time.perf_counter(), time.process_time()
    with cast("Any", h5py).File(path, "w") as file:
        dataset = file.create_dataset(
            "data",
            (images, *pixels.shape),
            pixels.dtype,
            chunks=(1, *pixels.shape),
            **cast("Any", hdf5plugin).Bitshuffle(cname="lz4"),
        )
        for number in range(images):
            dataset[number] = pixels
    measured = Measured(time.perf_counter() - began_s, time.process_time() - used_s)
    path.unlink()
    return measured


def _read(images: str, done: str) -> None:
    context: zmq.Context[Any] = zmq.Context()
    with context.socket(zmq.PULL) as pull, context.socket(zmq.PUSH) as push:
        pull.rcvhwm = 16
        pull.connect(images)
        push.connect(done)
        while True:
            if not len(pull.recv(copy=False)):
                push.send(b"done")


if __name__ == "__main__":
    _read(*sys.argv[1:3])
