from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.errors import DeviceError, ProtocolError, StateError
from labwire.file_lock import is_locked
from labwire.sessions.log import bus_log
from labwire.sessions.log.bus_log import BusLog, count_messages
from labwire.sessions.log.mcap_repair import repair_log
from labwire.sessions.pictures.picture_message import PictureMessage
from labwire.sessions.sink import ClockChange, Received
from labwire.wire.bus_message import encode_payload, peek_header
from tests.sessions.logs import read_messages, read_metadata, read_rows
from tests.sessions.making import START_NS, datum, open_fds, received, session_in


@pytest.fixture
def log(tmp_path: Path) -> Iterator[BusLog]:
    log = BusLog()
    log.prepare(session_in(tmp_path))
    log.start()
    yield log
    log.stop()


def put(log: BusLog, parts: list[bytes], at_s: float = 101.0, picture: PictureMessage | None = None) -> None:
    try:
        header = peek_header(parts[1]) if len(parts) > 1 else None
    except ProtocolError:
        header = None
    log.append(received(parts, at_s=at_s, header=header)._replace(picture=picture))


def test_times_and_numbers(log: BusLog, tmp_path: Path) -> None:
    put(log, datum("pupil.0", 1234.5, seq=7), at_s=101.25)
    put(log, [b"notify.x", encode_payload({"subject": "x"})], at_s=101.5)
    put(log, datum("a", -3.0, seq=-1))
    put(log, datum("a", float("nan"), seq=1 << 40))
    put(log, datum("a", 1e300))
    log.stop()
    rows = [message for _, message in read_rows(tmp_path / "bus.mcap")]
    by_sequence = sorted(rows, key=lambda message: (message.log_time, message.sequence))
    assert [message.log_time - START_NS for message in by_sequence] == [10**9] * 3 + [1_250_000_000, 1_500_000_000]
    assert by_sequence[3].publish_time == 1_234_500_000_000
    assert by_sequence[3].sequence == 7
    for message in [*by_sequence[:3], by_sequence[4]]:
        assert (message.publish_time, message.sequence) == (message.log_time, 0)


MESSAGES: list[list[bytes]] = [
    datum("pupil.0", 1.0),
    [b"alone"],
    [b""],
    [b"", b""],
    [b"broken", b"\xc1rubbish"],
    [b"broken", b""],
    datum("broken", 2.0),
    [b"list", b"\x93\x01\x02\x03"],
    [b"\xff\xfe", b"\x80"],
    [b"\xff\xfe"],
    [b"alone", b"\x80", b"raw", b"", b"more raw"],
    [b"broken", b"\xc1", b"raw of a broken one"],
    [b"labwire", b"\x80"],
    [b"x" * 5000, b"\x80", b"raw"],
    [b"\xff" * 5000],
    [b"alone#raw", b"\x80"],
]


def test_every_message_is_kept_byte_for_byte_in_order(log: BusLog, tmp_path: Path) -> None:
    for parts in MESSAGES * 2:
        put(log, parts)
    counters = log.stop()
    assert read_messages(tmp_path / "bus.mcap") == [tuple(parts) for parts in MESSAGES * 2]
    assert counters.received == counters.written == len(MESSAGES) * 2
    assert counters.malformed == 10
    assert counters.written_bytes == (tmp_path / "bus.mcap").stat().st_size


@given(st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=5), max_size=30))
def test_any_message_is_kept_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, messages: list[list[bytes]]
) -> None:
    folder = tmp_path_factory.mktemp("log")
    log = BusLog()
    log.prepare(session_in(folder))
    log.start()
    for number, parts in enumerate(messages):
        put(log, parts, at_s=101.0 + number)
        if number % 7 == 0:
            log.flush()
    log.stop()
    assert read_messages(folder / "bus.mcap") == [tuple(parts) for parts in messages]


