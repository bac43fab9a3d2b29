"""The detector's side: headers that it sends, answers that it takes, and how long it waits."""

from __future__ import annotations

import pytest

from labwire.errors import DeadlineError, DiskLowError, PeerError, PeerGoneError, ProtocolError, StateError, UsageError
from labwire.wire.tcp_events import (
    Cancelled,
    ConnectionLost,
    EndAcknowledged,
    EndFailed,
    ImageFailed,
    StartAcknowledged,
    StartFailed,
)
from labwire.wire.tcp_frame import AckCode, AckFlags, FrameHeader, FrameType, decode_header, encode_header
from labwire.wire.tcp_sender import SenderConnection
from labwire.wire.tcp_states import State
from labwire.wire.tcp_timeouts import SenderTimeouts
from tests.wire.tcp_peers import RUN, WRITER, ack, flush, frame, kinds, sender_in

FATAL = AckFlags.FATAL


def sender() -> SenderConnection:
    return SenderConnection(WRITER, now_s=0.0)


def test_a_whole_run_frame_by_frame() -> None:
    connection = sender()
    connection.start(RUN, 0, b"start", 0.0)
    assert connection.receive_data(ack(FrameType.START), 0.0) == [StartAcknowledged()]
    connection.send_calibration([b"cali", b"bration"], 0.0)
    for number in (0, 1, 4096):
        connection.send_image(number, [b"head", b"pixels"], 0.0)
    connection.end(b"end", 0.0)
    said = flush(connection)
    assert [(FrameType(h.type).name, h.image_number, h.socket_number, h.run_number, body) for h, body in said] == [
        ("START", 0, 0, RUN, b"start"),
        ("CALIBRATION", 0, 0, RUN, b"calibration"),
        ("DATA", 0, 0, RUN, b"headpixels"),
        ("DATA", 1, 0, RUN, b"headpixels"),
        ("DATA", 4096, 0, RUN, b"headpixels"),
        ("END", 0, 0, RUN, b"end"),
    ]
    assert all((h.flags, h.ack_code, h.ack_for, h.ack_processed_images) == (0, 0, 0, 0) for h, _ in said)
    answers = b"".join(ack(FrameType.DATA, image=number, done=done) for done, number in ((1, 0), (2, 4096), (3, 1)))
    assert connection.receive_data(answers, 0.0) == []
    assert connection.receive_data(ack(FrameType.END, done=3), 0.0) == [EndAcknowledged(3)]
    result = connection.account.result()
    assert (result.offered, result.acknowledged, result.missing, result.processed) == (3, 3, 0, 3)
    assert connection.state is State.IDLE
    assert connection.run_number is None


def test_the_socket_number_goes_into_every_frame_of_the_run() -> None:
    connection = sender()
    connection.start(RUN, 3, b"start", 0.0)
    connection.receive_data(ack(FrameType.START), 0.0)
    with pytest.raises(StateError, match="connection 0 only"):
        connection.send_calibration(b"", 0.0)
    connection.send_image(0, b"", 0.0)
    connection.end(b"", 0.0)
    connection.cancel(0.0)
    assert {header.socket_number for header, _ in flush(connection)} == {3}


def test_a_refused_start_is_told_with_code_and_text() -> None:
    connection = sender_in(State.STARTING)
    (event,) = connection.receive_data(ack(FrameType.START, flags=0, code=5, text="no room in /data"), 0.0)
    assert isinstance(event, StartFailed)
    assert isinstance(event.error, DiskLowError)
    assert str(event.error) == f"{WRITER} refuses START of run {RUN}: NoSpaceLeft: no room in /data"
    assert connection.account.faults[0].code == "NoSpaceLeft"
    connection.start(RUN + 1, 0, b"", 0.0)  # the connection is as good as before


