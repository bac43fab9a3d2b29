"""Fuzz both sides of the TCP image stream and the writers' notes: whatever comes, nothing raises and all is bounded.

    python tests/fuzz/fuzz_image_tcp.py -max_total_time=600 CORPUS_FOLDER

takes libFuzzer's options; `test_fuzz_image_tcp.py` makes a corpus of recorded conversations and runs it for a moment.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(  # pyright: ignore[reportAttributeAccessIssue]
    include=["labwire.wire"]
):
    from labwire.wire import tcp_sender, tcp_writer, writer_note
    from labwire.wire.tcp_frame import AckCode
    from labwire.wire.tcp_states import State


from labwire.wire.tcp_events import EndReceived, ImageReceived, StartReceived

RUN = 7
LIMIT_BYTES = 1 << 16


def allocate(size: int) -> bytearray:
    """Take memory as a connection asks for it; more than its limit must never be asked for."""
    assert size <= LIMIT_BYTES
    return bytearray(size)


def fuzz_writer(data: bytes, chunk: int, answers: int) -> None:
    """Be a detector that says anything, to a writer that answers by the bits of `answers`."""
    writer = tcp_writer.WriterConnection("peer", now_s=0.0, max_payload_bytes=LIMIT_BYTES, allocate=allocate)
    open_run: int | None = None
    for at in range(0, len(data), chunk):
        now_s = at / 100
        for event in writer.receive_data(data[at : at + chunk], now_s):
            answers = answers >> 1 | (answers & 1) << 15
            if isinstance(event, StartReceived):
                writer.accept_start(event.run_number, now_s)
                open_run = event.run_number
            elif isinstance(event, ImageReceived):
                assert event.run_number == open_run
                if answers & 1:
                    writer.acknowledge_image(event.run_number, event.image_number, now_s)
                elif answers & 6 == 6:
                    writer.fail_run(event.run_number, AckCode.IO_ERROR, "no", now_s)
            elif isinstance(event, EndReceived) and not writer.unanswered_images:
                writer.accept_end(event.run_number, now_s)
        writer.tick(now_s)
        written = b"".join(writer.data_to_send())
        writer.bytes_sent(len(written), now_s)
        assert len(written) < 1 << 22
    assert writer.unanswered_images <= len(data) // 64
    if writer.state is not State.CLOSED:
        writer.receive_eof(1e6)
    assert writer.next_deadline() is None


def fuzz_sender(data: bytes, chunk: int) -> None:
    """Be a writer that says anything, to a detector in a run of five images."""
    sender = tcp_sender.SenderConnection("peer", now_s=0.0)
    sender.start(RUN, 0, b"start", 0.0)
    sent = 0
    for at in range(0, len(data), chunk):
        now_s = at / 1000
        sender.receive_data(data[at : at + chunk], now_s)
        sender.bytes_sent(len(b"".join(sender.data_to_send())), now_s)
        if sender.ready_for_image and sent < 5:
            sender.send_image(sent, b"pixels", now_s)
            sent += 1
        elif sent == 5 and sender.state in {State.RUNNING, State.FAILED}:
            sender.end(b"end", now_s)
        sender.tick(now_s)
        account = sender.account
        assert account.sent == account.acknowledged + account.failed + len(account.unacknowledged) == sent
        assert len(account.faults) <= 16
    sender.receive_eof(1e6)
    assert sender.account.result().offered == sent
    assert sender.state is State.CLOSED


def fuzz_note(data: bytes) -> None:
    """Be a writer that sends any note."""
    book = writer_note.NoteBook(RUN, "x", ["a", "b"])
    verdict = book.add(data)
    assert book.counts[verdict] == 1
    assert book.complete is False
    book.end([1, 2], 0.0)
    book.tick(100.0)
    result = book.result()
    assert result.acknowledged + result.missing == 3
    assert result.error() is not None


def test_one_input(data: bytes) -> None:
    """Give one input to all of them. Its first four bytes say how it is cut and answered."""
    if len(data) < 4:
        return
    chunk, answers, data = data[0] + 1, int.from_bytes(data[1:3], "little"), data[4:]
    fuzz_writer(data, chunk, answers)
    fuzz_sender(data, chunk)
    fuzz_note(data)


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
