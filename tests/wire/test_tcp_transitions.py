"""Every state and every step, legal or not, done to real connections: what happens is what the table says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from labwire.errors import PeerGoneError, ProtocolError, StateError
from labwire.wire.tcp_events import ConnectionLost
from labwire.wire.tcp_frame import AckCode, AckFlags, FrameType
from labwire.wire.tcp_sender import SenderConnection
from labwire.wire.tcp_states import TRANSITIONS, Role, State, Step
from labwire.wire.tcp_writer import WriterConnection
from tests.wire.tcp_peers import RUN, ack, flush, frame, sender_in, writer_in

LATE = 1000.0

SENDER_SAYS: dict[Step, Callable[[SenderConnection], object]] = {
    Step.START: lambda sender: sender.start(RUN + 1, 0, b"start", 0.0),
    Step.CALIBRATION: lambda sender: sender.send_calibration(b"calibration", 0.0),
    Step.DATA: lambda sender: sender.send_image(5, b"pixels", 0.0),
    Step.END: lambda sender: sender.end(b"end", 0.0),
    Step.CANCEL: lambda sender: sender.cancel(0.0),
}
SENDER_HEARS = {
    Step.START_OK: ack(FrameType.START),
    Step.START_REFUSED: ack(FrameType.START, flags=0, code=1),
    Step.DATA_ACK: ack(FrameType.DATA),
    Step.FATAL: ack(FrameType.DATA, flags=AckFlags.FATAL, code=5),
    Step.END_ACK: ack(FrameType.END),
    Step.CANCEL_ACK: ack(FrameType.CANCEL),
}
SENDER_OPEN = set(State) - {State.CLOSED}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("step", SENDER_SAYS)
def test_the_sender_says_only_what_the_table_allows(state: State, step: Step) -> None:
    sender = sender_in(state)
    after = TRANSITIONS[Role.SENDER].get((state, step))
    if after is None:
        with pytest.raises(StateError, match=r"not possible|not ready"):
            SENDER_SAYS[step](sender)
        assert sender.state is state
        assert not sender.unsent_bytes
    else:
        SENDER_SAYS[step](sender)
        assert sender.state is after
        assert [FrameType(header.type).name for header, _ in flush(sender)] == [step.name]


@pytest.mark.parametrize("state", SENDER_OPEN)
@pytest.mark.parametrize("step", SENDER_HEARS)
def test_the_sender_ignores_answers_that_the_table_has_not(state: State, step: Step) -> None:
    sender = sender_in(state)
    after = TRANSITIONS[Role.SENDER].get((state, step))
    stray = sender.counters.stray
    events = sender.receive_data(SENDER_HEARS[step], 0.0)
    assert sender.state is (state if after is None else after)
    assert sender.counters.stray - stray == (after is None)
    assert after is not None or not events
    assert not sender.unsent_bytes


@pytest.mark.parametrize("state", SENDER_OPEN)
@pytest.mark.parametrize("kind", ["START", "DATA", "CALIBRATION", "END", "CANCEL"])
def test_a_writer_that_sends_what_only_a_detector_sends_is_dropped(state: State, kind: str) -> None:
    sender = sender_in(state)
    (event,) = sender.receive_data(frame(FrameType[kind], b"", run_number=RUN), 0.0)
    assert isinstance(event, ConnectionLost)
    assert isinstance(event.error, ProtocolError)
    assert sender.state is State.CLOSED


@pytest.mark.parametrize("step", [Step.END_LATE, Step.CANCEL_LATE])
@pytest.mark.parametrize("state", SENDER_OPEN)
def test_the_sender_gives_up_waiting_where_the_table_says_so(state: State, step: Step) -> None:
    sender = sender_in(state)
    if state is State.ENDING:
        sender.receive_data(ack(FrameType.DATA), 0.0)
    if (state, step) in TRANSITIONS[Role.SENDER]:
        due_s = sender.next_deadline()
        assert due_s is not None
        assert sender.tick(due_s - 0.001) == []
        assert sender.state is state
        assert sender.tick(due_s)
        assert sender.state is State.IDLE


HEARD = {
    Step.START: FrameType.START,
    Step.CALIBRATION: FrameType.CALIBRATION,
    Step.DATA: FrameType.DATA,
    Step.END: FrameType.END,
    Step.CANCEL: FrameType.CANCEL,
}
# What a writer's own table adds on the way: it answers CANCEL at once, and END of a run that it gave up.
THROUGH = {State.CANCELLING: State.IDLE}
WRITER_STATES = [state for state in State if state not in {State.CLOSED, State.CANCELLING}]


@pytest.mark.parametrize("state", WRITER_STATES)
@pytest.mark.parametrize("step", HEARD)
def test_the_writer_takes_what_the_table_allows_and_drops_who_breaks_it(state: State, step: Step) -> None:
    writer = writer_in(state)
    after = TRANSITIONS[Role.WRITER].get((state, step))
    events = writer.receive_data(frame(HEARD[step], b"", image_number=9, run_number=RUN), 0.0)
    if after is not None:
        after = State.IDLE if (state, step) == (State.FAILED, Step.END) else THROUGH.get(after, after)
        assert writer.state is after
        assert writer.counters.stray == (state is State.IDLE and step is Step.CANCEL)
    elif state is State.IDLE:  # a frame of a run that this writer has no part in
        assert writer.state is state
        assert writer.counters.stray == 1
        assert events == []
        assert not writer.unsent_bytes
    else:
        assert writer.state is State.CLOSED
        assert isinstance(events[-1], ConnectionLost)
        assert f"{step.name} must not come in state {state.name}" in str(events[-1].error)
        ((told, text),) = flush(writer)
        assert (told.type, told.ack_code, told.ack_for) == (FrameType.ACK, AckCode.PROTOCOL_ERROR, 0)
        assert step.name in text.decode()


@pytest.mark.parametrize("state", WRITER_STATES)
@pytest.mark.parametrize("step", HEARD)
def test_the_writer_ignores_frames_of_another_run_and_takes_no_memory_for_them(state: State, step: Step) -> None:
    if step is Step.START:
        return
    asked: list[int] = []
    writer = writer_in(state)
    writer._reader._allocate = lambda size: asked.append(size) or bytearray(size)
    body = b"" if step is Step.CANCEL else bytes(500)
    events = writer.receive_data(frame(HEARD[step], body, image_number=9, run_number=RUN + 1), 0.0)
    assert (writer.state, events, asked, writer.counters.stray) == (state, [], [], 1)
    answers = flush(writer)
    assert [(header.ack_for, header.flags, header.run_number) for header, _ in answers] == (
        [(FrameType.CANCEL, AckFlags.OK, RUN + 1)] if step is Step.CANCEL else []
    )


ANSWERS: dict[Step, Callable[[WriterConnection], object]] = {
    Step.START_OK: lambda writer: writer.accept_start(RUN, 0.0),
    Step.START_REFUSED: lambda writer: writer.refuse_start(RUN, AckCode.IO_ERROR, "no", 0.0),
    Step.FATAL: lambda writer: writer.fail_run(RUN, AckCode.IO_ERROR, "no", 0.0),
    Step.END_ACK: lambda writer: writer.accept_end(RUN, 0.0),
}


@pytest.mark.parametrize("state", [*WRITER_STATES, State.CLOSED])
@pytest.mark.parametrize("step", ANSWERS)
def test_the_writer_answers_only_what_was_asked(state: State, step: Step) -> None:
    writer = writer_in(state)
    if state is State.ENDING and step is Step.END_ACK:
        writer.acknowledge_image(RUN, 0, 0.0)
        flush(writer)
    after = TRANSITIONS[Role.WRITER].get((state, step))
    if state in {State.IDLE, State.CLOSED, State.FAILED}:  # over, or answered for it already
        assert not ANSWERS[step](writer)
        assert writer.counters.late_answers == 1
        assert (writer.state, writer.unsent_bytes) == (state, 0)
    elif after is None:
        with pytest.raises(StateError):
            ANSWERS[step](writer)
        assert (writer.state, writer.unsent_bytes) == (state, 0)
    else:
        ANSWERS[step](writer)
        ended = state is State.ENDING and step is Step.FATAL
        assert writer.state is (State.IDLE if ended else after)


@pytest.mark.parametrize("state", State)
def test_a_broken_connection_is_closed_for_good(state: State) -> None:
    for connection in (sender_in(state), writer_in(state) if state is not State.CANCELLING else sender_in(state)):
        events = connection.receive_eof(0.0, "was reset")
        assert connection.state is State.CLOSED
        if state is State.CLOSED:
            assert events == []
            continue
        lost = events[-1]
        assert isinstance(lost, ConnectionLost)
        assert isinstance(lost.error, PeerGoneError)
        assert "was reset" in str(lost.error)
        assert connection.receive_data(b"x" * 200, 0.0) == []
        assert connection.receive_eof(0.0) == []
        assert connection.next_deadline() is None
        assert connection.tick(LATE) == []


@pytest.mark.parametrize("state", State)
def test_a_keepalive_and_an_unknown_frame_are_signs_of_life_and_change_nothing(state: State) -> None:
    sender = sender_in(state)
    events = sender.receive_data(frame(FrameType.KEEPALIVE) + frame(8, b"busy", run_number=RUN), 1.0)
    assert (events, sender.state, sender.unsent_bytes) == ([], state, 0)
    if state is not State.CLOSED:
        assert (sender.counters.keepalives, sender.counters.unknown) == (1, 1)
    if state is State.CANCELLING:
        return
    writer = writer_in(state)
    events = writer.receive_data(frame(FrameType.KEEPALIVE) + frame(8, b"busy", run_number=RUN), 1.0)
    assert (events, writer.state) == ([], state)
    assert [header.type for header, _ in flush(writer)] == ([] if state is State.CLOSED else [FrameType.KEEPALIVE])