def test_a_start_that_is_not_answered_is_taken_back_because_it_may_have_started_all_the_same() -> None:
    connection = sender_in(State.STARTING)
    assert connection.next_deadline() == 5.0
    assert connection.tick(4.999) == []
    (event,) = connection.tick(5.0)
    assert isinstance(event, StartFailed)
    assert isinstance(event.error, DeadlineError)
    assert f"{WRITER} did not acknowledge START of run {RUN} within 5 s" in str(event.error)
    assert kinds(connection, 5.0) == ["CANCEL"]
    assert connection.receive_data(ack(FrameType.START), 5.1) == []  # too late
    assert connection.state is State.CANCELLING
    assert connection.next_deadline() == 5.5
    assert connection.receive_data(ack(FrameType.CANCEL), 5.2) == [Cancelled(acknowledged=True)]
    assert connection.counters.stray == 1


def test_the_wait_for_the_start_begins_when_it_is_out_but_has_an_end() -> None:
    connection = sender()
    connection.start(RUN, 0, bytes(10_000), 0.0)
    for second in range(0, 56, 4):
        connection.data_to_send()
        connection.bytes_sent(1, float(second))
        assert connection.next_deadline() == second + 5.0
    connection.bytes_sent(1, 58.0)
    assert connection.next_deadline() == 60.0
    assert isinstance(connection.tick(60.0)[0], StartFailed)


def test_a_cancel_that_is_not_answered_leaves_the_connection_usable() -> None:
    connection = sender_in(State.CANCELLING)
    assert connection.tick(0.499) == []
    assert connection.tick(0.5) == [Cancelled(acknowledged=False)]
    connection.start(RUN + 1, 0, b"", 1.0)
    assert connection.receive_data(ack(FrameType.CANCEL), 1.0) == []
    assert connection.receive_data(ack(FrameType.START, run=RUN + 1), 1.0) == [StartAcknowledged()]


def test_cancel_goes_in_front_of_all_that_has_not_begun_to_go_out() -> None:
    connection = sender_in(State.STARTED)
    for number in range(4):
        connection.send_image(number, bytes(1000), 0.0)
    first = connection.data_to_send()
    connection.bytes_sent(1500, 0.0)  # the first image is out, the second has begun
    connection.cancel(0.0)
    rest = b"".join(connection.data_to_send())
    assert len(rest) == 2 * 1064 - 1500 + 64
    assert rest[:500] == b"".join(first)[1500:2000]
    assert rest[-64:] == frame(FrameType.CANCEL, run_number=RUN)
    assert connection.account.result().missing == 4


def test_failed_images_are_counted_and_the_flow_goes_on() -> None:
    connection = sender_in(State.STARTED)
    for number in range(4):
        connection.send_image(number, b"", 0.0)
    (first,) = connection.receive_data(ack(FrameType.DATA, image=0, flags=0, code=2, text="odd"), 0.0)
    assert isinstance(first, ImageFailed)
    assert not first.fatal
    assert connection.state is State.RUNNING
    (second,) = connection.receive_data(ack(FrameType.DATA, image=1, flags=FATAL, code=5, text="/d/x_1.h5 full"), 0.0)
    assert isinstance(second, ImageFailed)
    assert second.fatal
    assert isinstance(second.error, DiskLowError)
    assert str(second.error) == f"{WRITER} could not store image 1 of run {RUN}: NoSpaceLeft: /d/x_1.h5 full"
    assert connection.state is State.FAILED
    assert connection.ready_for_image
    # FATAL wins over OK; neither of them is a failure too.
    (third,) = connection.receive_data(ack(FrameType.DATA, image=2, flags=FATAL | AckFlags.OK, code=7), 0.0)
    (fourth,) = connection.receive_data(ack(FrameType.DATA, image=3, flags=0), 0.0)
    assert isinstance(third, ImageFailed)
    assert isinstance(fourth, ImageFailed)
    connection.end(b"", 0.0)
    (end,) = connection.receive_data(ack(FrameType.END, flags=0, code=5, text="full", done=9), 0.0)
    assert isinstance(end, EndFailed)
    result = connection.account.result()
    assert result.processed == 9
    assert (result.failed, result.acknowledged, result.missing) == (4, 0, 0)
    codes = ["DataWriteFailed", "NoSpaceLeft", "IoError", "None", "NoSpaceLeft"]
    assert [fault.code for fault in connection.account.faults] == codes
    assert [fault.image_number for fault in connection.account.faults] == [0, 1, 2, 3, None]


