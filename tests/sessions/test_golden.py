"""A session that version 1 of the format wrote stays readable for ever: this one was recorded once and for all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest

from labwire.sessions.check.verify import verify_session
from labwire.sessions.manifest import manifest_schema
from labwire.sessions.reading.export import export_session
from labwire.sessions.reading.session_reader import open_session
from labwire.sessions.replay.replay_source import open_source

VECTOR = Path(__file__).parents[1] / "vectors" / "session-1"


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    return Path(shutil.copytree(VECTOR, tmp_path / "golden"))


def test_it_is_verified(golden: Path) -> None:
    found = verify_session(golden)
    assert (found.whole, found.messages, found.pictures, found.missing) == (True, 18, 3, 1)
    assert [(gap.topic, gap.first, gap.last) for gap in found.gaps] == [("scale", 3, 3)]
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(json.loads((golden / "session.json").read_text()), manifest_schema())


def test_it_opens(golden: Path) -> None:
    with open_session(golden) as session:
        assert session.topics["pupil.0.2d"] == 6
        rows = list(session["pupil.0.2d"].rows())
        assert [row["diameter"] for row in rows] == [40.0, 41.0, 42.0, 43.0, 44.0, 45.0]
        assert [round(row["time_s"], 1) for row in rows] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "behind the jump as well"
        assert [(round(mark.time_s, 1), mark.label) for mark in session.marks] == [(0.5, "stimulus on")]
        assert [picture.size for picture in session.pictures["frame.world"]] == [(16, 12)] * 3


def test_it_is_replayed_byte_for_byte(golden: Path) -> None:
    source = open_source(golden)
    messages = [message.parts for message in source.messages(0.0)]
    source.close()
    assert len(messages) == 18
    assert messages[-3:] == [(b"raw", b"\x80", b"one", b"two"), (b"no map", b"\xc1"), (b"alone",)]
    pictures = [parts for parts in messages if parts[0] == b"frame.world"]
    assert [msgspec.msgpack.decode(parts[1])["index"] for parts in pictures] == [0, 1, 2]
    assert all(parts[2].startswith(b"\xff\xd8") for parts in pictures)


def test_it_is_exported(golden: Path, tmp_path: Path) -> None:
    exported = export_session(golden, tmp_path / "out", to="csv")
    assert {table.topic: table.rows for table in exported.tables} == {
        "annotation": 1, "frame.world": 3, "pupil.0.2d": 6, "raw": 1, "scale": 5,
    }  # fmt: skip
