"""labwire's own streams: this process sends, `labwire write` in another one acknowledges, or stores as well."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import numpy as np
import zmq

from benchmarks.common import cpu_s
from benchmarks.images.limits import ROOT, Measured
from labwire.images.preview import Preview
from labwire.images.pusher import OutgoingImage, stream_run
from labwire.images.pushers.tcp import TcpPusher
from labwire.images.stream import ImageStream
from labwire.images.stream_config import PreviewConfig, TcpStreamConfig
from labwire.wire.image_array import Array, array_of
from labwire.wire.image_message import EndMessage, ImageMessage, StartMessage
from labwire.wire.image_user_data import UserData, encode_user_data

IMAGES_PER_FILE = 64
_LIMIT_S = 60.0


class WriterProcess:
    """A stream and one `labwire write` that is connected to it."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._pusher = TcpPusher(TcpStreamConfig(address="tcp://127.0.0.1:*"))
        self._stream = ImageStream(self._pusher)
        self._number = 0
        self._folder = folder
        command = ["write", self._pusher.address, "-o", str(folder), "--json", *options]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "labwire", *command], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._pusher.wait_for_writers(1, _LIMIT_S)

    def measure(self, images: int, array: Array) -> Measured:
        """Send a run, from START until all is acknowledged and its files have their names.

        They are removed afterwards, as plain `write()`'s is: to replace those of the run before would take the time in
        which a file system frees them.
        """
        self._number += 1
        prefix = f"{self._process.pid}_{self._number}"
        start = start_of(self._number, images, array, prefix=prefix)
        data = {"default": array}
        began_s, used_s = time.perf_counter(), self._cpu_s()
        self._stream.start(start)
        for number in range(images):
            self._stream.put(ImageMessage(series_id=self._number, series_unique_id="run", image_id=number, data=data))
        result = self._stream.end()
        measured = Measured(time.perf_counter() - began_s, self._cpu_s() - used_s)
        if not result.ok:
            raise RuntimeError(str(result.error()))
        for path in self._folder.glob(f"{prefix}_*"):
            path.unlink()
        return measured

    def _cpu_s(self) -> float:
        return time.process_time() + cpu_s(self._process.pid)

    def close(self) -> None:
        """End both."""
        self._stream.close()
        self._process.terminate()
        self._process.wait(_LIMIT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class PreviewLatency:
    """A preview with period 0 and a subscriber; both in this process, so that one clock tells."""

    def __init__(self) -> None:
        self._preview = Preview(PreviewConfig(address="tcp://127.0.0.1:*", period_ms=0))
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.CONFLATE, 1)
        self._socket.subscribe(b"")
        self._socket.connect(self._preview.address)

    def samples(self, images: int, array: Array) -> list[float]:
        """Return times from hand-over to receipt, ms."""
        start = start_of(1, images, array)
        self._preview.start(stream_run(start))
        samples: list[float] = []
        while not self._socket.poll(20):  # until the subscription has arrived
            self._put(0, array)
        for number in range(images):
            while self._socket.poll(30):
                self._socket.recv()
            began_s = time.perf_counter()
            self._put(number, array)
            message = self._socket.recv()
            if len(message) > len(array.data):  # not START, which comes again every 2 s
                samples.append((time.perf_counter() - began_s) * 1e3)
        self._preview.end(EndMessage())
        return samples

    def _put(self, number: int, array: Array) -> None:
        self._preview.put(OutgoingImage(ImageMessage(image_id=number, data={"default": array})))

    def close(self) -> None:
        """Close both."""
        self._socket.close(linger=0)
        self._context.term()
        self._preview.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start_of(run_number: int, images: int, array: Array, *, prefix: str = "benchmark") -> StartMessage:
    """Return START of a run."""
    height, width = array.shape
    return StartMessage(
        series_id=run_number,
        series_unique_id="run",
        number_of_images=images,
        image_size_x=width,
        image_size_y=height,
        user_data=encode_user_data(UserData(file_prefix=prefix, images_per_file=IMAGES_PER_FILE)),
    )


def plain_image(mib: int) -> Array:
    """Return an uncompressed image, uint16, of so many MiB."""
    return array_of(photons((1024, mib * 512)))


def photons(shape: tuple[int, int]) -> np.ndarray:
    """Return pixels that compress as a detector's do."""
    return np.random.default_rng(1).poisson(1.2, shape).astype("<u2")
