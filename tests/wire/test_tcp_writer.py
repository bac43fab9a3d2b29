"""The writer's side: what it hears, what it answers, and that nothing a detector sends can hurt it."""

from __future__ import annotations

import pytest

from labwire.errors import PeerGoneError, ProtocolError, RefusedError, StateError, UsageError
from labwire.wire.tcp_events import (
    CalibrationReceived,
    ConnectionLost,
    EndReceived,
    FailedRunEnded,
    ImageReceived,
    RunCancelled,
    RunLost,
    StartReceived,
)
from labwire.wire.tcp_frame import AckCode, AckFlags, FrameHeader, FrameType, encode_header
from labwire.wire.tcp_states import State
from labwire.wire.tcp_timeouts import WriterTimeouts
from labwire.wire.tcp_writer import WriterConnection
from tests.wire.tcp_peers import RUN, SENDER, ack, flush, frame, kinds, writer_in

F = FrameType
TEXT = AckFlags.HAS_ERROR_TEXT


def image(number: int, body: bytes = b"pixels", run: int = RUN) -> bytes:
    return frame(F.DATA, body, image_number=number, socket_number=2, run_number=run)


def test_a_whole_run_event_by_event_and_answer_by_answer() -> None:
    writer = WriterConnection(SENDER, now_s=0.0)
    (start,) = writer.receive_data(frame(F.START, b"start", run_number=RUN, socket_number=2), 0.0)
    assert isinstance(start, StartReceived)
    assert (start.run_number, start.socket_number, bytes(start.payload)) == (RUN, 2, b"start")
    assert not writer.unsent_bytes  # the answer is the application's
    assert writer.accept_start(RUN, 0.0)
    calibration, first, second = writer.receive_data(
        frame(F.CALIBRATION, b"cal", run_number=RUN) + image(4) + image(5, b""), 0.0
    )
    assert isinstance(calibration, CalibrationReceived)
    assert bytes(calibration.payload) == b"cal"
    assert isinstance(first, ImageReceived)
    assert (first.run_number, first.image_number, bytes(first.payload)) == (RUN, 4, b"pixels")
    assert isinstance(second, ImageReceived)
    assert bytes(second.payload) == b""
    assert writer.acknowledge_image(RUN, 5, 0.0)
    assert writer.acknowledge_image(RUN, 4, 0.0)
    (end,) = writer.receive_data(frame(F.END, b"end", run_number=RUN), 0.0)
    assert isinstance(end, EndReceived)
    assert writer.accept_end(RUN, 0.0)
    answers = [header for header, _ in flush(writer)]
    assert [(h.type, h.ack_for, h.image_number, h.ack_processed_images, h.flags, h.ack_code) for h in answers] == [
        (F.ACK, F.START, 0, 0, AckFlags.OK, 0),
        (F.ACK, F.DATA, 5, 1, AckFlags.OK, 0),
        (F.ACK, F.DATA, 4, 2, AckFlags.OK, 0),
        (F.ACK, F.END, 0, 2, AckFlags.OK, 0),
    ]
    assert {(h.run_number, h.socket_number) for h in answers} == {(RUN, 2)}
    assert writer.state is State.IDLE
    assert writer.processed_images == 2


def test_start_is_refused_with_code_and_text() -> None:
    writer = writer_in(State.STARTING)
    assert writer.refuse_start(RUN, AckCode.PERMISSION_DENIED, "/data is not mine", 0.0)
    ((header, text),) = flush(writer)
    assert (header.ack_for, header.flags, header.ack_code) == (F.START, TEXT, AckCode.PERMISSION_DENIED)
    assert text == b"/data is not mine"
    assert writer.state is State.IDLE
    # A detector that goes on all the same speaks of a run that this writer has no part in.
    assert writer.receive_data(image(0) + frame(F.END, run_number=RUN), 0.0) == []
    assert (writer.counters.stray, writer.unsent_bytes) == (2, 0)


