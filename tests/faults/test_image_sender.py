"""The sending side of image streams, hit again and again: each run is right or says what is wrong; the next works."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from labwire.errors import LabwireError, StateError
from labwire.images.stream_address import parse_tcp_address
from labwire.testing.waiting import wait_until
from labwire.wire.tcp_frame import FrameHeader, FrameType, encode_header
from labwire.wire.tcp_timeouts import SenderTimeouts
from tests.images.loopback_writer import LoopbackWriter
from tests.images.stream_runs import PATIENT, image, is_image, start_message
from tests.images.tcp_bench import TcpBench

Soak = Callable[[int, int], int]
_PIXELS = 1 << 14


@pytest.fixture
def bench() -> Iterator[TcpBench]:
    with ExitStack() as stack:
        yield TcpBench(stack)


def put_until_stopped(bench: TcpBench, images: int) -> threading.Thread:
    def work() -> None:
        try:
            for number in range(images):
                bench.stream.put(image(number, pixels=_PIXELS))
        except StateError:
            pass

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_writer_that_is_stopped_by_a_signal_loses_nothing(bench: TcpBench, soak: Soak, tmp_path: Path) -> None:
    images, stopped_s = soak(300, 1000), soak(1, 4)
    # The default: a silent writer is dead after 10 s. START has more time: this one imports what it stores with then.
    bench.open(SenderTimeouts(start_ack_s=20.0, end_ack_s=20.0), queue_mib=1)
    command = [sys.executable, "-m", "labwire", "write", bench.pusher.address, "-o", str(tmp_path), "--runs", "1"]
    writer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        bench.pusher.wait_for_writers(1, 30)
        bench.stream.start(msgspec.structs.replace(start_message(1, images, per_file=100), image_size_x=_PIXELS // 8))
        producer = put_until_stopped(bench, images)
        wait_until(lambda: (now := bench.stream.progress()) is not None and now.acknowledged > 0, "images flow")
        writer.send_signal(signal.SIGSTOP)
        threading.Event().wait(stopped_s)
        assert sum(bench.pusher.status().unsent_bytes) <= 2 << 20
        writer.send_signal(signal.SIGCONT)
        producer.join()
        result = bench.stream.end()
        assert writer.wait(30) == 0
    finally:
        writer.kill()
        writer.wait()
    assert (result.sent, result.acknowledged, result.missing, result.failed) == (images, images, 0, 0)
    assert len(list(tmp_path.glob("*.h5"))) == images // 100 + 1


def test_runs_that_are_cancelled_at_random_moments_leave_nothing_to_the_next(
    bench: TcpBench, soak: Soak, seed: int
) -> None:
    chance = random.Random(seed)
    bench.open(PATIENT, queue_mib=1)
    writers = [bench.writer(), bench.writer()]
    for number in range(1, 2 * soak(8, 300), 2):
        for writer in writers:
            writer.runs.clear()
        bench.stream.start(start_message(number, 10_000, per_file=1))
        producer = put_until_stopped(bench, 10_000)
        threading.Event().wait(chance.random() * 0.02)
        cancelled = bench.stream.cancel()
        producer.join()
        assert cancelled is not None
        assert cancelled.cancelled
        assert cancelled.sent + cancelled.dropped >= cancelled.acknowledged
        assert bench.run(number + 1, images=6, per_file=1).ok
        for place, writer in enumerate(writers):
            assert writer.runs[number].cancelled
            assert writer.runs[number + 1].order == list(range(place, 6, 2))
            assert all(is_image(message, index) for index, message in writer.runs[number + 1].images.items())


def test_writers_that_are_killed_at_random_moments_cost_their_images_only(
    bench: TcpBench, soak: Soak, seed: int
) -> None:
    chance = random.Random(seed)
    bench.open(PATIENT, queue_mib=1)
    fine = bench.writer()
    for number in range(1, soak(8, 200) + 1):
        killed = bench.writer()
        bench.stream.start(start_message(number, 200, per_file=1))
        producer = put_until_stopped(bench, 200)
        threading.Event().wait(chance.random() * 0.02)
        killed.kill()
        producer.join()
        result = bench.stream.end()
        assert result.images == result.sent + result.dropped == 200
        assert result.acknowledged + result.missing + result.failed == 200
        assert result.ok is (result.missing == 0 and not result.faults)
        assert fine.runs[number].order == list(range(0, 200, 2))
        assert len(killed.runs[number].order) <= 100
        wait_until(lambda: bench.pusher.waiting_writers == 1, "the killed one is forgotten")


def test_start_that_is_refused_by_the_third_again_and_again(bench: TcpBench, soak: Soak) -> None:
    good = [bench.writer(), bench.writer()]
    for number in range(1, soak(5, 100) + 1):
        bad = bench.writer(start="refuse")
        with pytest.raises(LabwireError, match="no rights here"):
            bench.stream.start(start_message(number))
        # One whose START was not out yet never hears of the run.
        told = [run for writer in good for run in writer.runs.values()]
        wait_until(lambda told=told: all(run.cancelled for run in told), "the others have taken it back")
        bad.close()
        wait_until(lambda: bench.pusher.waiting_writers == 2, "the bad one is gone")
    assert bench.run(10_000).ok


def test_garbage_of_every_kind_reaches_nobody_else(bench: TcpBench, soak: Soak, seed: int) -> None:
    chance = random.Random(seed)
    bench.open(PATIENT)
    fine = bench.writer()
    host, port = parse_tcp_address(bench.pusher.address)
    bench.stream.start(start_message(1, 10**6))
    sent = 0
    for _ in range(soak(60, 2000)):
        with socket.create_connection((host, port)) as sock:
            sock.settimeout(20)
            try:
                sock.sendall(_garbage(chance))
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass
            except OSError:
                pass  # it was dropped in the middle of it
        bench.stream.put(image(sent))
        sent += 1
    result = bench.stream.end()
    assert (result.acknowledged, result.missing) == (sent, 0)
    assert fine.lost is None
    assert bench.pusher.status().writers == (fine.name,)


def _garbage(chance: random.Random) -> bytes:
    match chance.randrange(5):
        case 0:
            return chance.randbytes(chance.randrange(1, 5000))
        case 1:
            return encode_header(FrameHeader(FrameType.ACK, payload_size=chance.getrandbits(63)))
        case 2:
            header = bytearray(encode_header(FrameHeader(FrameType.ACK, flags=1, run_number=1, ack_for=FrameType.DATA)))
            header[chance.randrange(64)] ^= 1 << chance.randrange(8)
            return bytes(header) * chance.randrange(1, 20)
        case 3:
            return encode_header(FrameHeader(FrameType.KEEPALIVE))[: chance.randrange(1, 64)]
        case _:
            kinds = [FrameType.START, FrameType.DATA, FrameType.CALIBRATION, FrameType.END, FrameType.CANCEL]
            return encode_header(FrameHeader(chance.choice(kinds))) + chance.randbytes(100)


def test_an_end_that_is_never_acknowledged_again_and_again(bench: TcpBench, soak: Soak) -> None:
    bench.open(msgspec.structs.replace(PATIENT, end_ack_s=0.1))
    with LoopbackWriter(bench.pusher.address, end="silent"):
        bench.pusher.wait_for_writers(1, 20)
        for number in range(1, soak(4, 50) + 1):
            result = bench.run(number, images=4)
            assert "END" in str(result.error())
            assert (result.acknowledged, result.missing) == (4, 0)