@pytest.mark.parametrize("chunk_bytes", [1, 63, 64, 65, 100, 192, 10_000])
def test_answers_count_the_same_in_a_block_and_in_pieces(chunk_bytes: int) -> None:
    connection = sender_in(State.STARTED)
    flush(connection)
    for number in range(12):
        connection.send_image(number, b"pixels", 0.0)
    flush(connection)
    answers = [ack(FrameType.DATA, image=number, done=number + 1) for number in range(8)]
    answers.insert(2, ack(FrameType.DATA, image=1))  # answered already
    answers.insert(3, ack(FrameType.DATA, image=9, run=RUN - 1))  # of another run
    answers.insert(5, frame(FrameType.KEEPALIVE))
    answers.insert(6, frame(99, b"from the future"))
    answers.append(ack(FrameType.DATA, image=8, flags=0, code=5, text="full"))
    answers.append(ack(FrameType.DATA, image=10, done=9))
    data = b"".join(answers)
    for at in range(0, len(data), chunk_bytes):
        connection.receive_data(data[at : at + chunk_bytes], 1.0)
    result, counters = connection.account.result(), connection.counters
    assert (result.acknowledged, result.failed, result.missing_images, result.processed) == (9, 1, (9, 11), 9)
    assert (counters.stray, counters.keepalives, counters.unknown) == (2, 1, 1)
    assert counters.frames == len(answers) + 1, "the answer to START too"
    assert connection.state is State.RUNNING


def test_a_million_failures_keep_sixteen_texts() -> None:
    connection = sender_in(State.STARTED)
    for number in range(100):
        connection.send_image(number, b"", 0.0)
        text = f"sector {number}" if number >= 50 else "the same sector"
        connection.receive_data(ack(FrameType.DATA, image=number, flags=FATAL | 4, code=7, text=text), 0.0)
    assert (len(connection.account.faults), connection.account.faults_total) == (16, 51)
    assert [fault.images for fault in connection.account.faults] == [50] + 15 * [1]
    assert connection.account.failed == 100


def test_images_that_fail_for_one_reason_are_one_fault_though_the_writer_names_each() -> None:
    connection = sender_in(State.STARTED)
    for number in range(12):
        connection.send_image(number, b"", 0.0)
        text = f"image {number}: START announced 0 images"
        connection.receive_data(ack(FrameType.DATA, image=number, flags=4, code=2, text=text), 0.0)
    account = connection.account
    assert [(fault.image_number, fault.images) for fault in account.faults] == [(0, 12)]


def test_answers_to_nothing_are_ignored_and_counted() -> None:
    connection = sender_in(State.RUNNING)
    strays = [
        ack(FrameType.DATA, image=0, run=RUN - 1),
        ack(FrameType.DATA, image=1),
        ack(FrameType.DATA, image=1, flags=FATAL, code=5),
        ack(FrameType.CALIBRATION),
        ack(FrameType.KEEPALIVE),
        ack(99),
        ack(0),
    ]
    assert connection.receive_data(b"".join(strays), 0.0) == []
    assert connection.counters.stray == len(strays)
    assert connection.account.result().acknowledged == 0
    assert connection.state is State.RUNNING
    connection.receive_data(ack(FrameType.DATA, image=0), 0.0)
    connection.receive_data(ack(FrameType.DATA, image=0), 0.0)  # twice
    assert connection.counters.stray == len(strays) + 1
    assert connection.account.result().acknowledged == 1


