"""Reading back: check and export, in MB of the log a second; and how late a replay's messages are."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import zmq

from benchmarks.common import Case
from benchmarks.sessions.writing import make_messages, record
from labwire.client import Rig
from labwire.clock import RigClock, monotonic_s
from labwire.sessions.check.verify import verify_session
from labwire.sessions.config import RecorderConfig
from labwire.sessions.log.log_reader import LogReader
from labwire.sessions.reading.export import FORMATS, export_session
from labwire.sessions.record.recording import SessionRecorder
from labwire.sessions.replay.replay_source import open_source
from labwire.sessions.replay.replayer import Replayer

READ = "labwire, read the log"
VERIFY = "labwire, verify"
SLEEP = "limit: time.sleep until each is due"
SENT = "labwire, replayed"
HEARD = "labwire, replayed, as a subscriber of a rig hears it"

RATE_HZ = 480.0
"""Messages a second of the replayed session: two eyes at 120 Hz, each in 2D and 3D (ipc-backbone's example)."""


def export_name(to: str) -> str:
    """Return the name of the case of a format."""
    return f"labwire, export to {to}"


def reading_cases(folder: Path, messages: int) -> Iterator[Case]:
    """Yield the cases of reading a session; each gives MB of its log a second."""
    session, _ = record(folder / "to read", make_messages(messages))
    log_mb = (session / "bus.mcap").stat().st_size / 1e6
    numbers = itertools.count()

    def read() -> None:
        with LogReader.open(session) as log:
            for _ in log.messages():
                pass

    def export(to: Any) -> None:
        out = folder / f"export {next(numbers)}"
        export_session(session, out, to=to)
        shutil.rmtree(out)

    yield Case(READ, lambda: [log_mb / _timed(read)])
    yield Case(VERIFY, lambda: [log_mb / _timed(lambda: verify_session(session, keep=False))])
    for to in FORMATS:
        yield Case(export_name(to), lambda to=to: [log_mb / _timed(lambda: export(to))])


def _timed(work: Any) -> float:
    start_s = time.perf_counter()
    work()
    return time.perf_counter() - start_s


def make_session(root: Path, length_s: float) -> Path:
    """Make a session whose messages come at `RATE_HZ`, evenly."""
    clock = RigClock.create()
    recorder = SessionRecorder(RecorderConfig(root=str(root), disk_warn_bytes=0, disk_stop_bytes=0), clock)
    folder = Path(recorder.start("to replay").rec_path)
    start_s = monotonic_s()
    for number, parts in enumerate(make_messages(round(length_s * RATE_HZ))):
        recorder.put(parts, start_s + number / RATE_HZ)
    recorder.stop()
    clock.close()
    return folder


def sleep_samples(count: int) -> Sequence[float]:
    """Return how late `time.sleep` wakes up for each of so many moments, in µs."""
    start_s = monotonic_s() + 0.01
    late: list[float] = []
    for number in range(count):
        due_s = start_s + number / RATE_HZ
        time.sleep(max(0.0, due_s - monotonic_s()))
        late.append((monotonic_s() - due_s) * 1e6)
    return late


def sent_samples(session: Path) -> Sequence[float]:
    """Return how late each message of a replay leaves it, in µs, without a bus."""
    source = open_source(session)
    times = [message.time_s for message in source.messages(0.0)]
    left: list[float] = []
    replayer = Replayer(source, "benchmark", send=lambda parts: left.append(monotonic_s()) is None)
    replayer.start()
    while replayer.status().state != "ended":
        time.sleep(0.05)
    replayer.close()
    return _late_us(left, times)


def heard_samples(rig: Rig, session: Path) -> Sequence[float]:
    """Return how late each message of a replay in a rig reaches a subscriber, in µs, against the earliest of them."""
    source = open_source(session)
    times = [message.time_s for message in source.messages(0.0)]
    source.close()
    heard: list[float] = []
    with zmq.Context() as context, context.socket(zmq.SUB) as subscriber:
        subscriber.rcvhwm = 0
        subscriber.subscribe("pupil.")
        subscriber.connect(f"tcp://{rig.host}:{rig.ports.sub}")
        rig.replay.pause()
        rig.replay.seek(0.0)
        time.sleep(0.3)  # for the subscription, and for what is still on its way
        while subscriber.poll(50):
            subscriber.recv_multipart()
        rig.replay.resume()
        while len(heard) < len(times) and subscriber.poll(5000):
            subscriber.recv_multipart()
            heard.append(monotonic_s())
    assert len(heard) == len(times), f"{len(heard)} of {len(times)} messages were heard"
    return _late_us(heard, times)


def _late_us(moments: Sequence[float], times: Sequence[float]) -> list[float]:
    offsets = [moment - time_s for moment, time_s in zip(moments, times, strict=True)]
    earliest = min(offsets)
    return [(offset - earliest) * 1e6 for offset in offsets]
