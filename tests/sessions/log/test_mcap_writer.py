from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from mcap.exceptions import EndOfFile
from mcap.records import Message, MessageIndex
from mcap.stream_reader import StreamReader

from labwire.sessions.log import mcap_format, mcap_writer
from labwire.sessions.log.mcap_repair import is_whole
from labwire.sessions.log.mcap_writer import McapWriter
from tests.sessions.logs import read_metadata, read_rows, read_summary


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "t.mcap"


@pytest.fixture
def writer(path: Path) -> Iterator[McapWriter]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    yield McapWriter(fd)
    os.close(fd)


def test_the_official_reader_finds_every_message_by_the_index(
    writer: McapWriter, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcap_writer, "CHUNK_BYTES", 2000)
    writer.begin()
    channels = [writer.add_channel(f"topic.{n}", "msgpack", {"n": str(n)}) for n in range(3)]
    for n in range(500):
        data = bytes([n % 256]) * (n % 50)
        writer.add_message(channels[n % 3], data, log_time_ns=1000 + n, publish_time_ns=n, sequence=n * 2)
        if n % 10 == 0:
            writer.flush()
    writer.add_metadata("note", {"key": "value ü"})
    writer.finish()

    statistics, chunks = read_summary(path)
    assert statistics.message_count == 500
    assert statistics.channel_message_counts == {0: 167, 1: 167, 2: 166}
    assert (statistics.message_start_time, statistics.message_end_time) == (1000, 1499)
    assert len(chunks) == statistics.chunk_count > 3
    rows = read_rows(path)
    assert [message.sequence for _, message in rows] == [n * 2 for n in range(500)]
    assert [message.publish_time for _, message in rows] == list(range(500))
    assert [message.data for _, message in rows] == [bytes([n % 256]) * (n % 50) for n in range(500)]
    assert rows[1][0].metadata == {"n": "1"}
    assert read_metadata(path) == [("note", {"key": "value ü"})]
    some = read_rows(path, topics=["topic.1"], starting_at=1100, ending_before=1200)
    assert [message.log_time for _, message in some] == [1000 + n for n in range(500) if n % 3 == 1 and 100 <= n < 200]


def test_message_indexes_point_at_their_messages(writer: McapWriter, path: Path) -> None:
    # Readers in other languages go by these, the Python reader does not.
    writer.begin()
    channels = [writer.add_channel(topic, "", {}) for topic in "ab"]
    for n in range(20):
        writer.add_message(channels[n % 2], b"x" * n, log_time_ns=n, publish_time_ns=n)
    writer.finish()
    data = path.read_bytes()
    (chunk,) = read_summary(path)[1]
    records = chunk.chunk_start_offset + mcap_format.CHUNK_HEAD_BYTES
    with path.open("rb") as file:
        for channel_id, offset in chunk.message_index_offsets.items():
            file.seek(offset)
            index = next(StreamReader(file, skip_magic=True).records)
            assert isinstance(index, MessageIndex)
            assert index.channel_id == channel_id
            for log_time, at in index.records:
                assert data[records + at] == mcap_format.Opcode.MESSAGE
                content = records + at + mcap_format.PREFIX_BYTES
                assert int.from_bytes(data[content + 6 : content + 14], "little") == log_time


def test_flushed_messages_can_be_read_while_the_file_is_open(writer: McapWriter, path: Path) -> None:
    writer.begin()
    channel = writer.add_channel("a", "", {})
    writer.add_message(channel, b"there", log_time_ns=1, publish_time_ns=1)
    writer.flush()
    writer.add_message(channel, b"not yet", log_time_ns=2, publish_time_ns=2)
    with path.open("rb") as file:
        found: list[bytes] = []
        with pytest.raises(EndOfFile):
            for record in StreamReader(file).records:
                if isinstance(record, Message):
                    found.append(record.data)  # noqa: PERF401 - what came before the end is wanted
    assert b"there" in found
    assert b"not yet" not in found


def test_a_long_batch_does_not_gather_in_memory(writer: McapWriter, path: Path) -> None:
    writer.begin()
    channel = writer.add_channel("a", "", {})
    for n in range(30):
        writer.add_message(channel, bytes(100_000), log_time_ns=n, publish_time_ns=n)
        assert writer.size_bytes - path.stat().st_size < 1_200_000
    writer.finish()
    assert len(read_rows(path)) == 30


def test_an_empty_log_is_whole(writer: McapWriter, path: Path) -> None:
    writer.begin()
    assert not is_whole(path)
    writer.finish()
    assert is_whole(path)
    assert read_summary(path)[0].message_count == 0
    assert read_rows(path) == []


def test_after_a_full_disk_nothing_is_lost_once_there_is_room(
    writer: McapWriter, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.begin()
    channel = writer.add_channel("a", "", {})
    for n in range(10):
        writer.add_message(channel, b"%d" % n, log_time_ns=n, publish_time_ns=n)
    real_write, room = os.write, 100

    def write_little(fd: int, data: memoryview) -> int:
        nonlocal room
        if not room:
            raise OSError(28, "No space left on device")
        written = real_write(fd, data[:room])
        room -= written
        return written

    monkeypatch.setattr(os, "write", write_little)
    size = path.stat().st_size
    with pytest.raises(OSError, match="No space"):
        writer.flush()
    assert path.stat().st_size == size
    with pytest.raises(OSError, match="No space"):
        writer.finish()
    monkeypatch.setattr(os, "write", real_write)
    writer.add_message(channel, b"last", log_time_ns=11, publish_time_ns=11)
    writer.finish()
    assert [message.data for _, message in read_rows(path)] == [*[b"%d" % n for n in range(10)], b"last"]