def test_one_failed_image_is_no_failed_run() -> None:
    writer = writer_in(State.RUNNING)
    writer.receive_data(image(1), 0.0)
    assert writer.fail_image(RUN, 0, AckCode.DATA_WRITE_FAILED, "odd shape", 0.0)
    assert writer.acknowledge_image(RUN, 1, 0.0)
    (bad, text), (good, _) = flush(writer)
    assert (bad.flags, bad.ack_code, bad.image_number, bad.ack_processed_images) == (TEXT, 2, 0, 0)
    assert text == b"odd shape"
    assert (good.flags, good.ack_processed_images) == (AckFlags.OK, 1)
    assert writer.state is State.RUNNING


def test_a_bad_answer_without_a_text_is_bad_all_the_same() -> None:
    writer = writer_in(State.RUNNING)
    writer.fail_image(RUN, 0, AckCode.IO_ERROR, "", 0.0)
    ((header, text),) = flush(writer)
    assert (header.flags, header.ack_code, text) == (0, 7, b"")


def test_a_run_that_is_given_up_is_answered_to_its_end_without_memory() -> None:
    asked: list[int] = []

    def allocate(size: int) -> bytearray:
        asked.append(size)
        return bytearray(size)

    writer = writer_in(State.RUNNING, allocate=allocate)
    writer.receive_data(image(1) + image(2), 0.0)
    writer.acknowledge_image(RUN, 0, 0.0)
    asked.clear()
    assert writer.fail_run(RUN, AckCode.NO_SPACE_LEFT, "x_000001.h5: no space", 0.0) == []
    assert not writer.acknowledge_image(RUN, 1, 0.0)  # it was answered for
    assert not writer.fail_image(RUN, 2, AckCode.IO_ERROR, "too", 0.0)
    assert writer.receive_data(image(3, bytes(1000)) + frame(F.CALIBRATION, b"c", run_number=RUN), 0.0) == []
    assert writer.receive_data(frame(F.END, b"end", run_number=RUN), 0.0) == [FailedRunEnded(RUN, 3)]
    answers = flush(writer)
    assert [(h.ack_for, h.image_number, h.ack_code, h.flags) for h, _ in answers] == [
        (F.DATA, 0, 0, AckFlags.OK),
        (F.DATA, 1, 5, AckFlags.FATAL | TEXT),
        (F.DATA, 2, 5, AckFlags.FATAL | TEXT),
        (F.DATA, 3, 5, AckFlags.FATAL | TEXT),
        (F.END, 0, 5, TEXT),
    ]
    assert {text for _, text in answers[1:]} == {b"x_000001.h5: no space"}
    assert {h.ack_processed_images for h, _ in answers} == {1}
    assert asked == []
    assert writer.state is State.IDLE
    # The next run is a run like any other.
    writer.receive_data(frame(F.START, run_number=RUN + 1), 0.0)
    assert writer.accept_start(RUN + 1, 0.0)
    writer.receive_data(image(0, run=RUN + 1), 0.0)
    assert writer.acknowledge_image(RUN + 1, 0, 0.0)
    assert [h.flags for h, _ in flush(writer)] == [AckFlags.OK, AckFlags.OK]


def test_a_run_that_is_given_up_while_it_ends_is_over_at_once() -> None:
    writer = writer_in(State.ENDING)
    assert writer.fail_run(RUN, AckCode.IO_ERROR, "fsync", 0.0) == [FailedRunEnded(RUN, 1)]
    assert [(h.ack_for, h.ack_code) for h, _ in flush(writer)] == [(F.DATA, 7), (F.END, 7)]
    assert writer.state is State.IDLE


def test_an_end_that_fails() -> None:
    writer = writer_in(State.ENDING)
    with pytest.raises(StateError, match="1 images of run 7 wait for an answer"):
        writer.accept_end(RUN, 0.0)
    writer.acknowledge_image(RUN, 0, 0.0)
    assert writer.refuse_end(RUN, AckCode.END_FAILED, "rename", 0.0)
    assert [(h.ack_for, h.ack_code, h.flags) for h, _ in flush(writer)] == [(F.DATA, 0, 1), (F.END, 3, TEXT)]


