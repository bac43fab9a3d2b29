"""Files of JSON Lines that were cut off anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from labwire.operations.recordable import StreamCounters, StreamDescription
from labwire.sessions.check.jsonl_repair import count_lines, is_whole_jsonl, repair_jsonl
from labwire.sessions.check.repair import repair_session
from labwire.sessions.manifest import read_manifest, write_manifest
from tests.sessions.check.test_repair import record

LINES = b'{"command_id":"DMM1-1","value":1.5}\n{"command_id":"DMM1-2","value":[1,2]}\n'


def test_cut_anywhere_only_whole_lines_stay(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    first = LINES.index(b"\n") + 1
    for size in range(len(LINES) + 1):
        path.write_bytes(LINES[:size])
        repair_jsonl(path)
        keeps_first = size >= first - 1
        keeps_second = size >= len(LINES) - 1
        assert path.read_bytes() == LINES[: len(LINES) if keeps_second else first if keeps_first else 0], size
        assert is_whole_jsonl(path)
        assert repair_jsonl(path) is None
        assert count_lines(path) == keeps_first + keeps_second


@pytest.mark.parametrize("torn", [b'{"x":"' + b"y" * 300_000, b"\xff\xfe", b"\0" * 70_000, b"[" * 100_000])
def test_a_torn_line_of_any_kind_goes(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(LINES + torn)
    assert not is_whole_jsonl(path)
    assert repair_jsonl(path) == len(torn)
    assert path.read_bytes() == LINES


def test_the_repair_of_a_session_mends_what_its_streams_have_written(tmp_path: Path) -> None:
    folder = record(tmp_path)
    manifest = read_manifest(folder)
    manifest.streams["instruments"] = StreamDescription("instruments", ["instruments.jsonl"])
    manifest.streams["far"] = StreamDescription("far", ["far.jsonl"], host="elsewhere")
    manifest.counters["instruments"] = StreamCounters(received=9, written=1)
    write_manifest(folder, manifest)
    for name in ("instruments", "far", "mine"):
        (folder / f"{name}.jsonl").write_bytes(LINES + b'{"comm')
    assert repair_session(folder).changes == ["instruments.jsonl: cut 6 torn bytes"]
    assert (folder / "instruments.jsonl").read_bytes() == LINES
    assert (folder / "far.jsonl").read_bytes() == (folder / "mine.jsonl").read_bytes() == LINES + b'{"comm'
    assert read_manifest(folder).counters["instruments"] == StreamCounters(received=9, written=2)
    assert repair_session(folder).changes == []
