"""Runs over loopback that do not start, writers in trouble, and runs that are taken back."""

from __future__ import annotations

import resource
import threading
from typing import Any

import msgspec
import pytest

from labwire.errors import (
    DeadlineError,
    DiskLowError,
    PeerGoneError,
    RefusedError,
    StateError,
)
from labwire.wire.tcp_frame import FrameHeader, FrameType, encode_header
from tests.images.loopback_writer import LoopbackWriter, wait_until
from tests.images.stream_runs import PATIENT, image, is_image, start_message
from tests.images.tcp_bench import TcpBench

# --- START


def test_a_run_without_a_writer_does_not_start(bench: TcpBench) -> None:
    with pytest.raises(PeerGoneError, match="labwire write tcp://127"):
        bench.run()
    bench.writer()
    assert bench.run(2).ok


def test_start_refused_by_the_third_of_three_is_rolled_back(bench: TcpBench) -> None:
    good = [bench.writer(), bench.writer()]
    bad = bench.writer(start="refuse")
    with pytest.raises(RefusedError, match="no rights here"):
        bench.run()
    # One whose START was not out yet never hears of the run.
    wait_until(lambda: all(run.cancelled for writer in good for run in writer.runs.values()), "it is taken back")
    assert not bench.stream.running
    bad.close()
    wait_until(lambda: bench.pusher.waiting_writers == 2)
    assert bench.run(2).ok
    assert all(1 not in writer.runs or not writer.runs[1].images for writer in good)


def test_start_that_nobody_answers_is_rolled_back(bench: TcpBench) -> None:
    bench.open(msgspec.structs.replace(PATIENT, start_ack_s=2.0))  # the next run needs an answer within it
    good, mute = bench.writer(), bench.writer(start="silent")
    with pytest.raises(DeadlineError, match=r"START of run 1 within 2 s"):
        bench.run()
    wait_until(lambda: 1 in good.runs and good.runs[1].cancelled, "it is taken back")
    mute.close()
    wait_until(lambda: bench.pusher.waiting_writers == 1)
    assert bench.run(2).ok


def test_a_writer_that_comes_in_the_middle_of_a_run_waits_for_the_next(bench: TcpBench) -> None:
    bench.writer()
    bench.stream.start(start_message(1, 4))
    bench.stream.put(image(0))
    late = bench.writer()
    for number in (1, 2, 3):
        bench.stream.put(image(number))
    assert bench.stream.end().acknowledged == 4
    assert not late.runs
    assert bench.run(2, per_file=1).ok
    assert late.runs[2].images


def test_one_writer_too_many_is_refused_with_the_reason(bench: TcpBench) -> None:
    bench.open(nwriters=1)
    bench.writer()
    with LoopbackWriter(bench.pusher.address) as extra:
        wait_until(lambda: extra.lost is not None)
        assert extra.lost is not None
        assert "takes 1 writers" in extra.lost.error.message
    assert bench.run().ok
    assert "writer_refused" in bench.kinds()


# --- a writer in trouble


def test_an_end_that_is_never_acknowledged_is_an_error(bench: TcpBench) -> None:
    bench.open(msgspec.structs.replace(PATIENT, end_ack_s=0.3))
    bench.writer()
    bench.writer(end="silent")
    result = bench.run()
    assert isinstance(result.error(), DeadlineError)
    assert (result.acknowledged, result.missing) == (10, 0)
    assert not result.ok


def test_an_end_that_is_refused_says_why(bench: TcpBench) -> None:
    bench.writer(end="refuse")
    result = bench.run()
    assert "the disk fell off" in str(result.error())


def test_a_full_disk_is_carried_to_the_end_without_breaking_the_flow(bench: TcpBench) -> None:
    full, fine = bench.writer(fail_from=4), bench.writer()
    result = bench.run(images=20, per_file=2)
    error = result.error()
    assert isinstance(error, DiskLowError)
    assert "NoSpaceLeft" in str(error)
    assert "/data is full" in str(error)
    assert (result.sent, result.acknowledged, result.failed, result.missing) == (20, 12, 8, 0)
    assert len(fine.runs[1].images) == 10
    assert not full.machine.counters.stray
    assert bench.kinds().count("image_failed") == 1
    assert bench.run(2, images=4).acknowledged == 4


def test_a_writer_that_is_killed_loses_its_images_only(bench: TcpBench) -> None:
    killed, fine = bench.writer(), bench.writer()
    bench.stream.start(start_message(1, 40, per_file=1))
    for number in range(20):
        bench.stream.put(image(number))
    wait_until(lambda: len(killed.runs[1].order) >= 5 >= bench.pusher.status().unacknowledged[0])
    killed.kill()
    wait_until(lambda: "writer_lost" in bench.kinds())
    for number in range(20, 40):
        bench.stream.put(image(number))
    result = bench.stream.end()
    assert isinstance(result.error(), PeerGoneError)
    assert result.sent + result.dropped == 40
    assert 10 <= result.missing <= 15
    assert result.dropped == 10
    assert len(fine.runs[1].images) == 20
    assert bench.run(2).ok


