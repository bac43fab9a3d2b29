"""The page on session folders names every key and every file that there is."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from labwire.operations.recordable import StreamCounters, StreamDescription
from labwire.operations.recording import StreamFailure
from labwire.sessions import ballast, events, manifest
from labwire.sessions.log import bus_log
from labwire.sessions.manifest import Manifest
from labwire.sessions.player import player_format
from labwire.sessions.sink import ClockChange, ClockReading

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "session-folder.md").read_text()


@pytest.mark.parametrize(
    "struct", [Manifest, ClockChange, ClockReading, StreamDescription, StreamCounters, StreamFailure]
)
def test_every_key_is_explained(struct: type[msgspec.Struct]) -> None:
    assert [field.encode_name for field in msgspec.structs.fields(struct) if f"`{field.encode_name}`" not in PAGE] == []


@pytest.mark.parametrize(
    "word",
    [
        manifest.FILE_NAME,
        bus_log.FILE_NAME,
        bus_log.RAW_SUFFIX,
        bus_log.OVERFLOW_TOPIC,
        bus_log.SESSION_NOTE,
        bus_log.CLOCK_NOTE,
        player_format.INFO_FILE,
        player_format.USER_FILE,
        ballast.FILE_NAME,
        *(manifest.RECORDING, manifest.COMPLETE, manifest.REPAIRED, manifest.BROKEN),
        *(events.STOPPED, events.SEGMENTED, events.DISK_WAS_LOW, events.DISK_FAILED),
        manifest.FORMAT,
    ],
)
def test_every_word_of_the_format_is_there(word: str) -> None:
    assert word in PAGE
