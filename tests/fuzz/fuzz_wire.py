"""Fuzz the parsers of the bus: whatever the bytes, they are understood or refused with `ProtocolError`.

    python tests/fuzz/fuzz_wire.py -max_total_time=600 CORPUS_FOLDER

takes libFuzzer's options; `test_fuzz_wire.py` makes a corpus of the recorded bytes and runs it for a moment.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(  # pyright: ignore[reportAttributeAccessIssue]
    include=["labwire.wire"]
):
    from labwire.wire import bus_message, remote_command, time_sync, zmtp, zre_message

from labwire.errors import ProtocolError


def split(data: bytes) -> list[bytes]:
    """Cut an input into parts: before each stands a byte with its length, before the last one 255."""
    parts: list[bytes] = []
    while data:
        length, data = data[0], data[1:]
        parts.append(data if length == 255 else data[:length])
        data = b"" if length == 255 else data[length:]
    return parts


def test_one_input(data: bytes) -> None:
    """Give one input to all parsers."""
    parts = split(data)
    try:
        message = bus_message.decode_message(parts)
    except ProtocolError:
        pass
    else:
        again = bus_message.encode_message(*message)
        assert bus_message.encode_message(*bus_message.decode_message([bytes(part) for part in again])) == again
    for part in parts:
        try:
            header = bus_message.peek_header(part)
            payload = bus_message.decode_payload(part)
            assert header.seq is None or header.seq == payload["seq"]
        except ProtocolError:
            continue
    listen(parts)
    share_time(parts)
    if parts:
        command = remote_command.parse_request(parts)
        assert isinstance(command, remote_command.RemoteCommand)
        assert isinstance(command, remote_command.Forward) == (len(parts) > 1 and _is_utf8(parts[0]))


def share_time(parts: list[bytes]) -> None:
    """Give the parts to the parsers of time sync: messages of ZRE, announcements, times."""
    try:
        message = zre_message.decode_zre(parts)
    except ProtocolError:
        pass
    else:
        assert zre_message.decode_zre(zre_message.encode_zre(message)) == message
    for decode in (time_sync.decode_announcement, lambda frames: time_sync.decode_time(b"".join(frames))):
        try:
            decode(parts)
        except ProtocolError:
            continue


GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)


def listen(pieces: list[bytes]) -> None:
    """Give the parts to the listening end of ZMTP, in pieces and as one: both hear the same, or neither does."""
    assert heard_in([GREETING, *pieces]) == heard_in([GREETING + b"".join(pieces)])


def heard_in(chunks: list[bytes]) -> list[zmtp.Heard] | None:
    """Return what a listener hears; None if it refuses."""
    listener = zmtp.Listener(max_part_bytes=16)
    try:
        return [message for chunk in chunks for message in listener.receive(chunk)]
    except ProtocolError:
        return None


def _is_utf8(part: bytes) -> bool:
    try:
        part.decode()
    except UnicodeDecodeError:
        return False
    return True


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