def test_topics_that_run_out_of_channels_go_to_one(
    log: BusLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labwire.sessions.log.mcap_format.MAX_CHANNELS", 6)
    messages = [[b"topic.%d" % number, b"\x80", b"raw"] for number in range(8)]
    for parts in messages:
        put(log, parts)
    log.stop()
    found = read_messages(tmp_path / "bus.mcap")
    assert [parts for parts in found if len(parts) == 3] == [tuple(parts) for parts in messages]
    assert len({channel.id for channel, _ in read_rows(tmp_path / "bus.mcap")}) == 6


def test_the_raw_part_of_a_picture_in_the_video_is_left_out(log: BusLog, tmp_path: Path) -> None:
    picture = PictureMessage(b"frame.world", 1, 1, 1.0, "gray", b"x", 0.0)
    parts = [*datum("frame.world", 1.0), b"x"]
    put(log, parts, picture=picture)
    put(log, parts)
    log.stop()
    assert read_messages(tmp_path / "bus.mcap") == [tuple(parts[:2]), tuple(parts)]


def test_it_is_kept_when_asked_for(tmp_path: Path) -> None:
    log = BusLog(raw_in_log=True)
    log.prepare(session_in(tmp_path))
    log.start()
    parts = [*datum("frame.world", 1.0), b"x"]
    put(log, parts, picture=PictureMessage(b"frame.world", 1, 1, 1.0, "gray", b"x", 0.0))
    log.stop()
    assert read_messages(tmp_path / "bus.mcap") == [tuple(parts)]


def test_the_log_tells_what_session_it_is_and_when_the_clock_jumped(log: BusLog, tmp_path: Path) -> None:
    put(log, datum("a", 1.0), at_s=101.0)
    log.change_clock(ClockChange(900.0, -95.5, 101.5))
    put(log, datum("a", 6.0), at_s=102.0)
    log.stop()
    (session, note), (clock, change) = read_metadata(tmp_path / "bus.mcap")
    assert (session, note["name"], note["start_rig_time_s"]) == (bus_log.SESSION_NOTE, "pilot", "1000.0")
    assert clock == bus_log.CLOCK_NOTE
    assert change == {"offset_before_s": "900.0", "offset_after_s": "-95.5", "monotonic_s": "101.5"}
    log_times = [message.log_time for _, message in read_rows(tmp_path / "bus.mcap")]
    assert log_times[1] - log_times[0] == 10**9


def test_missing_numbers_are_counted(log: BusLog) -> None:
    for emitter, number in (("a", 4), ("b", 70), ("a", 5), ("b", 71), ("a", 9)):
        put(log, datum("bus.stats", 1.0, seq=number, emitter=emitter))
    put(log, datum("bus.stats", 1.0, seq=10_000))  # nobody's number: a foreign payload may have such a key
    assert log.counters().gaps == 3
    assert "before number 9" in log.reasons["gaps"]


def test_what_was_flushed_survives(log: BusLog, tmp_path: Path) -> None:
    put(log, datum("a", 1.0))
    log.flush()
    put(log, datum("b", 2.0))
    copy = tmp_path / "copy.mcap"
    copy.write_bytes((tmp_path / "bus.mcap").read_bytes())
    assert count_messages(repair_log(copy).channels) == 1
    assert read_messages(copy) == [tuple(datum("a", 1.0))]


def test_it_is_locked_while_it_is_written(log: BusLog, tmp_path: Path) -> None:
    assert is_locked(tmp_path / "bus.mcap")
    log.stop()
    assert not is_locked(tmp_path / "bus.mcap")


def test_wrong_moments(tmp_path: Path) -> None:
    log = BusLog()
    before = open_fds()
    with pytest.raises(StateError):
        log.start()
    log.stop()
    log.prepare(session_in(tmp_path))
    with pytest.raises(StateError):
        log.prepare(session_in(tmp_path))
    log.stop()
    log.stop()
    with pytest.raises(DeviceError, match="exists"):
        log.prepare(session_in(tmp_path))
    with pytest.raises(DeviceError, match="No such file"):
        log.prepare(session_in(tmp_path / "not there"))
    assert open_fds() == before


def fail_writes(monkeypatch: pytest.MonkeyPatch, path: Path, *, room: int) -> None:
    """Let a file grow by so many bytes and no more."""
    real, limit = os.write, path.stat().st_size + room

    def write(fd: int, data: bytes) -> int:
        left = limit - os.fstat(fd).st_size
        if left <= 0:
            raise OSError(28, "No space left on device")
        return real(fd, data[:left])

    monkeypatch.setattr(os, "write", write)


def fill(log: BusLog, count: int) -> None:
    for number in range(count):
        put(log, datum("a", float(number), seq=number))


def write_to_a_full_disk(log: BusLog, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten messages that are written, and ten for which there is no room."""
    fill(log, 10)
    log.flush()
    fill(log, 10)
    fail_writes(monkeypatch, folder / "bus.mcap", room=100)
    with pytest.raises(OSError, match="space"):
        log.flush()


def test_a_full_disk_loses_nothing_if_there_is_room_at_the_end(
    log: BusLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_to_a_full_disk(log, tmp_path, monkeypatch)
    log.append(received([b"ignored"]))
    monkeypatch.undo()
    counters = log.stop()
    assert (counters.written, counters.dropped) == (20, 0)
    assert len(read_messages(tmp_path / "bus.mcap")) == 20


def test_a_disk_that_stays_full_keeps_what_was_written(
    log: BusLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_to_a_full_disk(log, tmp_path, monkeypatch)
    with pytest.raises(DeviceError, match="repair"):
        log.stop()
    monkeypatch.undo()
    assert count_messages(repair_log(tmp_path / "bus.mcap").channels) == 10
    assert len(read_messages(tmp_path / "bus.mcap")) == 10


def test_what_no_longer_fits_is_counted_as_dropped(
    log: BusLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(log, 10)
    log.flush()
    put(log, [b"big", bytes(100_000)])
    fail_writes(monkeypatch, tmp_path / "bus.mcap", room=5000)
    with pytest.raises(OSError, match="space"):
        log.flush()
    counters = log.stop()  # the big message does not fit, index and summary do
    assert (counters.received, counters.written, counters.dropped) == (11, 10, 1)
    assert len(read_messages(tmp_path / "bus.mcap")) == 10


def test_no_message_makes_it_raise(log: BusLog) -> None:
    log.append(Received([b"t", b"\x80"], 0.0, 0, peek_header(b"\x80")))
    log.append(Received([b"t", b"\x80"], 0.0, 2**64 - 1, peek_header(b"\x80")))
    assert log.stop().written == 2