def test_a_stalled_writer_that_lives_loses_nothing_and_memory_is_bounded(bench: TcpBench, soak: Any) -> None:
    images = soak(200, 1000)
    bench.open(msgspec.structs.replace(PATIENT, peer_liveness_s=2.5), queue_mib=1)
    writer = bench.writer(keep=False)
    bench.stream.start(start_message(1, images))
    writer.stalled.set()  # before they come: it might take all of them while this thread sleeps
    producer = threading.Thread(target=lambda: [bench.stream.put(image(n, 1 << 19)) for n in range(images)])
    producer.start()
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unsent: list[int] = []
    timer = threading.Event()
    for _ in range(soak(50, 60)):  # twice as long as a dead writer is waited for
        timer.wait(0.1)
        unsent.append(sum(bench.pusher.status().unsent_bytes))
    assert producer.is_alive()
    assert max(unsent) <= (1 << 20) + (1 << 20) + 4096
    writer.stalled.clear()
    producer.join()
    result = bench.stream.end()
    assert (result.sent, result.acknowledged, result.missing) == (images, images, 0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 64 << 10


def test_a_frozen_writer_is_given_up_and_the_others_go_on(bench: TcpBench) -> None:
    bench.open(msgspec.structs.replace(PATIENT, peer_liveness_s=2.0))  # the other one must not be silent so long
    frozen, fine = bench.writer(), bench.writer()
    bench.stream.start(start_message(1, 20, per_file=1))
    frozen.frozen.set()
    for number in range(20):
        bench.stream.put(image(number, pixels=1 << 19))
    result = bench.stream.end()
    assert "no sign of life" in str(result.error())
    assert result.missing == 10
    assert len(fine.runs[1].images) == 10
    frozen.frozen.clear()


def test_unacknowledged_images_are_bounded(bench: TcpBench) -> None:
    bench.open(max_unacknowledged=3)
    writer = bench.writer()
    bench.stream.start(start_message(1, 50))
    writer.busy.set()
    producer = threading.Thread(target=lambda: [bench.stream.put(image(n)) for n in range(50)])
    producer.start()
    wait_until(lambda: bench.pusher.status().unacknowledged == (3,))
    writer.busy.clear()
    producer.join()
    assert bench.stream.end().ok


def test_a_writer_that_acknowledges_only_end_is_believed(bench: TcpBench) -> None:
    writer = bench.writer(acknowledge=False, end="silent")
    bench.stream.start(start_message(1, 3))
    for number in range(3):
        bench.stream.put(image(number))
    answer = encode_header(
        FrameHeader(FrameType.ACK, flags=1, run_number=1, ack_processed_images=3, ack_for=FrameType.END)
    )
    ended = threading.Thread(target=lambda: (wait_until(lambda: bool(writer.runs[1].end)), writer.sock.send(answer)))
    ended.start()
    result = bench.stream.end()
    ended.join()
    assert result.acknowledged == 3


# --- cancel


def test_after_a_cancel_no_stray_frame_reaches_the_next_run(bench: TcpBench) -> None:
    writers = [bench.writer(), bench.writer()]
    bench.stream.start(start_message(1, 100, per_file=1))
    for writer in writers:
        writer.busy.set()
    for number in range(30):
        bench.stream.put(image(number, pixels=1 << 17))
    canceller = threading.Thread(target=bench.stream.cancel)
    canceller.start()
    for writer in writers:
        writer.busy.clear()
    canceller.join()
    result = bench.stream.last_result
    assert result is not None
    assert result.cancelled
    assert not result.ok
    assert bench.run(2, images=10, per_file=1).ok
    for number, writer in enumerate(writers):
        assert writer.runs[1].cancelled
        assert writer.runs[2].order == list(range(number, 10, 2))
        assert all(is_image(message, index) for index, message in writer.runs[2].images.items())


def test_a_producer_that_waits_is_freed_by_a_cancel(bench: TcpBench) -> None:
    bench.open(msgspec.structs.replace(PATIENT, cancel_ack_s=0.1), queue_mib=1)  # it will not be answered
    writer = bench.writer()
    bench.stream.start(start_message(1, 1000))
    writer.busy.set()
    raised: list[BaseException] = []

    def produce() -> None:
        try:
            for number in range(1000):
                bench.stream.put(image(number, pixels=1 << 20))
        except StateError as error:
            raised.append(error)

    producer = threading.Thread(target=produce)
    producer.start()
    wait_until(lambda: sum(bench.pusher.status().unsent_bytes) > 1 << 20)
    bench.stream.cancel()
    producer.join()
    assert len(raised) == 1
    writer.busy.clear()
    wait_until(lambda: bench.pusher.waiting_writers == 1 and writer.idle)
    assert bench.run(2).ok


def test_close_takes_a_run_back(bench: TcpBench) -> None:
    writer = bench.writer()
    bench.stream.start(start_message())
    bench.stream.put(image(0))
    bench.stream.close()
    assert writer.runs[1].cancelled
    wait_until(lambda: writer.lost is not None)
    with pytest.raises(StateError):
        bench.stream.put(image(1))
    with pytest.raises(StateError, match="closed"):
        bench.stream.start(start_message(2))


def test_two_runs_at_a_time_are_refused(bench: TcpBench) -> None:
    bench.writer()
    bench.stream.start(start_message())
    with pytest.raises(StateError, match="run 1 is on"):
        bench.stream.start(start_message(2))
    assert bench.stream.end().ok
