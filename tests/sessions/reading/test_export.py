"""A session in the formats of other tools."""

from __future__ import annotations

import csv
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from labwire.errors import CancelledError, NotFoundError, StateError, UsageError
from labwire.sessions.log.bus_log import BusLog
from labwire.sessions.manifest import manifest_of, write_manifest
from labwire.sessions.reading import export as exports
from labwire.sessions.reading.export import Exported, ExportProgress, export_session
from labwire.wire.bus_message import peek_header
from tests.sessions.making import datum, jpeg, received, session_in
from tests.sessions.recorded import record_session


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record_session(tmp_path_factory.mktemp("recordings"), jump_at=30)[0]


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_csv(folder: Path, tmp_path: Path) -> None:
    exported = export_session(folder, tmp_path / "out", to="csv")
    rows = read_csv(tmp_path / "out" / "pupil_0.csv")
    assert len(rows) == 60
    assert list(rows[0])[:2] == ["time_s", "arrival_s"]
    assert [float(row["norm_pos_1"]) for row in rows] == [number / 100 for number in range(60)]
    assert exported.skipped == 2
    assert exported.messages == 145
    told = json.loads((tmp_path / "out" / "export.json").read_text())
    assert [one["label"] for one in told["marks"]] == ["mark 7", "mark 27", "mark 47"]
    (scale,) = [one for one in told["tables"] if one["topic"] == "scale"]
    assert {one["name"]: one["unit"] for one in scale["columns"]}["weight_kg"] == "kg"
    assert not list(tmp_path.glob("*.part"))


def test_parquet_opens_in_pandas_with_units(folder: Path, tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    pq = pytest.importorskip("pyarrow.parquet")
    export_session(folder, tmp_path / "out", to="parquet")
    frame = pd.read_parquet(tmp_path / "out" / "scale.parquet")
    assert list(frame["weight_kg"]) == [number / 2 for number in range(60)]
    assert frame["time_s"].is_monotonic_increasing
    schema = pq.read_schema(tmp_path / "out" / "scale.parquet")
    assert schema.field("weight_kg").metadata[b"unit"] == b"kg"
    assert schema.metadata[b"topic"] == b"scale"


def test_mcap_opens_in_the_official_reader(folder: Path, tmp_path: Path) -> None:
    reader = pytest.importorskip("mcap.reader")
    export_session(folder, tmp_path / "out", to="mcap")
    with (tmp_path / "out" / "session.mcap").open("rb") as file:
        rows = [
            (channel.topic, schema.name, message, json.loads(message.data))
            for schema, channel, message in reader.make_reader(file, validate_crcs=True).iter_messages()
        ]
    pupil = [payload for topic, _, _, payload in rows if topic == "pupil.0"]
    assert [one["number"] for one in pupil] == list(range(60))
    images = [(name, payload) for topic, name, _, payload in rows if topic == "frame.world/image"]
    assert len(images) == 20
    assert images[0][0] == "foxglove.CompressedImage"
    import base64

    assert base64.b64decode(images[4][1]["data"]) == jpeg(12)
    late = [message.publish_time for topic, _, message, _ in rows if topic == "pupil.0"]
    assert late == sorted(late), "the jump of rig time is not in it"
    (raw,) = [payload["raw"] for topic, _, _, payload in rows if topic == "raw"]
    assert [base64.b64decode(one) for one in raw] == [b"one", b"two"]


def test_topics_and_times_are_chosen(folder: Path, tmp_path: Path) -> None:
    whole = export_session(folder, tmp_path / "whole", to="csv", topics=["scale", "pupil."])
    assert [(one.topic, one.rows) for one in whole.tables] == [("pupil.0", 60), ("scale", 60)]
    rows = read_csv(tmp_path / "whole" / "scale.csv")
    from_s, to_s = float(rows[10]["arrival_s"]), float(rows[20]["arrival_s"])
    part = export_session(folder, tmp_path / "part", to="csv", topics=["scale"], from_s=from_s, to_s=to_s)
    assert [row["seq"] for row in read_csv(tmp_path / "part" / "scale.csv")] == [str(seq) for seq in range(10, 20)]
    assert part.messages == 10


def test_more_topics_than_files_may_be_open(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    once = export_session(folder, tmp_path / "once", to="csv")
    monkeypatch.setattr(exports, "_AT_ONCE", 2)
    monkeypatch.setattr(exports, "_FLUSH_ROWS", 7)
    monkeypatch.setattr(exports, "_FLUSH_BYTES", 100)
    again = export_session(folder, tmp_path / "again", to="csv")
    assert again.messages == once.messages
    for path in (tmp_path / "once").glob("*.csv"):
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_refusals_leave_nothing(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(StateError):
        export_session(folder, tmp_path / "there", to="csv")
    with pytest.raises(UsageError):
        export_session(folder, tmp_path / "out", to="xls")  # pyright: ignore[reportArgumentType]
    with pytest.raises(NotFoundError):
        export_session(tmp_path, tmp_path / "out", to="csv")
    with pytest.raises(CancelledError):
        export_session(folder, tmp_path / "out", to="csv", cancelled=lambda: True)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_progress_ends_with_all(folder: Path, tmp_path: Path) -> None:
    reports: list[ExportProgress] = []
    export_session(folder, tmp_path / "out", to="csv", report=reports.append)
    assert reports[-1].done_bytes == reports[-1].total_bytes > 0


def _long_session(folder: Path, count: int) -> Path:
    folder.mkdir()
    session, log = session_in(folder), BusLog()
    log.prepare(session)
    log.start()
    for number in range(count):
        parts = datum(f"a.{number % 5}", 1000.0 + number / 100, number=number)
        log.append(received(parts, at_s=100.0 + number / 100, header=peek_header(parts[1])))
    log.stop()
    write_manifest(folder, manifest_of(session, {}))
    return folder


@pytest.mark.parametrize("to", ["csv", "parquet"])
def test_memory_does_not_grow_with_the_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: Any) -> None:
    if to == "parquet":
        pytest.importorskip("pyarrow")
    monkeypatch.setattr(exports, "_FLUSH_ROWS", 50)
    peaks: list[int] = []
    for count in (300, 1_000, 5_000):  # the first one loads what is loaded once
        long = _long_session(tmp_path / f"{to} {count}", count)
        tracemalloc.start()
        exported: Exported = export_session(long, tmp_path / f"out {to} {count}", to=to)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert exported.messages == count
    assert peaks[2] < 1.5 * peaks[1], peaks
