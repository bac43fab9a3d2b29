"""Connections of the TCP stream in any state, and frames to give to them."""

from __future__ import annotations

from typing import Any

from labwire.wire.tcp_connection import TcpConnection
from labwire.wire.tcp_frame import AckCode, AckFlags, FrameHeader, FrameType, encode_header
from labwire.wire.tcp_sender import SenderConnection
from labwire.wire.tcp_states import State
from labwire.wire.tcp_stream import FrameReader
from labwire.wire.tcp_writer import WriterConnection

RUN = 7
SENDER, WRITER = "10.0.0.1:9100", "10.0.0.5:41234"


def frame(kind: int, body: bytes = b"", **fields: Any) -> bytes:
    return encode_header(FrameHeader(kind, payload_size=len(body), **fields)) + body


def ack(
    ack_for: int,
    *,
    flags: int = AckFlags.OK,
    code: int = 0,
    text: str = "",
    run: int = RUN,
    image: int = 0,
    done: int = 0,
) -> bytes:
    return frame(
        FrameType.ACK,
        text.encode(),
        image_number=image,
        run_number=run,
        flags=flags | (AckFlags.HAS_ERROR_TEXT if text else 0),
        ack_code=code,
        ack_for=ack_for,
        ack_processed_images=done,
    )


def flush(connection: TcpConnection[Any], now_s: float = 0.0) -> list[tuple[FrameHeader, bytes]]:
    """Take all that a connection has to say, as frames."""
    data = b""
    while parts := connection.data_to_send():
        sent = b"".join(parts)
        data += sent
        connection.bytes_sent(len(sent), now_s)
    frames = FrameReader(lambda _: True).feed(data)
    return [(frame.header, bytes(frame.payload or b"")) for frame in frames]


def kinds(connection: TcpConnection[Any], now_s: float = 0.0) -> list[str]:
    """Take all that a connection has to say, as names of frames."""
    return [FrameType(header.type).name for header, _ in flush(connection, now_s)]


def sender_in(state: State, **options: Any) -> SenderConnection:
    """Make a sender in a state of run 7, at time 0; image 0 waits for its ACK from RUNNING on."""
    sender = SenderConnection(WRITER, now_s=0.0, **options)
    if state is State.CLOSED:
        sender.receive_eof(0.0)
    elif state is not State.IDLE:
        sender.start(RUN, 0, b"start", 0.0)
    if state in {State.STARTED, State.RUNNING, State.FAILED, State.ENDING}:
        sender.receive_data(ack(FrameType.START), 0.0)
    if state in {State.RUNNING, State.FAILED, State.ENDING}:
        sender.send_image(0, b"pixels", 0.0)
    if state is State.FAILED:
        sender.send_image(1, b"pixels", 0.0)
        sender.receive_data(ack(FrameType.DATA, image=1, flags=AckFlags.FATAL, code=5, text="full"), 0.0)
    if state is State.ENDING:
        sender.end(b"end", 0.0)
    if state is State.CANCELLING:
        flush(sender)  # what is not out would just be taken back
        sender.cancel(0.0)
    assert sender.state is state
    flush(sender)
    return sender


def writer_in(state: State, **options: Any) -> WriterConnection:
    """Make a writer in a state of run 7, at time 0; image 0 waits for its answer in RUNNING and ENDING."""
    writer = WriterConnection(SENDER, now_s=0.0, **options)
    if state is State.CLOSED:
        writer.receive_eof(0.0)
    elif state is not State.IDLE:
        writer.receive_data(frame(FrameType.START, b"start", run_number=RUN), 0.0)
    if state in {State.STARTED, State.RUNNING, State.FAILED, State.ENDING}:
        writer.accept_start(RUN, 0.0)
    if state in {State.RUNNING, State.FAILED, State.ENDING}:
        writer.receive_data(frame(FrameType.DATA, b"pixels", run_number=RUN), 0.0)
    if state is State.FAILED:
        writer.fail_run(RUN, AckCode.NO_SPACE_LEFT, "full", 0.0)
    if state is State.ENDING:
        writer.receive_data(frame(FrameType.END, b"end", run_number=RUN), 0.0)
    assert writer.state is state
    flush(writer)
    return writer
