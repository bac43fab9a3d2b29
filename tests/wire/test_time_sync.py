"""Pupil Time Sync v1: announcements, times, and who is master."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.errors import ProtocolError
from labwire.wire.time_sync import (
    Announcement,
    Election,
    decode_announcement,
    decode_time,
    encode_announcement,
    encode_time,
    rank_of,
)


def test_golden_bytes() -> None:
    assert encode_announcement(Announcement(6.25, 50123)) == [b"6.25", b"50123"]
    assert encode_time(1234.5) == bytes.fromhex("00000000004a9340")


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(1, 65535))
def test_what_is_sent_is_read(number: float, port: int) -> None:
    assert decode_time(encode_time(number)) == number
    assert decode_announcement(encode_announcement(Announcement(number, port))) == (number, port)


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b"1.0"],
        [b"1.0", b"80", b"x"],
        [b"nan", b"80"],
        [b"1", b"0"],
        [b"1", b"65536"],
        [b"\xff", b"80"],
        [b"1", b"8.5"],
    ],
)
def test_no_announcement(frames: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        decode_announcement(frames)


@pytest.mark.parametrize("answer", [b"", b"1234567", b"123456789", encode_time(float("nan"))])
def test_no_time(answer: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_time(answer)


def test_ranks() -> None:
    usual = rank_of(bias=1, has_been_master=False, has_been_synced=False, tie_breaker=0.5)
    assert usual == 4.5
    assert rank_of(bias=1, has_been_master=True, has_been_synced=False, tie_breaker=0) > usual
    assert rank_of(bias=1, has_been_master=True, has_been_synced=True, tie_breaker=0) == 7


def test_the_highest_rank_is_master() -> None:
    election = Election[str]()
    assert election.leader(4.5) is None
    election.announce("a", Announcement(5.0, 1))
    election.announce("b", Announcement(6.0, 2))
    assert election.leader(4.5) == ("b", (6.0, 2))
    assert election.leader(6.5) is None
    assert election.leader(None) == ("b", (6.0, 2))
    election.leave("b")
    election.leave("b")
    assert election.leader(4.5) == ("a", (5.0, 1))
    election.leave("a")
    assert election.leader(None) is None
