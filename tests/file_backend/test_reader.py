"""Readers get whole lines, in order, over rotation and truncation, from any place."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labwire import file_backend
from labwire.errors import NotFoundError
from labwire.file_backend import file_watch, line_reader
from labwire.file_backend.backend import FileBackend
from labwire.file_backend.config import FileIpcOptions
from labwire.file_backend.file_watch import FileWatch
from labwire.file_backend.jsonl_file import JsonlFile
from labwire.file_backend.line_reader import LineReader
from labwire.file_backend.reader import FolderReader, Record, follow, latest_frame, read
from labwire.wire.envelope import Envelope, EnvelopeType, encode_envelope
from tests.file_backend.test_pictures import jpeg


def line(timestamp_us: int, kind: EnvelopeType = "status", text: str = "") -> bytes:
    return encode_envelope(Envelope(kind, timestamp_us, {"message": text}))


def times(records: list[Record]) -> list[int]:
    return [record.timestamp for record in records]


@pytest.fixture
def status(tmp_path: Path) -> Path:
    return tmp_path / "status.jsonl"


# --- lines of one file


@given(data=st.lists(st.binary(max_size=30).filter(lambda piece: b"\n" not in piece), max_size=20), cuts=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_in_whatever_pieces_it_is_written_lines_are_whole(
    tmp_path: Path, data: list[bytes], cuts: st.DataObject
) -> None:
    path = tmp_path / "lines"
    path.unlink(missing_ok=True)
    whole = b"".join(piece + b"\n" for piece in data)
    places = sorted(cuts.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    reader, found = LineReader(path), list[bytes]()
    with path.open("ab", buffering=0) as file:
        for start, end in zip([0, *places], [*places, len(whole)], strict=True):
            file.write(whole[start:end])
            found += [line.data for line in reader.take()]
    reader.close()
    assert found == data


def test_a_missing_file_is_read_when_it_comes(status: Path) -> None:
    reader = LineReader(status)
    assert reader.take() == []
    status.write_bytes(b"one\n")
    assert [line.data for line in reader.take()] == [b"one"]
    reader.close()


def rename(path: Path) -> None:
    path.rename(path.with_suffix(".1"))


def cut(path: Path) -> None:
    os.truncate(path, 0)


def copy_and_cut(path: Path) -> None:
    path.with_suffix(".1").write_bytes(path.read_bytes())
    os.truncate(path, 0)


@pytest.mark.parametrize("rotate", [rename, cut, copy_and_cut, Path.unlink])
@pytest.mark.parametrize("length", [1, 500])
def test_rotation_is_followed_even_if_the_new_file_is_longer(
    status: Path, rotate: Callable[[Path], None], length: int
) -> None:
    status.write_bytes(line(1) + line(2))
    reader = LineReader(status)
    assert len(reader.take()) == 2
    rotate(status)
    with status.open("ab") as file:
        for n in range(length):
            file.write(line(100 + n))
    assert len(reader.take()) == length
    assert reader.restarts == 1
    reader.close()


def test_the_end_of_a_renamed_file_is_read_before_the_new_one(status: Path) -> None:
    status.write_bytes(b"one\n")
    reader = LineReader(status)
    assert len(reader.take()) == 1
    with status.open("ab") as file:
        file.write(b"two\n")
    rename(status)
    status.write_bytes(b"three\n")
    assert [line.data for line in reader.take()] == [b"two", b"three"]
    reader.close()


def test_reading_goes_on_from_an_offset(status: Path) -> None:
    status.write_bytes(b"one\ntwo\nthree\n")
    for offset, expected in ((0, b"one"), (4, b"two"), (5, b"three"), (8, b"three")):
        reader = LineReader(status, offset)
        assert reader.take()[0].data == expected
        reader.close()
    for offset in (14, 9):  # the end; inside the last line
        reader = LineReader(status, offset)
        assert reader.take() == []
        reader.close()


def test_an_offset_behind_the_end_begins_anew(status: Path) -> None:
    status.write_bytes(b"one\n")
    reader = LineReader(status, 1000)
    assert [line.data for line in reader.take()] == [b"one"]
    reader.close()


def test_a_line_longer_than_any_is_left_out(status: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_reader, "MAX_LINE_BYTES", 100)
    monkeypatch.setattr(line_reader, "_CHUNK_BYTES", 10)
    status.write_bytes(b"a\n" + b"x" * 5000 + b"\nb\n" + b"y" * 90 + b"\n")
    reader = LineReader(status)
    assert [line.data for line in reader.take()] == [b"a", b"b", b"y" * 90]
    assert reader.too_long == 1
    reader.close()


# --- the folder


def fill(folder: Path, n: int, seed: int = 1) -> list[int]:
    """Write lines with rising timestamps into random files; return the timestamps."""
    rng, stamps = random.Random(seed), list(range(1000, 1000 + n))
    files: dict[EnvelopeType, bytes] = {"core_metrics": b"", "edge_metrics": b"", "status": b""}
    for stamp in stamps:
        kind = rng.choice(list(files))
        files[kind] += line(stamp, kind)
    for kind, data in files.items():
        (folder / f"{kind}.jsonl").write_bytes(data)
    return stamps


def test_streams_are_merged_by_time(tmp_path: Path) -> None:
    stamps = fill(tmp_path, 300)
    records = list(file_backend.read(tmp_path))
    assert times(records) == stamps
    assert {record.stream for record in records} == {"core_metrics", "edge_metrics", "status"}
    assert all(record.stream == record.type for record in records)


def test_what_the_backend_wrote_is_read(tmp_path: Path) -> None:
    with FileBackend(FileIpcOptions(base_directory=str(tmp_path))) as backend:
        backend.put(jpeg(0))
        backend.metrics("core_metrics", 5, {"pulse": {"strict": {"value": 72.5, "confidence": 0.95}}})
        backend.status(0, "OK", timestamp_us=6)
    first, second = read(tmp_path)
    assert (first.type, first.timestamp, first.payload["pulse"]["strict"]["value"]) == ("core_metrics", 5, 72.5)
    assert (second.type, second.payload) == ("status", {"code": 0, "message": "OK"})
    assert latest_frame(tmp_path) == jpeg(0).data


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no folder .*/none"):
        read(tmp_path / "none")
    assert list(read(tmp_path)) == []


def test_bad_lines_are_told_and_an_unterminated_one_is_not_there_yet(status: Path) -> None:
    status.write_bytes(line(1) + b"{}\n" + line(2) + b"\xff\xfe\n" + line(3)[:-1])
    bad: list[tuple[str, int]] = []
    records = list(read(status.parent, on_bad=lambda stream, offset, reason: bad.append((stream, offset))))
    assert times(records) == [1, 2]
    size = len(line(1))
    assert bad == [("status", size + 3), ("status", 2 * size + 6)]


def test_reading_goes_on_where_a_record_ended(tmp_path: Path) -> None:
    stamps = fill(tmp_path, 50)
    for stop in (0, 10, 49):
        since: dict[str, int] = {}
        for record in list(read(tmp_path))[:stop]:
            since[record.stream] = record.offset
        assert times(list(read(tmp_path, since=since))) == stamps[stop:]


def test_offsets_of_a_reader_are_where_it_goes_on(tmp_path: Path) -> None:
    fill(tmp_path, 20)
    with FolderReader(tmp_path) as reader:
        assert len(reader.take()) == 20
        offsets = reader.offsets
    with FolderReader(tmp_path, since=offsets) as reader:
        assert reader.take() == []


# --- following


@pytest.fixture(params=["inotify", "polling"])
def watching(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "polling":
        monkeypatch.setattr(file_watch, "_inotify", None)
    elif file_watch._inotify is None:
        pytest.skip("no inotify here")
    return str(request.param)


class Follower:
    """Follows a folder in a thread."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.records: list[Record] = []
        self._stop, self._came = threading.Event(), threading.Condition()
        self._thread = threading.Thread(target=self._run, args=(folder, options))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def wait_for(self, count: int) -> None:
        with self._came:
            assert self._came.wait_for(lambda: len(self.records) >= count, 20), len(self.records)

    def _run(self, folder: Path, options: dict[str, Any]) -> None:
        for record in follow(folder, stop=self._stop, **options):
            with self._came:
                self.records.append(record)
                self._came.notify_all()