def test_no_answer_of_one_run_counts_in_the_next() -> None:
    connection = sender_in(State.RUNNING)
    connection.cancel(0.0)
    connection.tick(0.5)
    connection.start(RUN + 1, 0, b"", 0.5)
    late = ack(FrameType.DATA) + ack(FrameType.END) + ack(FrameType.START) + ack(FrameType.CANCEL)
    assert connection.receive_data(late, 0.6) == []
    assert connection.state is State.STARTING
    connection.receive_data(ack(FrameType.START, run=RUN + 1), 0.7)
    connection.send_image(0, b"", 0.7)
    assert connection.receive_data(late, 0.8) == []
    assert connection.account.result().acknowledged == 0
    assert connection.counters.stray == 8


def test_a_writer_that_acknowledges_only_at_the_end_is_believed_if_it_has_all() -> None:
    for done, acknowledged, faults in ((3, 3, 0), (2, 0, 1), (0, 0, 0), (4, 0, 1)):
        connection = sender_in(State.STARTED)
        for number in range(3):
            connection.send_image(number, b"", 0.0)
        connection.end(b"", 0.0)
        connection.receive_data(ack(FrameType.END, done=done), 0.0)
        result = connection.account.result()
        assert (result.acknowledged, result.missing) == (acknowledged, 3 - acknowledged)
        assert connection.account.faults_total == faults
        assert result.missing_images == (() if acknowledged else (0, 1, 2))


def test_a_count_at_the_end_that_differs_from_the_answers_is_a_fault() -> None:
    connection = sender_in(State.RUNNING)
    connection.receive_data(ack(FrameType.DATA, done=1), 0.0)
    connection.end(b"", 0.0)
    connection.receive_data(ack(FrameType.END, done=0), 0.0)
    assert "says at END that it processed 0 images, and it acknowledged 1 of 1" in connection.account.faults[0].message


def test_the_wait_for_the_end_begins_when_all_images_are_answered() -> None:
    connection = sender_in(State.RUNNING)
    connection.end(b"", 0.0)
    flush(connection, 1.0)
    assert connection.next_deadline() == 11.0  # liveness, because image 0 is not answered
    connection.receive_data(frame(FrameType.KEEPALIVE), 9.0)
    assert connection.next_deadline() == 19.0
    connection.receive_data(ack(FrameType.DATA, done=1), 15.0)
    assert connection.next_deadline() == 25.0  # END
    connection.receive_data(frame(FrameType.KEEPALIVE), 20.0)
    assert connection.next_deadline() == 25.0
    (event,) = connection.tick(25.0)
    assert isinstance(event, EndFailed)
    assert "did not acknowledge END of run 7 within 10 s" in str(event.error)
    assert connection.state is State.IDLE
    assert connection.receive_data(ack(FrameType.END, done=1), 25.1) == []
    assert connection.counters.stray == 1


# --- a writer that stalls


def test_nothing_is_due_while_nothing_waits_for_the_writer() -> None:
    connection = sender_in(State.RUNNING)
    connection.receive_data(ack(FrameType.DATA), 1.0)
    assert connection.next_deadline() is None
    assert connection.tick(1e6) == []
    connection.send_image(1, b"", 1000.0)
    assert connection.next_deadline() == 1010.0  # counted from now, not from the last sign of life


def test_a_dead_writer_is_given_up_after_the_liveness_timeout() -> None:
    connection = sender_in(State.RUNNING)
    assert connection.tick(9.999) == []
    (event,) = connection.tick(10.0)
    assert isinstance(event, ConnectionLost)
    assert isinstance(event.error, PeerGoneError)
    assert f"{WRITER} gave no sign of life for 10 s, 1 images unacknowledged, 0 bytes unsent" in str(event.error)
    assert connection.account.result().missing_images == (0,)


@pytest.mark.parametrize("sign", [frame(FrameType.KEEPALIVE), frame(8), ack(FrameType.DATA, run=1)])
def test_a_writer_that_stalls_and_lives_is_waited_for_until_the_other_limit(sign: bytes) -> None:
    connection = sender_in(State.RUNNING)
    for second in range(1, 59):
        assert connection.tick(float(second)) == []
        if second % 9 == 0:
            connection.receive_data(sign, float(second))
    assert connection.next_deadline() == 60.0
    (event,) = connection.tick(60.0)
    assert isinstance(event, ConnectionLost)
    assert isinstance(event.error, DeadlineError)
    assert "alive but took nothing for 60 s" in str(event.error)


