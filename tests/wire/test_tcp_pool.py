"""Several writers and one detector: all start or none, images by file, the sum at the end, and the next run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from labwire.errors import DeadlineError, DiskLowError, PeerGoneError, RefusedError, StateError, UsageError
from labwire.wire.run_result import MAX_MISSING_SHOWN, RunResult
from labwire.wire.tcp_events import (
    ConnectionLost,
    EndReceived,
    ImageReceived,
    RunCancelled,
    StartReceived,
    WriterEvent,
)
from labwire.wire.tcp_frame import AckCode, FrameType
from labwire.wire.tcp_pool import SenderPool
from labwire.wire.tcp_run import RunPhase, SenderRun
from labwire.wire.tcp_sender import SenderConnection
from labwire.wire.tcp_states import State
from labwire.wire.tcp_writer import WriterConnection
from tests.wire.tcp_peers import SENDER, ack, flush, frame, kinds

Answer = Callable[[WriterConnection, WriterEvent, float], object]


def good(writer: WriterConnection, event: WriterEvent, now_s: float) -> None:
    """Answer as a writer that stores everything."""
    match event:
        case StartReceived():
            writer.accept_start(event.run_number, now_s)
        case ImageReceived():
            writer.acknowledge_image(event.run_number, event.image_number, now_s)
        case EndReceived():
            writer.accept_end(event.run_number, now_s)
        case _:
            pass


class Lab:
    """A pool and its writers; bytes arrive as soon as somebody calls `settle`."""

    def __init__(self, writers: int = 2, *, nwriters: int = 32) -> None:
        self.now_s = 0.0
        self.pool = SenderPool(SENDER, nwriters=nwriters)
        self.pairs: list[tuple[SenderConnection, WriterConnection, Answer]] = []
        self.heard: list[list[WriterEvent]] = []
        for _ in range(writers):
            self.join()

    def join(self, answer: Answer = good) -> SenderConnection:
        sender = self.pool.connect(f"10.0.0.{len(self.pairs)}:4", self.now_s)
        self.pairs.append((sender, WriterConnection(SENDER, now_s=self.now_s), answer))
        self.heard.append([])
        return sender

    def become(self, number: int, answer: Answer) -> None:
        self.pairs[number] = (*self.pairs[number][:2], answer)

    def settle(self) -> None:
        moved = True
        while moved:
            moved = False
            for (sender, writer, answer), heard in zip(self.pairs, self.heard, strict=True):
                there = b"".join(sender.data_to_send())
                self.pool.bytes_sent(sender, len(there), self.now_s)
                for event in writer.receive_data(there, self.now_s):
                    heard.append(event)
                    answer(writer, event, self.now_s)
                back = b"".join(writer.data_to_send())
                writer.bytes_sent(len(back), self.now_s)
                self.pool.receive_data(sender, back, self.now_s)
                moved = moved or bool(there or back)

    def wait(self, seconds: float) -> None:
        """Let time pass, deadline by deadline."""
        until = self.now_s + seconds
        while (due_s := self.pool.next_deadline()) is not None and due_s <= until:
            self.now_s = due_s
            self.pool.tick(due_s)
            self.settle()
        self.now_s = until

    def start(self, run_number: int = 7, images_per_file: int = 10) -> SenderRun:
        run = self.pool.start_run(
            run_number, "a run", lambda number: b"start %d" % number, self.now_s, images_per_file=images_per_file
        )
        self.settle()
        return run

    def send(self, run: SenderRun, numbers: range) -> None:
        for number in numbers:
            assert run.ready_for(number)
            run.send_image(number, b"pixels", self.now_s)
            self.settle()

    def end(self, run: SenderRun) -> RunResult:
        run.end(lambda number: b"end %d" % number, self.now_s)
        self.settle()
        return run.result()


def images_of(events: list[WriterEvent]) -> list[int]:
    return [event.image_number for event in events if isinstance(event, ImageReceived)]


def test_a_run_over_three_writers() -> None:
    lab = Lab(3)
    run = lab.start()
    assert run.phase is RunPhase.RUNNING
    assert run.send_calibration(b"calibration", 0.0)
    lab.send(run, range(75))
    result = lab.end(run)
    assert run.phase is RunPhase.DONE
    assert result.ok
    assert result.error() is None
    assert (result.offered, result.sent, result.acknowledged, result.failed, result.missing) == (75, 75, 75, 0, 0)
    assert [socket.acknowledged for socket in result.sockets] == [30, 25, 20]
    for number, events in enumerate(lab.heard):
        assert images_of(events) == [image for image in range(75) if image // 10 % 3 == number]
        start = events[0]
        assert isinstance(start, StartReceived)
        assert (start.socket_number, bytes(start.payload)) == (number, b"start %d" % number)
        assert isinstance(events[-1], EndReceived)
        assert bytes(events[-1].payload) == b"end %d" % number
        assert [type(event).__name__ for event in events].count("CalibrationReceived") == (number == 0)


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("images_per_file", [1, 3, 1000])
def test_images_go_where_the_formula_of_the_spec_says(count: int, images_per_file: int) -> None:
    lab = Lab(count)
    run = lab.start(images_per_file=images_per_file)
    for image in (0, 1, 2, 3, 999, 1000, 1001, 2**40, 2**64 - 1):
        assert run.connection_of(image) is lab.pool.connections[(image // images_per_file) % count]


def test_connections_live_through_many_runs() -> None:
    lab = Lab(2)
    for run_number in range(5):
        run = lab.start(run_number)
        lab.send(run, range(20))
        assert lab.end(run).ok
        lab.wait(100.0)
    assert (lab.pool.counters.accepted, lab.pool.counters.lost) == (2, 0)


def test_without_a_writer_a_run_does_not_start() -> None:
    lab = Lab(0)
    with pytest.raises(PeerGoneError) as caught:
        lab.start()
    text = "run 7 does not start: no writer is connected to 10.0.0.1:9100; to start one: labwire write"
    assert str(caught.value).startswith(text)
    assert lab.pool.run is None


def test_one_writer_too_many_is_refused_with_text() -> None:
    assert Lab(1, nwriters=1).pool.counters.accepted == 1
    lab = Lab(2, nwriters=2)
    sender = lab.join()
    assert sender.state is State.CLOSED
    lab.settle()
    (lost,) = lab.heard[2]
    assert isinstance(lost, ConnectionLost)
    assert isinstance(lost.error, RefusedError)
    assert "10.0.0.1:9100 takes 2 writers (nwriters), and as many are connected" in str(lost.error)
    assert (lab.pool.counters.accepted, lab.pool.counters.refused, lab.pool.counters.lost) == (2, 1, 0)
    assert len(lab.start().connections) == 2
    # A place that gets free is taken by the next who comes.
    lab.pool.receive_eof(lab.pairs[0][0], 0.0)
    assert lab.join().state is State.IDLE


def test_start_refused_by_the_third_of_three_rolls_the_others_back() -> None:
    lab = Lab(3)
    lab.become(2, lambda writer, event, now_s: isinstance(event, StartReceived) and writer.refuse_start(
        event.run_number, AckCode.NO_SPACE_LEFT, "no room in /data", now_s))  # fmt: skip
    run = lab.start()
    assert run.phase is RunPhase.DONE
    assert isinstance(run.start_error, DiskLowError)
    assert str(run.start_error) == (
        "run 7 does not start: 10.0.0.2:4 refuses START of run 7: NoSpaceLeft: no room in /data"
    )
    assert [[type(event).__name__ for event in events] for events in lab.heard] == [
        ["StartReceived", "RunCancelled"],
        ["StartReceived", "RunCancelled"],
        ["StartReceived"],
    ]
    with pytest.raises(StateError, match="DATA is not possible in run 7, which is done"):
        run.send_image(0, b"", 0.0)
    with pytest.raises(StateError, match="CALIBRATION is not possible in run 7, which is done"):
        run.send_calibration(b"", 0.0)
    assert not run.ready_for(0)
    lab.become(2, good)
    again = lab.start(8)
    lab.send(again, range(30))
    assert lab.end(again).ok


def test_a_writer_to_which_start_has_not_gone_out_never_hears_of_the_run() -> None:
    lab = Lab(3)
    pool, (told, _, _), (untold, _, _), (refusing, _, _) = lab.pool, *lab.pairs
    run = pool.start_run(7, "x", lambda _: b"", 0.0, images_per_file=1)
    flush(told)
    flush(refusing)
    pool.receive_data(refusing, ack(FrameType.START, flags=0, code=AckCode.NO_SPACE_LEFT), 0.1)
    assert kinds(told) == ["CANCEL"]
    assert (kinds(untold), untold.state) == ([], State.IDLE)
    assert run.phase is RunPhase.TAKEN_BACK
    pool.receive_data(told, ack(FrameType.CANCEL), 0.2)
    assert run.phase is RunPhase.DONE


def test_taking_back_a_start_leaves_what_was_said_before_it() -> None:
    """A CANCEL that a slow writer has not read yet is still what ends its run."""
    lab = Lab(2)
    sender, other = lab.pairs[0][0], lab.pairs[1][0]
    lab.start(7).cancel(0.0)
    lab.pool.tick(0.6)
    assert sender.state is State.IDLE
    lab.pool.start_run(8, "x", lambda _: b"", 1.0, images_per_file=1)
    lab.pool.receive_eof(other, 1.0)
    assert kinds(sender) == ["CANCEL"]


def test_a_start_that_is_not_answered_fails_the_run_after_five_seconds() -> None:
    lab = Lab(2)
    lab.become(1, lambda *_: None)
    run = lab.start()
    assert run.phase is RunPhase.STARTING
    assert not run.ready_for(0)
    lab.wait(4.9)
    assert run.phase is RunPhase.STARTING
    lab.wait(0.2)
    assert run.phase is RunPhase.DONE
    assert isinstance(run.start_error, DeadlineError)
    assert isinstance(lab.heard[0][-1], RunCancelled)
    assert isinstance(lab.heard[1][-1], RunCancelled)


def test_the_roll_back_does_not_wait_for_a_writer_that_does_not_answer() -> None:
    lab = Lab(2)
    sender, _, _ = lab.pairs[1]
    run = lab.pool.start_run(7, "x", lambda _: b"", 0.0, images_per_file=1)
    flush(sender)
    lab.pool.receive_eof(lab.pairs[0][0], 1.0)
    assert run.phase is RunPhase.TAKEN_BACK
    assert sender.state is State.CANCELLING
    lab.pool.tick(1.499)
    assert run.phase is RunPhase.TAKEN_BACK
    lab.pool.tick(1.5)
    assert run.phase is RunPhase.DONE
    assert isinstance(run.start_error, PeerGoneError)


def test_a_writer_that_dies_in_a_run_takes_only_its_images_with_it() -> None:
    lab = Lab(2)
    run = lab.start()
    lab.become(1, lambda *_: None)
    lab.send(run, range(15))  # 10 to 14 are not answered
    lab.pool.receive_eof(lab.pairs[1][0], 0.0, "was reset")
    assert run.phase is RunPhase.RUNNING
    lab.send(run, range(15, 40))
    result = lab.end(run)
    assert (result.offered, result.sent, result.acknowledged, result.missing) == (40, 25, 20, 20)
    assert result.sockets[1].missing_images == (*range(10, 20), *range(30, 40))
    error = result.error()
    assert isinstance(error, PeerGoneError)
    assert str(error).startswith("run 7: 20 of 40 images acknowledged, 20 missing: 10.0.0.1:4 was reset, in run 7")
    assert error.data["missing"] == 20


def test_a_run_whose_writers_are_all_gone_ends() -> None:
    lab = Lab(1)
    run = lab.start()
    lab.pool.receive_eof(lab.pairs[0][0], 0.0)
    for number in range(1000):
        assert not run.send_image(number, b"", 0.0)
    assert not run.send_calibration(b"", 0.0)
    result = lab.end(run)
    assert run.phase is RunPhase.DONE
    assert (result.missing, len(result.sockets[0].missing_images)) == (1000, MAX_MISSING_SHOWN)


def test_a_writer_that_comes_back_waits_for_the_next_start() -> None:
    lab = Lab(2)
    run = lab.start()
    lab.pool.receive_eof(lab.pairs[1][0], 0.0)
    back = lab.join()
    lab.send(run, range(40))
    lab.wait(12.0)
    assert back.state is State.IDLE
    assert images_of(lab.heard[2]) == []
    assert lab.end(run).missing == 20
    again = lab.start(8)
    assert again.connections == (lab.pairs[0][0], back)
    lab.send(again, range(40))
    assert lab.end(again).ok
    assert len(images_of(lab.heard[2])) == 20


def test_a_fatal_error_goes_with_code_and_text_to_the_end_of_the_run() -> None:
    lab = Lab(2)
    run = lab.start()

    def full(writer: WriterConnection, event: WriterEvent, now_s: float) -> None:
        if isinstance(event, ImageReceived) and event.image_number == 12:
            writer.fail_run(event.run_number, AckCode.NO_SPACE_LEFT, "/data/x_data_000002.h5: disk full", now_s)
        else:
            good(writer, event, now_s)

    lab.become(1, full)
    lab.send(run, range(40))
    result = lab.end(run)
    assert (result.acknowledged, result.failed, result.missing) == (22, 18, 0)
    assert result.faults[0].code == "NoSpaceLeft"
    assert result.faults[0].image_number == 12
    assert "/data/x_data_000002.h5: disk full" in str(result.error())
    assert isinstance(result.error(), DiskLowError)
    assert [(fault.image_number, fault.images) for fault in result.faults] == [(12, 18), (None, 0)]
    assert result.faults_total == 2
    assert str(result.error()).count("disk full") == 1
    assert str(result.error()).endswith("; and so with 17 other images")
    lab.become(1, good)
    again = lab.start(8)
    lab.send(again, range(40))
    assert lab.end(again).ok


def test_an_end_that_is_never_acknowledged() -> None:
    lab = Lab(2)
    run = lab.start()
    lab.send(run, range(20))
    lab.become(0, lambda *_: None)
    lab.end(run)
    assert run.phase is RunPhase.ENDING
    lab.wait(9.9)
    assert run.phase is RunPhase.ENDING
    lab.wait(0.1)
    assert run.phase is RunPhase.DONE
    result = run.result()
    assert result.acknowledged == 20
    assert isinstance(result.error(), DeadlineError)
    assert "10.0.0.0:4 did not acknowledge END of run 7 within 10 s" in str(result.error())
    lab.become(0, good)
    assert lab.end(lab.start(8)).ok  # START tells the writer that the run before is over


def test_two_runs_back_to_back_after_a_cancel() -> None:
    lab = Lab(1)
    run = lab.start()
    for number in range(5):
        run.send_image(number, b"pixels", 0.0)
    run.cancel(0.0)
    assert run.phase is RunPhase.TAKEN_BACK
    with pytest.raises(StateError, match="run 7 is not over: it is taken back"):
        lab.start(8)
    lab.settle()
    assert run.phase is RunPhase.DONE
    result = run.result()
    assert (result.cancelled, result.missing, result.ok) == (True, 5, False)
    assert result.error() is None
    again = lab.start(8)
    lab.send(again, range(10))
    result = lab.end(again)
    assert result.ok
    assert images_of(lab.heard[0]) == list(range(10))
    run.cancel(0.0)  # long over
    assert run.phase is RunPhase.DONE


def test_a_run_number_is_not_used_twice_in_a_row() -> None:
    lab = Lab(1)
    lab.end(lab.start(7))
    with pytest.raises(UsageError, match="run 7 was the last one"):
        lab.start(7)


@pytest.mark.parametrize("what", ["a number", "a message", "a caller"])
def test_a_start_that_cannot_be_encoded_starts_nothing(what: str) -> None:
    lab = Lab(2)

    def payload_of(number: int) -> bytes | memoryview:
        if number == 1 and what == "a caller":
            raise UsageError("no such thing")
        return memoryview(bytes(8))[::2] if number == 1 and what == "a message" else b""

    with pytest.raises(UsageError):
        lab.pool.start_run(-1 if what == "a number" else 7, "x", payload_of, 0.0, images_per_file=1)
    assert all(connection.state is State.IDLE for connection in lab.pool.connections)
    assert not lab.pool.unsent()
    assert lab.end(lab.start(7)).ok


def test_arguments_that_make_no_sense() -> None:
    with pytest.raises(UsageError, match="nwriters=0"):
        SenderPool(SENDER, nwriters=0)
    with pytest.raises(UsageError, match="images_per_file=0"):
        Lab(1).start(images_per_file=0)
    with pytest.raises(UsageError, match="at least one connection"):
        SenderRun(1, "x", images_per_file=1, connections=[])


def test_one_peer_that_sends_garbage_is_dropped_alone() -> None:
    lab = Lab(3)
    run = lab.start()
    lab.pool.receive_data(lab.pairs[1][0], b"GET / HTTP/1.1".ljust(64), 0.0)
    assert len(lab.pool.connections) == 2
    assert "it begins with b'GET / HT'" in str(lab.pool.lost[0])
    assert flush(lab.pairs[1][0])[0][0].ack_code == AckCode.PROTOCOL_ERROR
    lab.send(run, range(30))
    assert (lab.end(run).acknowledged, run.result().missing) == (20, 10)
    assert lab.pool.counters.lost == 1


def test_dead_peers_leave_the_pool_one_by_one() -> None:
    lab = Lab(2)
    dead = lab.pairs.pop(0)
    lab.heard.pop(0)
    lab.wait(60.0)
    assert lab.pool.connections == [lab.pairs[0][0]]
    assert dead[0].state is State.CLOSED
    assert "did not answer 3 KEEPALIVEs" in str(lab.pool.lost[0])
    lab.pool.close(lab.pairs[0][0], lab.now_s)
    assert lab.pool.connections == []
    assert lab.pool.next_deadline() is None
    assert lab.pool.tick(1e9) == []


def test_what_lost_connections_had_counted_is_kept() -> None:
    lab = Lab(1)
    sender = lab.pairs[0][0]
    lab.pool.receive_data(sender, ack(2) + frame(9), 0.0)
    lab.pool.receive_eof(sender, 0.0)
    assert (lab.pool.counters.stray_frames, lab.pool.counters.unknown_frames) == (1, 1)


def test_the_texts_of_lost_writers_are_bounded() -> None:
    lab = Lab(0)
    for _ in range(100):
        lab.pool.receive_eof(lab.join(), 0.0)
    assert len(lab.pool.lost) == 16
    assert lab.pool.counters.lost == 100
