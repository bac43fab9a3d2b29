"""Notes of ZeroMQ writers: the spec's JSON, what is checked, what is summed up, and what is missed after 60 s."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labwire.errors import DeadlineError, PeerError, ProtocolError, TooLargeError, UsageError
from labwire.wire.writer_note import (
    MAX_NOTE_BYTES,
    NOTES_TIMEOUT_S,
    NoteBook,
    NoteVerdict,
    WriterNote,
    decode_note,
    encode_note,
)

SPEC_GOOD = b"""{
"run_number":135,
"run_name": "lysozyme_1",
"socket_number": 1,
"processed_images":250,
"ok": true
}"""
SPEC_BAD = b"""{
"run_number":135,
"run_name": "lysozyme_1",
"socket_number": 1,
"processed_images": 0,
"ok": false,
"error": "Permission error"
}"""
GOOD = WriterNote(run_number=135, run_name="lysozyme_1", socket_number=1, processed_images=250, ok=True)


def book(sockets: int = 2) -> NoteBook:
    return NoteBook(135, "lysozyme_1", [f"tcp://10.0.0.1:{9000 + number}" for number in range(sockets)])


def note(socket: int = 0, processed: int = 10, **fields: Any) -> bytes:
    good = {"run_number": 135, "run_name": "lysozyme_1", "socket_number": socket, "processed_images": processed}
    return msgspec.json.encode({**good, "ok": True, **fields})


def test_the_notes_of_the_spec() -> None:
    assert decode_note(SPEC_GOOD) == GOOD
    bad = decode_note(SPEC_BAD)
    assert (bad.ok, bad.error, bad.processed_images) == (False, "Permission error", 0)
    assert encode_note(GOOD) == SPEC_GOOD.replace(b"\n", b"").replace(b": ", b":")
    assert encode_note(bad) == SPEC_BAD.replace(b"\n", b"").replace(b": ", b":")


def test_what_else_a_writer_may_say() -> None:
    assert decode_note(note(error=None, speed=7)).ok
    assert decode_note(note(error="")).error == ""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"[" * 20_000,
        SPEC_GOOD[:-1],
        note(run_number="135"),
        note(run_number=None),
        note(socket=-1),
        note(processed=-1),
        note(processed=1.5),  # pyright: ignore[reportArgumentType]
        note(ok="yes"),
        note(ok=1),
        note(run_name=135),
        note(error=5),
        SPEC_GOOD.replace(b'"ok": true', b'"okay": true'),
    ],
)
def test_what_is_no_note_is_refused_and_counted(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="not a writer's note"):
        decode_note(data)
    notes = book()
    assert notes.add(data) is NoteVerdict.MALFORMED
    assert notes.counts[NoteVerdict.MALFORMED] == 1
    assert "not a writer's note" in (notes.last_refused or "")
    assert notes.missing == (0, 1)


def test_a_note_above_the_limit_is_not_even_parsed() -> None:
    with pytest.raises(TooLargeError, match=str(MAX_NOTE_BYTES)):
        decode_note(note(error="x" * MAX_NOTE_BYTES))
    assert book().add(b" " * (MAX_NOTE_BYTES + 1)) is NoteVerdict.MALFORMED


@given(st.binary(max_size=200))
@example(b'{"run_number":1e400}')
def test_any_bytes_are_a_note_or_a_protocol_error(data: bytes) -> None:
    try:
        decoded = decode_note(data)
    except ProtocolError:
        return
    assert decode_note(encode_note(decoded)) == decoded


def test_a_run_whose_writers_all_say_so_is_good() -> None:
    notes = book()
    assert notes.add(note(1, 250)) is NoteVerdict.TAKEN  # before END is out: writers may be quick
    assert (notes.missing, notes.done, notes.next_deadline()) == ((0,), False, None)
    notes.end([240, 250], now_s=100.0)
    assert notes.next_deadline() == 100.0 + NOTES_TIMEOUT_S == 160.0
    assert not notes.done
    assert notes.add(note(0, 240)) is NoteVerdict.TAKEN
    assert notes.complete
    assert notes.done
    assert notes.next_deadline() is None
    result = notes.result()
    assert result.ok
    assert result.error() is None
    assert (result.offered, result.acknowledged, notes.processed_images) == (490, 490, 490)


def test_only_one_note_of_each_socket_of_this_run_counts() -> None:
    notes = book()
    verdicts = [
        notes.add(note(run_number=134)),
        notes.add(note(run_name="lysozyme_2")),
        notes.add(note(2)),
        notes.add(note(0, 5)),
        notes.add(note(0, 10)),
    ]
    expected = [NoteVerdict.STRAY, NoteVerdict.STRAY, NoteVerdict.UNKNOWN_SOCKET, NoteVerdict.TAKEN]
    assert verdicts == [*expected, NoteVerdict.DUPLICATE]
    assert [notes.counts[verdict] for verdict in NoteVerdict] == [1, 2, 1, 1, 0]
    assert notes.processed_images == 5
    assert notes.missing == (1,)
    assert notes.last_refused == "a second note for socket 0"


def test_sockets_without_a_note_are_named_after_60_s() -> None:
    notes = book(3)
    notes.end([10, 10, 10], now_s=0.0)
    notes.add(note(1))
    notes.tick(59.9)
    assert not notes.done
    assert notes.result().faults == ()
    notes.tick(60.0)
    assert notes.done
    result = notes.result()
    error = result.error()
    assert isinstance(error, DeadlineError)
    assert [fault.socket_number for fault in result.faults] == [0, 2]
    for number in (0, 2):
        assert f"the writer of socket {number} (tcp://10.0.0.1:{9000 + number}) sent no note within 60 s" in str(error)
    assert (result.acknowledged, result.missing, result.ok) == (10, 20, False)


def test_a_writer_that_failed_says_why() -> None:
    notes = book(1)
    notes.end([10], now_s=0.0)
    notes.add(note(0, 3, ok=False, error="Permission\nerror" + "!" * 9999))
    error = notes.result().error()
    assert isinstance(error, PeerError)
    assert "3 of 10 images acknowledged, 7 missing" in str(error)
    assert "could not store the run: Permission error!!!" in str(error)
    assert len(str(error)) < 800
    silent = book(1)
    silent.add(note(0, 0, ok=False))
    assert "no reason given" in str(silent.result().error())


def test_dropped_and_unwritten_images_are_missing_although_all_notes_are_good() -> None:
    notes = book(1)
    notes.add(note(0, 7))
    notes.end([9], now_s=0.0, offered=[10])
    result = notes.result()
    assert (result.offered, result.sent, result.acknowledged, result.missing) == (10, 9, 7, 3)
    assert not result.ok
    assert "run 135: 7 of 10 images acknowledged, 3 missing" in str(result.error())


def test_more_processed_than_sent_is_a_fault() -> None:
    notes = book(1)
    notes.add(note(0, 11))
    notes.end([10], now_s=0.0)
    result = notes.result()
    assert (result.acknowledged, result.missing) == (10, 0)
    assert "says that it processed 11 images, and 10 were sent" in str(result.error())


def test_errors_of_sending_are_part_of_the_result() -> None:
    notes = book(1)
    for _ in range(20):
        notes.note_transmission_error(0, DeadlineError("END was not taken within 1 s"))
    notes.add(note(0, 10))
    notes.end([10], now_s=0.0)
    result = notes.result()
    assert (len(result.faults), result.faults_total) == (16, 20)
    assert isinstance(result.error(), DeadlineError)


def test_a_book_needs_sockets_and_one_number_for_each() -> None:
    with pytest.raises(UsageError, match="at least one"):
        NoteBook(1, "x", [])
    with pytest.raises(UsageError, match="one number for each of 2 sockets"):
        book().end([1], now_s=0.0)
