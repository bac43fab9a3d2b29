from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.errors import ProtocolError, StateError
from labwire.file_lock import try_lock
from labwire.sessions.log import mcap_writer
from labwire.sessions.log.bus_log import count_messages
from labwire.sessions.log.mcap_repair import is_whole, repair_log
from labwire.sessions.log.mcap_writer import McapWriter
from tests.sessions.logs import read_metadata, read_rows, read_summary

SIZES = [0, 1, 30, 300, 5, 77]


def data_of(number: int) -> bytes:
    return bytes([number % 251]) * SIZES[number % len(SIZES)]


def write_log(path: Path, count: int, *, chunk_bytes: int = 1500, finish: bool = True) -> None:
    before, mcap_writer.CHUNK_BYTES = mcap_writer.CHUNK_BYTES, chunk_bytes
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        writer = McapWriter(fd)
        writer.begin()
        writer.add_metadata("labwire.session", {"name": "x"})
        channels = [writer.add_channel("first", "msgpack", {"a": "b"})]
        for number in range(count):
            if number % 20 == 19:
                channels.append(writer.add_channel(f"topic.{number}", "", {}))
            channel = channels[number % len(channels)]
            writer.add_message(
                channel, data_of(number), log_time_ns=10**18 + number, publish_time_ns=number, sequence=number
            )
            if number % 3 == 0:
                writer.flush()
            if number == count // 2:
                writer.add_metadata("labwire.clock_change", {"offset_after_s": "1.5"})
        writer.flush()
        if finish:
            writer.finish()
    finally:
        os.close(fd)
        mcap_writer.CHUNK_BYTES = before


def messages_of(path: Path) -> list[tuple[int, bytes]]:
    return [(message.sequence, message.data) for _, message in read_rows(path)]


class Log:
    """Content of a log; hypothesis would print plain bytes in full."""

    def __init__(self, path: Path, *, finish: bool) -> None:
        write_log(path, 120, finish=finish)
        self.content = path.read_bytes()
        self.ends = offsets_of_messages(self.content)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return Log(tmp_path_factory.mktemp("log") / "whole.mcap", finish=True)


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return Log(tmp_path_factory.mktemp("log") / "unfinished.mcap", finish=False)


def offsets_of_messages(data: bytes) -> list[int]:
    """Return where each message ends, found by its unmistakable log time."""
    ends: list[int] = []
    for number in range(120):
        at = data.index((10**18 + number).to_bytes(8, "little") + number.to_bytes(8, "little"))
        ends.append(at + 16 + len(data_of(number)))
    return ends


@given(st.data())
def test_a_log_cut_anywhere_keeps_every_whole_message(
    whole: Log, unfinished: Log, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    log = whole if data.draw(st.booleans()) else unfinished
    cut = data.draw(st.integers(0, len(log.content)))
    path = tmp_path_factory.mktemp("cut") / "t.mcap"
    path.write_bytes(log.content[:cut])

    scan = repair_log(path)

    kept = sum(end <= cut for end in log.ends)
    assert messages_of(path) == [(number, data_of(number)) for number in range(kept)]
    assert count_messages(scan.channels) == kept
    assert read_summary(path)[0].message_count == kept
    assert is_whole(path)
    names = [name for name, _ in read_metadata(path)]
    assert names == ["labwire.session", "labwire.clock_change"][: len(names)]
    again = path.read_bytes()
    repair_log(path)
    assert path.read_bytes() == again


@given(st.integers(0, 400), st.binary(max_size=200))
def test_rubbish_behind_the_last_flush_is_cut(
    unfinished: Log, tmp_path_factory: pytest.TempPathFactory, cut: int, rubbish: bytes
) -> None:
    # After a power failure a file may end in zeros, or in whatever stood on the disk.
    path = tmp_path_factory.mktemp("cut") / "t.mcap"
    kept = unfinished.content[: len(unfinished.content) - cut]
    path.write_bytes(kept + bytes(50) + rubbish)
    repair_log(path)
    # Zeros may complete a torn message, so more can be found; what was whole is all there, in order.
    sure = [(number, data_of(number)) for number in range(sum(end <= len(kept) for end in unfinished.ends))]
    assert [message for message in messages_of(path) if message in sure] == sure
    assert is_whole(path)


def test_an_unfinished_log_without_a_torn_end_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "t.mcap"
    write_log(path, 100, finish=False)
    assert not is_whole(path)
    scan = repair_log(path)
    assert (count_messages(scan.channels), scan.torn_bytes) == (100, 0)
    assert scan.last_log_time_ns == 10**18 + 99
    assert [note for note in scan.notes if note[0] == "labwire.session"] == [("labwire.session", {"name": "x"})]


def test_a_repaired_log_is_what_the_writer_would_have_written(tmp_path: Path) -> None:
    killed, stopped = tmp_path / "killed.mcap", tmp_path / "stopped.mcap"
    write_log(killed, 100, finish=False)
    write_log(stopped, 100)
    repair_log(killed)
    assert killed.read_bytes() == stopped.read_bytes()


def test_finished_chunks_are_not_read_message_by_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.mcap"
    write_log(path, 400, chunk_bytes=2000, finish=False)
    read = 0
    from labwire.sessions.log import mcap_scan

    real = mcap_scan.LogScan._take_message

    def count(self: mcap_scan.LogScan, *args: int) -> bool:
        nonlocal read
        read += 1
        return real(self, *args)

    monkeypatch.setattr(mcap_scan.LogScan, "_take_message", count)
    repair_log(path)
    assert 0 < read < 60
    assert len(read_rows(path)) == 400


@pytest.mark.parametrize("content", [b"", b"\x89MC", b"\x89MCAP0\r\n", b"\x89MCAP0\r\n\x01\x0f\0\0"])
def test_a_log_without_even_a_header_becomes_an_empty_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.mcap"
    path.write_bytes(content)
    repair_log(path)
    assert read_rows(path) == []


def test_a_log_of_another_tool_is_left_alone(tmp_path: Path) -> None:
    from mcap.writer import Writer

    path = tmp_path / "t.mcap"
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start(library="other")
        writer.finish()
    content = path.read_bytes()
    with pytest.raises(ProtocolError, match="other"):
        repair_log(path)
    path.with_name("u").write_bytes(b"not an mcap file at all")
    with pytest.raises(ProtocolError, match="not an MCAP file"):
        repair_log(path.with_name("u"))
    assert path.read_bytes() == content


def test_a_log_that_is_being_written_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.mcap"
    write_log(path, 10, finish=False)
    fd = os.open(path, os.O_RDWR)
    assert try_lock(fd)
    try:
        with pytest.raises(StateError, match="stop the recording"):
            repair_log(path)
    finally:
        os.close(fd)
    repair_log(path)


def test_progress_is_told_and_can_end_the_work(tmp_path: Path) -> None:
    path = tmp_path / "t.mcap"
    write_log(path, 100, finish=False)
    content = path.read_bytes()
    seen: list[tuple[int, int]] = []

    def stop_half_way(done: int, total: int) -> None:
        seen.append((done, total))
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        repair_log(path, stop_half_way)
    assert path.read_bytes() == content
    assert seen == sorted(seen)
    assert all(total == len(content) for _, total in seen)