def test_following_gets_what_is_there_and_what_comes(tmp_path: Path, watching: str) -> None:
    folder = tmp_path / "out"
    with Follower(folder, settle_s=0) as follower:
        with FileBackend(FileIpcOptions(base_directory=str(folder))) as backend:
            for n in range(20):
                backend.metrics("edge_metrics", n, {"eda": n / 10})
                follower.wait_for(n + 1)
        assert times(follower.records) == list(range(20))


def test_following_orders_what_comes_late(tmp_path: Path, watching: str) -> None:
    with JsonlFile(tmp_path / "core_metrics.jsonl") as core, JsonlFile(tmp_path / "edge_metrics.jsonl") as edge:
        with Follower(tmp_path, settle_s=2.0) as follower:
            edge.append("edge_metrics", 20, {})
            core.append("core_metrics", 10, {})
            edge.append("edge_metrics", 40, {})
            core.append("core_metrics", 30, {})
            follower.wait_for(4)
        assert times(follower.records) == [10, 20, 30, 40]


def test_what_every_stream_has_passed_is_not_held_back(tmp_path: Path) -> None:
    stamps = fill(tmp_path, 300)
    with Follower(tmp_path, settle_s=1000) as follower:
        follower.wait_for(280)
    assert times(follower.records) == stamps[: len(follower.records)]