def test_bytes_that_the_socket_takes_are_life_and_progress() -> None:
    connection = sender_in(State.STARTED)
    connection.send_image(0, bytes(1000), 0.0)
    for second in range(0, 200, 9):
        assert connection.tick(float(second)) == []
        connection.data_to_send()
        connection.bytes_sent(1, float(second))
    connection.bytes_sent(0, 300.0)  # a write that took nothing is no progress
    assert connection.next_deadline() == 198.0 + 10.0


def test_images_without_an_answer_are_bounded() -> None:
    connection = sender_in(State.STARTED, max_unacknowledged=3)
    for number in range(3):
        assert connection.ready_for_image
        connection.send_image(number, b"", 0.0)
    assert not connection.ready_for_image
    with pytest.raises(StateError, match="3 images unacknowledged"):
        connection.send_image(3, b"", 0.0)
    connection.receive_data(ack(FrameType.DATA, image=1), 0.0)
    connection.send_image(3, b"", 0.0)


def test_bytes_that_the_socket_does_not_take_are_bounded_but_one_image_always_goes() -> None:
    connection = sender_in(State.STARTED, max_unsent_bytes=1000)
    connection.send_image(0, bytes(5000), 0.0)
    assert not connection.ready_for_image
    connection.data_to_send()
    connection.bytes_sent(4500, 0.0)
    assert connection.ready_for_image


def test_an_image_number_is_used_once_in_a_run() -> None:
    connection = sender_in(State.RUNNING)
    with pytest.raises(UsageError, match="image 0 is on its way already"):
        connection.send_image(0, b"", 0.0)
    with pytest.raises(UsageError, match="does not fit"):
        connection.send_image(-1, b"", 0.0)
    assert connection.account.result().offered == 1
    assert not connection.unsent_bytes


# --- idle


def test_a_keepalive_every_five_seconds_and_three_without_an_answer() -> None:
    connection = sender()
    for second in (5.0, 10.0, 15.0):
        assert connection.next_deadline() == second
        assert connection.tick(second) == []
        assert kinds(connection, second) == ["KEEPALIVE"]
        assert connection.tick(second) == []
    (event,) = connection.tick(20.0)
    assert isinstance(event, ConnectionLost)
    assert f"{WRITER} did not answer 3 KEEPALIVEs, one every 5 s" in str(event.error)


def test_any_sign_of_life_is_an_answer() -> None:
    connection = sender()
    for second in range(5, 500, 5):
        assert connection.tick(float(second)) == []
        assert kinds(connection, float(second)) == ["KEEPALIVE"]
        if second % 15 == 10:
            connection.receive_data(frame(FrameType.KEEPALIVE if second % 2 else 9), second + 0.1)
    assert connection.state is State.IDLE


def test_bytes_that_were_read_in_place_are_signs_of_life_too() -> None:
    connection = sender_in(State.RUNNING)
    room = connection.next_buffer()
    assert room is not None
    room[:1] = b"T"
    connection.received(1, 4.0)
    assert connection.next_deadline() == 14.0


def test_a_pong_is_not_answered() -> None:
    connection = sender()
    connection.receive_data(frame(FrameType.KEEPALIVE) * 3, 1.0)
    assert not connection.unsent_bytes
    assert connection.counters.keepalives == 3


def test_no_keepalive_in_a_run_and_the_next_one_five_seconds_after_it() -> None:
    connection = sender_in(State.RUNNING)
    connection.receive_data(ack(FrameType.DATA, done=1), 1.0)
    connection.tick(100.0)
    assert not connection.unsent_bytes
    connection.end(b"", 100.0)
    flush(connection, 100.0)
    connection.receive_data(ack(FrameType.END, done=1), 101.0)
    assert connection.next_deadline() == 106.0