def test_a_bad_answer_needs_a_code() -> None:
    writer = writer_in(State.ENDING)
    none = AckCode.NONE
    for answer in (
        lambda: writer.fail_image(RUN, 0, none, "x", 0.0),
        lambda: writer.fail_run(RUN, none, "x", 0.0),
        lambda: writer.refuse_end(RUN, none, "x", 0.0),
        lambda: writer.refuse_start(RUN, none, "x", 0.0),
    ):
        with pytest.raises(UsageError, match="needs a code"):
            answer()
    assert not writer.unsent_bytes


def test_only_images_that_came_are_answered_and_each_once() -> None:
    writer = writer_in(State.RUNNING)
    with pytest.raises(UsageError, match="image 5 does not wait"):
        writer.acknowledge_image(RUN, 5, 0.0)
    writer.receive_data(image(0), 0.0)  # a foreign detector that uses a number twice
    assert writer.unanswered_images == 2
    writer.acknowledge_image(RUN, 0, 0.0)
    writer.acknowledge_image(RUN, 0, 0.0)
    with pytest.raises(UsageError, match="image 0 does not wait"):
        writer.acknowledge_image(RUN, 0, 0.0)
    assert writer.processed_images == 2


@pytest.mark.parametrize("run_number", [RUN, 0])
def test_cancel_is_answered_at_once_and_ends_the_run(run_number: int) -> None:
    writer = writer_in(State.RUNNING)
    assert writer.receive_data(frame(F.CANCEL, run_number=run_number), 0.0) == [RunCancelled(RUN)]
    ((header, _),) = flush(writer)
    assert (header.ack_for, header.flags, header.run_number) == (F.CANCEL, AckFlags.OK, run_number)
    assert writer.state is State.IDLE
    # What the disk finishes later is nobody's business any more.
    assert not writer.acknowledge_image(RUN, 0, 0.0)
    assert not writer.accept_end(RUN, 0.0)
    assert writer.counters.late_answers == 2
    assert not writer.unsent_bytes


def test_answers_of_a_cancelled_run_do_not_count_in_the_next() -> None:
    writer = writer_in(State.RUNNING)
    writer.receive_data(frame(F.CANCEL, run_number=RUN) + frame(F.START, run_number=RUN + 1), 0.0)
    assert not writer.accept_start(RUN, 0.0)
    assert writer.accept_start(RUN + 1, 0.0)
    writer.receive_data(image(0, run=RUN + 1), 0.0)
    assert not writer.acknowledge_image(RUN, 0, 0.0)
    assert writer.fail_run(RUN, AckCode.IO_ERROR, "late", 0.0) == []
    assert writer.unanswered_images == 1
    assert writer.processed_images == 0
    assert writer.state is State.RUNNING


def test_a_detector_that_starts_anew_without_an_end_has_lost_its_run() -> None:
    writer = writer_in(State.ENDING)
    lost, start = writer.receive_data(frame(F.START, b"s", run_number=RUN + 1), 0.0)
    assert isinstance(lost, RunLost)
    assert lost.run_number == RUN
    assert f"began run {RUN + 1} without ending run {RUN}" in str(lost.error)
    assert isinstance(start, StartReceived)
    assert writer.unanswered_images == 0
    assert not writer.accept_end(RUN, 0.0)
    assert writer.accept_start(RUN + 1, 0.0)


def test_a_broken_connection_loses_the_run() -> None:
    writer = writer_in(State.RUNNING)
    writer.receive_data(image(1)[:66], 0.0)
    run, connection = writer.receive_eof(0.0)
    assert isinstance(run, RunLost)
    assert isinstance(connection, ConnectionLost)
    assert isinstance(connection.error, PeerGoneError)
    assert f"{SENDER} closed the connection in the middle of a frame, in run 7 (RUNNING)" in str(connection.error)
    assert not writer.acknowledge_image(RUN, 0, 0.0)
    assert not writer.unsent_bytes
    assert writer.unanswered_images == 0


