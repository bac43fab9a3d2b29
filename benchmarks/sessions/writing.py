"""Recording: messages and pictures through the whole recorder, beside plain writes of the same bytes."""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.common import Case
from labwire.clock import RigClock, monotonic_s
from labwire.picture import encode_jpeg
from labwire.sessions.config import RecorderConfig
from labwire.sessions.record.recording import SessionRecorder

PLAIN = "limit: plain writes of the messages"
LIBRARY = "mcap library, unchunked"
LOG = "labwire, log"
ALL = "labwire, log and Player folder"
PLAIN_PICTURES = "limit: plain writes of the pictures"
PICTURES = "labwire, pictures as video"

BATCH = 2000
"""Messages of one plain write: as many as the recorder hands over at once."""
_DATUM: dict[str, Any] = {
    "topic": "pupil.0.3d", "id": 0, "method": "pye3d 0.3.0 real-time", "norm_pos": [0.5023, 0.4711], "diameter": 41.27,
    "confidence": 0.98, "timestamp": 1098.832276534, "diameter_3d": 3.29, "model_confidence": 0.91,
    "ellipse": {"center": [96.4, 101.5], "axes": [38.02, 41.27], "angle": 12.8},
    "sphere": {"center": [0.12, 1.4, 36.5], "radius": 10.39}, "theta": 1.61, "phi": -1.43,
    "circle_3d": {"center": [0.5, 0.2, 26.1], "normal": [0.04, -0.11, -0.99], "radius": 1.64},
    "projected_sphere": {"center": [97.9, 117.6], "axes": [126.5, 126.5], "angle": 0.0},
}  # fmt: skip


def payload(number: int) -> bytes:
    """Return a pupil datum in 3D, about 550 bytes."""
    return msgspec.msgpack.encode({**_DATUM, "timestamp": 1000.0 + number / 1000})


def make_messages(count: int) -> list[list[bytes]]:
    """Return as many messages, of five topics in turn."""
    topics = [f"pupil.{number}.3d".encode() for number in range(5)]
    return [[topics[number % 5], payload(number)] for number in range(count)]


def make_pictures(count: int) -> list[list[bytes]]:
    """Return as many messages with a JPEG of 640 x 480 pixels, about 60 kB."""
    noise = np.random.default_rng(1).integers(0, 60, (480, 640, 3), np.uint8)
    jpeg = encode_jpeg(noise, 60)
    described = {"topic": "frame.world", "width": 640, "height": 480, "format": "jpeg"}
    return [
        [
            b"frame.world",
            msgspec.msgpack.encode({**described, "index": number, "timestamp": 1000.0 + number / 100}),
            jpeg,
        ]
        for number in range(count)
    ]


def cases(folder: Path, messages: int, pictures: int) -> Iterator[Case]:
    """Yield the cases of writing; each gives one rate: messages/s, or MB/s of pictures."""
    data, frames = make_messages(messages), make_pictures(pictures)
    jpeg_mb = sum(len(parts[2]) for parts in frames) / 1e6
    numbers = itertools.count()

    def new() -> Path:
        return folder / f"{next(numbers)}"

    yield Case(PLAIN, lambda: [messages / _plain(new(), [parts[1] for parts in data], BATCH)])
    yield Case(LIBRARY, lambda: [messages / _library(new(), data)])
    yield Case(LOG, lambda: [messages / _recorded(new(), data, player_folder=False)])
    yield Case(ALL, lambda: [messages / _recorded(new(), data)])
    yield Case(PLAIN_PICTURES, lambda: [jpeg_mb / _plain(new(), [parts[2] for parts in frames], 1)])
    yield Case(PICTURES, lambda: [jpeg_mb / _recorded(new(), frames)])


def _plain(path: Path, items: Sequence[bytes], batch: int) -> float:
    """Write items as they are, so many in one go; return how long it took."""
    start_s = time.perf_counter()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    for at in range(0, len(items), batch):
        os.write(fd, b"".join(items[at : at + batch]))
    os.close(fd)
    elapsed_s = time.perf_counter() - start_s
    path.unlink()
    return elapsed_s


def _library(path: Path, messages: Sequence[Sequence[bytes]]) -> float:
    """Write messages with the official library, so that a crash would cost none of them either: no chunks."""
    from mcap.writer import Writer

    start_s = time.perf_counter()
    with path.open("wb") as file:
        writer = Writer(file, use_chunking=False)
        writer.start()
        channels = {topic: writer.register_channel(topic.decode(), "msgpack", 0) for topic, _ in messages}
        for number, (topic, data) in enumerate(messages):
            writer.add_message(channels[topic], log_time=number, data=data, publish_time=number)
        writer.finish()
    elapsed_s = time.perf_counter() - start_s
    path.unlink()
    return elapsed_s


def record(root: Path, messages: Sequence[Sequence[bytes]], **config: Any) -> tuple[Path, float]:
    """Record messages as fast as they can be taken; return the session, and how long it took until it was whole."""
    clock = RigClock.create()
    limits = {"disk_warn_bytes": 0, "disk_stop_bytes": 0, "sync_s": 0.0, "queue_messages": 10_000_000}
    waiting = {"queue_bytes": 4 << 30, "picture_queue_bytes": 4 << 30}
    recorder = SessionRecorder(RecorderConfig(root=str(root), **{**limits, **waiting, **config}), clock)
    folder = Path(recorder.start("benchmark").rec_path)
    start_s = time.perf_counter()
    for parts in messages:
        recorder.put(parts, monotonic_s())
    stopped = recorder.stop()
    elapsed_s = time.perf_counter() - start_s
    clock.close()
    lost = {name: counted.dropped for name, counted in stopped.counters.items() if counted.dropped}
    assert not lost, f"lost: {lost}"
    return folder, elapsed_s


def _recorded(root: Path, messages: Sequence[Sequence[bytes]], **config: Any) -> float:
    _, elapsed_s = record(root, messages, **config)
    shutil.rmtree(root)
    return elapsed_s
