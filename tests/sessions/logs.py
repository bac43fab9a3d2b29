"""Reading a log with the official MCAP reader, and putting messages together again as they came off the bus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from mcap.reader import make_reader
from mcap.records import ChunkIndex, Statistics

Parts = tuple[bytes, ...]


def read_summary(path: Path) -> tuple[Statistics, list[ChunkIndex]]:
    """Return statistics and chunk indexes of a whole log."""
    with path.open("rb") as file:
        summary = make_reader(file, validate_crcs=True).get_summary()
    assert summary is not None
    assert summary.statistics is not None
    return summary.statistics, summary.chunk_indexes


def read_rows(path: Path, **select: Any) -> list[tuple[Any, Any]]:
    """Return (channel, message) of every MCAP message, by the index, checksums checked."""
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        return [(channel, message) for _, channel, message in reader.iter_messages(**select)]


def read_metadata(path: Path) -> list[tuple[str, dict[str, str]]]:
    with path.open("rb") as file:
        return [(record.name, record.metadata) for record in make_reader(file).iter_metadata()]


def read_messages(path: Path) -> list[Parts]:
    """Return the messages of a log as lists of parts, in order."""
    messages: list[Parts] = []
    for channel, message in read_rows(path):
        topic = bytes.fromhex(channel.metadata.get("topic_hex", "")) or channel.topic.encode()
        if channel.topic == "labwire.overflow":
            messages.append(tuple(msgspec.msgpack.decode(message.data)))
        elif "raw_parts_of" in channel.metadata:
            messages[-1] = (*messages[-1], message.data)
        elif channel.metadata.get("parts") == "1":
            messages.append((topic,))
        else:
            messages.append((topic, message.data))
    return messages