def test_closing_from_this_side_loses_the_run_too() -> None:
    writer = writer_in(State.STARTED)
    assert [type(event) for event in writer.close(0.0)] == [RunLost, ConnectionLost]
    assert writer.close(0.0) == []


# --- reading into buffers


def fill(writer: WriterConnection, data: bytes) -> list[object]:
    events: list[object] = []
    while data:
        room = writer.next_buffer()
        assert room is not None
        count = min(len(room), len(data))
        room[:count] = data[:count]
        data = data[count:]
        events += writer.received(count, 0.0)
    return events


def test_pixels_arrive_in_the_buffer_that_the_application_gave() -> None:
    buffers = [bytearray(1 << 20)]
    writer = WriterConnection(SENDER, now_s=0.0, allocate=lambda _: buffers[0])
    fill(writer, frame(F.START, b"start", run_number=RUN))
    writer.accept_start(RUN, 0.0)
    (event,) = fill(writer, image(0, b"x" * 5000))
    assert isinstance(event, ImageReceived)
    assert event.payload.obj is buffers[0]
    assert len(event.payload) == 5000


def test_garbage_and_the_end_in_the_way_of_reading_that_copies_nothing() -> None:
    writer = writer_in(State.RUNNING)
    events = fill(writer, bytes(64))
    assert [type(event) for event in events] == [RunLost, ConnectionLost]
    assert writer.received(5, 0.0) == []


def test_reading_pauses_while_too_much_waits() -> None:
    writer = writer_in(State.STARTED, max_unanswered=2)
    writer.receive_data(image(0), 0.0)
    assert not writer.paused
    writer.receive_data(image(1), 0.0)
    assert writer.paused
    writer.acknowledge_image(RUN, 1, 0.0)
    assert not writer.paused


def test_a_cancelled_run_keeps_nobody_from_reading() -> None:
    writer = writer_in(State.RUNNING, max_unanswered=1)
    assert writer.paused
    writer.receive_data(frame(F.CANCEL, run_number=RUN), 0.0)
    assert not writer.paused
    assert writer.unanswered_images == 0


def test_reading_pauses_while_the_detector_does_not_read_the_answers() -> None:
    writer = writer_in(State.STARTED)
    writer.fail_run(RUN, AckCode.IO_ERROR, "x" * 60_000, 0.0)
    for number in range(255):
        assert writer.paused == (number >= 253)  # of 4160 bytes each
        writer.receive_data(image(number), 0.0)
    flush(writer)
    assert not writer.paused


# --- time


def test_keepalives_are_answered_in_every_state_but_never_pile_up() -> None:
    writer = writer_in(State.IDLE)
    writer.receive_data(frame(F.KEEPALIVE) * 1000, 1.0)
    assert kinds(writer) == ["KEEPALIVE"]
    assert writer.counters.keepalives == 1000


def test_a_detector_that_has_died_without_a_word_is_noticed() -> None:
    writer = writer_in(State.IDLE)
    assert writer.next_deadline() == 30.0
    writer.receive_data(frame(F.KEEPALIVE), 5.0)
    flush(writer)
    assert writer.tick(34.9) == []
    (event,) = writer.tick(35.0)
    assert isinstance(event, ConnectionLost)
    assert f"{SENDER} has sent nothing for 30 s, not even a KEEPALIVE" in str(event.error)


def test_a_run_may_be_silent_for_ever() -> None:
    writer = writer_in(State.STARTED)
    assert writer.next_deadline() is None
    assert writer.tick(1e6) == []
    assert not writer.unsent_bytes


def test_the_silence_after_a_run_counts_from_its_end() -> None:
    writer = writer_in(State.ENDING)
    writer.acknowledge_image(RUN, 0, 100.0)
    writer.accept_end(RUN, 100.0)
    flush(writer)
    assert writer.next_deadline() == 130.0


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING, State.ENDING])
def test_a_busy_writer_says_that_it_lives(state: State) -> None:
    writer = writer_in(state)
    for second in (2.0, 4.0, 6.0):
        assert writer.next_deadline() == second
        assert writer.tick(second) == []
        assert writer.next_deadline() is None  # not again before the socket has taken this one
        assert kinds(writer) == ["KEEPALIVE"]


