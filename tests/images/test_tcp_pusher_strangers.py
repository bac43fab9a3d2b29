"""What comes to the port of the TCP image stream and is no writer, or one no longer."""

from __future__ import annotations

import socket
import threading

import pytest

from labwire.errors import (
    PeerGoneError,
)
from labwire.images.stream_address import parse_tcp_address
from labwire.wire.tcp_frame import HEADER_BYTES, FrameHeader, FrameType, decode_header, encode_header
from tests.images.loopback_writer import WAIT_S, wait_until
from tests.images.stream_runs import image, start_message
from tests.images.tcp_bench import TcpBench


def stranger(bench: TcpBench) -> socket.socket:
    sock = socket.create_connection(parse_tcp_address(bench.pusher.address))
    sock.settimeout(WAIT_S)
    return sock


def read_all(sock: socket.socket) -> bytes:
    data = b""
    while got := sock.recv(65536):
        data += got
    return data


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + bytes(64), b"no frame"),
        (encode_header(FrameHeader(FrameType.ACK)).replace(b"\x02\x00", b"\x01\x00", 1), b"version 1"),
        (encode_header(FrameHeader(FrameType.ACK, payload_size=1 << 40)), b"announces"),
        (encode_header(FrameHeader(FrameType.DATA)), b"a writer sends"),
    ],
)
def test_garbage_gets_a_protocol_error_and_is_dropped_alone(bench: TcpBench, said: bytes, why: bytes) -> None:
    fine = bench.writer()
    bench.stream.start(start_message(1, 4))
    with stranger(bench) as sock:
        sock.sendall(said)
        answer = read_all(sock)
    header = decode_header(answer)
    assert (header.type, header.ack_code, header.ack_for) == (FrameType.ACK, 8, 0)
    assert why in answer[HEADER_BYTES:]
    for number in range(4):
        bench.stream.put(image(number))
    assert bench.stream.end().ok
    assert fine.lost is None


def test_an_unknown_frame_type_is_a_sign_of_life(bench: TcpBench) -> None:
    with stranger(bench) as sock:
        sock.sendall(encode_header(FrameHeader(8), 5) + b"busy!")
        wait_until(lambda: any(link.connection.counters.unknown for link in bench.pusher._group.links.values()))
        assert bench.pusher.waiting_writers == 1


def test_a_connection_that_is_cut_in_the_middle_of_a_frame_loses_its_images_only(bench: TcpBench) -> None:
    fine = bench.writer()
    with stranger(bench) as sock:
        bench.pusher.wait_for_writers(2, WAIT_S)
        starting = threading.Thread(target=lambda: bench.stream.start(start_message(1, 8, per_file=1)))
        starting.start()
        header = decode_header(sock.recv(HEADER_BYTES, socket.MSG_WAITALL))
        sock.recv(header.payload_size, socket.MSG_WAITALL)
        sock.sendall(encode_header(FrameHeader(FrameType.ACK, 0, 0, 1, 1, 1, 0, 0, FrameType.START)))
        starting.join()
        for number in range(4):
            bench.stream.put(image(number, pixels=1 << 20))
        sock.recv(HEADER_BYTES + 5000, socket.MSG_WAITALL)
    for number in range(4, 8):
        bench.stream.put(image(number))
    result = bench.stream.end()
    assert isinstance(result.error(), PeerGoneError)
    assert (result.acknowledged, result.missing) == (4, 4)
    assert bench.run(2).ok
    assert len(fine.runs[1].images) == 4


def test_many_that_come_and_go_leave_nothing(bench: TcpBench) -> None:
    for _ in range(50):
        stranger(bench).close()

    def are_gone() -> bool:
        counters = bench.pusher.status().counters  # who comes while many have not been let go yet is refused
        return not bench.pusher._group.links and counters.lost + counters.refused == 50

    wait_until(are_gone)
    bench.writer()
    assert bench.run().ok