@pytest.mark.parametrize("rotate", [rename, cut, Path.unlink])
def test_following_goes_on_over_rotation(status: Path, watching: str, rotate: Callable[[Path], None]) -> None:
    with JsonlFile(status) as file, Follower(status.parent, settle_s=0) as follower:
        file.append("status", 1, {})
        follower.wait_for(1)
        rotate(status)
        file.append("status", 2, {})
        follower.wait_for(2)
        file.append("status", 3, {})
        follower.wait_for(3)
    assert times(follower.records) == [1, 2, 3]


def test_following_ends_when_nothing_comes(tmp_path: Path) -> None:
    fill(tmp_path, 10)
    assert len(list(follow(tmp_path, idle_s=0.05))) == 10


def test_a_change_that_nobody_tells_of_is_found_by_looking(status: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if file_watch._inotify is None:
        pytest.skip("no inotify here")
    status.write_bytes(b"")
    watch = FileWatch([status])
    assert watch.wait(0)  # it is watched from now on
    assert not watch.wait(0)
    with status.open("ab") as file:
        file.write(b"x")
    assert watch.wait(10)
    watch.close()


# --- frames


def test_the_newest_frame_is_only_given_when_whole(tmp_path: Path) -> None:
    assert latest_frame(tmp_path) is None
    path = tmp_path / "latest.jpg"
    path.write_bytes(jpeg(0).data[:-10])
    assert latest_frame(tmp_path) is None
    path.write_bytes(jpeg(0).data)
    assert latest_frame(tmp_path) == jpeg(0).data


def test_of_two_extensions_the_newer_frame_counts(tmp_path: Path) -> None:
    frames = {"latest.jpg": jpeg(0).data, "latest.png": b"pixels IEND\xaeB\x60\x82"}
    for name, data in frames.items():
        (tmp_path / name).write_bytes(data)
    for newer, newest in frames.items():
        for name in frames:
            os.utime(tmp_path / name, times=(1, 2 if name == newer else 1))
        assert latest_frame(tmp_path) == newest


@pytest.mark.parametrize("extension", ["png", "bmp"])
def test_frames_of_other_formats_are_checked_too(tmp_path: Path, extension: str) -> None:
    options = FileIpcOptions(base_directory=str(tmp_path), frame_extension=extension)  # type: ignore[arg-type]
    with FileBackend(options) as backend:
        backend.put(jpeg(0))
    path = tmp_path / f"latest.{extension}"
    whole = path.read_bytes()
    assert latest_frame(tmp_path) == whole
    path.write_bytes(whole[:-5])
    assert latest_frame(tmp_path) is None