def test_times_are_options() -> None:
    timeouts = SenderTimeouts(start_ack_s=1, keepalive_s=2, missed_keepalives=1)
    connection = SenderConnection(WRITER, now_s=0.0, timeouts=timeouts)
    connection.tick(2.0)
    assert isinstance(connection.tick(4.0)[0], ConnectionLost)
    connection = SenderConnection(WRITER, now_s=0.0, timeouts=timeouts)
    connection.start(1, 0, b"", 0.0)
    assert connection.next_deadline() == 1.0


# --- peers that break the rules


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: detector\r\n\r\n".ljust(64, b" "),
        bytes(64),
        frame(FrameType.KEEPALIVE)[:4] + b"\x03\x00" + frame(FrameType.KEEPALIVE)[6:],
        encode_header(FrameHeader(FrameType.ACK, payload_size=(64 << 10) + 1)),
        encode_header(FrameHeader(FrameType.ACK, payload_size=(1 << 64) - 1)),
        encode_header(FrameHeader(FrameType.KEEPALIVE, payload_size=1 << 40)),
        encode_header(FrameHeader(99, payload_size=1 << 40)),
    ],
)
def test_garbage_drops_the_peer_and_tells_it_why(data: bytes) -> None:
    connection = sender_in(State.RUNNING)
    (event,) = connection.receive_data(data + frame(FrameType.KEEPALIVE), 0.0)
    assert isinstance(event, ConnectionLost)
    assert str(event.error).startswith(f"{WRITER}: ")
    assert str(event.error).endswith(f", in run {RUN} (RUNNING)")
    assert connection.account.faults_total == 1
    ((header, text),) = flush(connection)
    assert (header.type, header.ack_for, header.ack_code) == (FrameType.ACK, 0, AckCode.PROTOCOL_ERROR)
    assert header.flags == AckFlags.HAS_ERROR_TEXT
    assert text


def test_what_had_not_begun_to_go_out_stays_behind_when_a_peer_is_dropped() -> None:
    connection = sender_in(State.STARTED)
    for number in range(3):
        connection.send_image(number, bytes(100), 0.0)
    connection.data_to_send()
    connection.bytes_sent(10, 0.0)
    connection.receive_data(bytes(64), 0.0)
    rest = b"".join(connection.data_to_send())
    begun = frame(FrameType.DATA, bytes(100), run_number=RUN)[10:]
    assert rest.startswith(begun)
    assert decode_header(rest, len(begun)).type == FrameType.ACK
    assert connection.account.result().missing_images == (0, 1, 2)


def test_a_writer_may_say_why_it_ends_the_connection() -> None:
    connection = sender_in(State.IDLE)
    (event,) = connection.receive_data(ack(0, flags=0, code=8, text="version 3?"), 0.0)
    assert isinstance(event, ConnectionLost)
    assert isinstance(event.error, ProtocolError)
    assert f"{WRITER} ends the connection: ProtocolError: version 3?" in str(event.error)
    assert not connection.unsent_bytes


def test_closing_from_this_side() -> None:
    connection = sender_in(State.RUNNING)
    (event,) = connection.close(0.0)
    assert isinstance(event, ConnectionLost)
    assert "closed by this side, in run 7" in str(event.error)
    assert not connection.unsent_bytes
    assert connection.close(0.0) == []
    connection = sender_in(State.IDLE)
    connection.close(0.0, PeerError("no room"))
    ((header, text),) = flush(connection)
    assert (header.ack_for, text) == (0, b"no room")


def test_a_cut_in_the_middle_of_a_frame_is_told() -> None:
    connection = sender_in(State.RUNNING)
    connection.receive_data(ack(FrameType.DATA)[:63], 0.0)
    (event,) = connection.receive_eof(0.0)
    assert isinstance(event, ConnectionLost)
    assert "closed the connection in the middle of a frame, in run 7 (RUNNING)" in str(event.error)