def test_half_an_image_is_a_reason_to_say_so_too() -> None:
    writer = writer_in(State.STARTED)
    writer.receive_data(image(0, bytes(1000))[:500], 50.0)
    assert writer.next_deadline() == 52.0
    writer.receive_data(image(0, bytes(1000))[500:600], 51.0)
    assert writer.next_deadline() == 52.0  # bytes that come are not words that were said


def test_a_writer_that_becomes_busy_has_two_seconds_from_then() -> None:
    writer = writer_in(State.STARTED)
    writer.receive_data(image(0), 100.0)
    assert writer.next_deadline() == 102.0
    writer.acknowledge_image(RUN, 0, 101.0)
    flush(writer)
    assert writer.next_deadline() is None


def test_both_can_be_switched_off() -> None:
    silent = WriterTimeouts(busy_keepalive_s=None, silence_s=None)
    assert writer_in(State.IDLE, timeouts=silent).next_deadline() is None
    assert writer_in(State.RUNNING, timeouts=silent).next_deadline() is None


# --- detectors that break the rules


@pytest.mark.parametrize(
    "data",
    [
        b"\xd9\xd9\xf7\xb8\x1fdtypeestart".ljust(64),
        frame(F.KEEPALIVE)[:4] + b"\x01\x00" + frame(F.KEEPALIVE)[6:],
        encode_header(FrameHeader(F.DATA, payload_size=(512 << 20) + 1, run_number=RUN)),
        encode_header(FrameHeader(F.DATA, payload_size=(1 << 64) - 1, run_number=RUN)),
        encode_header(FrameHeader(F.START, payload_size=1 << 62, run_number=RUN)),
        encode_header(FrameHeader(F.DATA, payload_size=1 << 62, run_number=RUN + 1)),
        encode_header(FrameHeader(F.CANCEL, payload_size=1 << 20, run_number=RUN)),
        encode_header(FrameHeader(12, payload_size=1 << 62)),
        ack(F.DATA),
        ack(0),
    ],
)
def test_garbage_ends_the_connection_with_the_reason(data: bytes) -> None:
    asked: list[int] = []
    writer = writer_in(State.STARTED)
    writer._reader._allocate = lambda size: asked.append(size) or bytearray(size)
    run, lost = writer.receive_data(data, 0.0)
    assert isinstance(run, RunLost)
    assert isinstance(lost, ConnectionLost)
    ((header, text),) = flush(writer)
    assert (header.type, header.ack_for, header.ack_code, header.run_number) == (F.ACK, 0, 8, RUN)
    assert text.decode() in str(lost.error)
    assert asked == []


def test_a_limit_of_its_own() -> None:
    writer = writer_in(State.STARTED, max_payload_bytes=100)
    writer.receive_data(image(0, bytes(100)), 0.0)
    assert writer.state is State.RUNNING
    writer.receive_data(image(1, bytes(101)), 0.0)
    assert writer.state is State.CLOSED


def test_a_detector_that_has_no_room_says_so() -> None:
    writer = WriterConnection(SENDER, now_s=0.0)
    (lost,) = writer.receive_data(ack(0, flags=0, code=8, text="2 writers are connected"), 0.0)
    assert isinstance(lost, ConnectionLost)
    assert isinstance(lost.error, RefusedError)
    assert "2 writers are connected" in str(lost.error)
    writer = writer_in(State.RUNNING)
    lost = writer.receive_data(ack(0, flags=0, code=8, text="what?"), 0.0)[-1]
    assert isinstance(lost, ConnectionLost)
    assert isinstance(lost.error, ProtocolError)
    assert not writer.unsent_bytes


def test_an_error_text_is_bounded_on_the_way_in() -> None:
    writer = WriterConnection(SENDER, now_s=0.0)
    (lost,) = writer.receive_data(ack(0, flags=0, code=8, text="x" * 60_000), 0.0)
    assert isinstance(lost, ConnectionLost)
    assert len(str(lost.error)) < 700
