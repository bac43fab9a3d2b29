"""Frames: the newest is always whole, numbered ones are kept up to a number, foreign files are never touched."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from labwire.errors import LabwireError
from labwire.file_backend.config import FileIpcOptions
from labwire.file_backend.pictures import PictureFiles
from labwire.picture import Picture, check_jpeg, encode_jpeg, picture_of
from tests.file_backend.disks import files_up_to, full, small_disk

START_US = 1_700_000_000_000_000


def pixels(value: int = 100, width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    ramp = np.linspace(0, 100, width, dtype=np.uint8)
    return np.broadcast_to(ramp[None, :, None] + np.uint8(value), (height, width, 3)).copy()


def jpeg(index: int, data: bytes | memoryview | None = None, width: int = 64, height: int = 48) -> Picture:
    return Picture(
        index=index,
        monotonic_s=index / 30,
        epoch_us=START_US + index * 33_333,
        width=width,
        height=height,
        format="jpeg",
        data=encode_jpeg(pixels(index % 100)) if data is None else data,
    )


def bgr(index: int) -> Picture:
    return picture_of(pixels(index), index=index, monotonic_s=index / 30, epoch_us=START_US + index * 33_333)


def write(folder: Path, pictures: list[Picture], **options: Any) -> PictureFiles:
    """Write pictures one by one, so that none is dropped."""
    files = PictureFiles(folder, FileIpcOptions(**options)).start()
    for n, picture in enumerate(pictures):
        files.put(picture)
        wait_for(lambda n=n: sum(handled(files)) > n)
    files.close()
    return files


def handled(files: PictureFiles) -> tuple[int, int, int]:
    counters = files.counters()
    return counters.written, counters.failed, counters.malformed


def wait_for(condition: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(10_000):
        if condition():
            return
        waiting.wait(0.001)
    pytest.fail("waited in vain")


def numbered(folder: Path, extension: str = "jpg") -> list[str]:
    return sorted(name for name in os.listdir(folder) if re.fullmatch(rf"frame\d{{16}}\.{extension}", name))


def test_jpeg_is_written_byte_for_byte(tmp_path: Path) -> None:
    pictures = [jpeg(0), jpeg(1)]
    write(tmp_path, pictures)
    assert (tmp_path / "latest.jpg").read_bytes() == pictures[1].data
    assert [(tmp_path / name).read_bytes() for name in numbered(tmp_path)] == [picture.data for picture in pictures]


def test_numbered_frames_are_named_for_their_microseconds(tmp_path: Path) -> None:
    write(tmp_path, [jpeg(0), jpeg(1)])
    assert numbered(tmp_path) == ["frame1700000000000000.jpg", "frame1700000000033333.jpg"]
    assert sorted(os.listdir(tmp_path)) == [*numbered(tmp_path), "latest.jpg"]


def test_pixels_are_encoded(tmp_path: Path) -> None:
    write(tmp_path, [bgr(3)])
    assert check_jpeg((tmp_path / "latest.jpg").read_bytes()) == (64, 48)


def test_without_compression_jpeg_has_quality_100(tmp_path: Path) -> None:
    write(tmp_path, [bgr(3)], compress_frames=False)
    written = (tmp_path / "latest.jpg").read_bytes()
    assert written == encode_jpeg(pixels(3), 100)
    at = written.index(b"\xff\xdb") + 5
    assert set(written[at : at + 64]) == {1}  # the quantization table


def test_without_compression_a_cameras_jpeg_is_encoded_with_quality_100(tmp_path: Path) -> None:
    write(tmp_path, [jpeg(3)], compress_frames=False)
    assert len((tmp_path / "latest.jpg").read_bytes()) > len(jpeg(3).data)


@pytest.mark.parametrize("extension", ["png", "bmp"])
def test_other_extensions_are_lossless(tmp_path: Path, extension: str) -> None:
    write(tmp_path, [bgr(3), bgr(4)], frame_extension=extension)
    for name in ("latest", *numbered(tmp_path, extension)[1:]):
        read = cv2.imread(str((tmp_path / name).with_suffix(f".{extension}")), cv2.IMREAD_UNCHANGED)
        assert read is not None
        assert np.array_equal(read, pixels(4))
    assert len(numbered(tmp_path, extension)) == 2


def test_spelling_jpeg_is_an_extension_too(tmp_path: Path) -> None:
    write(tmp_path, [jpeg(0)], frame_extension="jpeg")
    assert (tmp_path / "latest.jpeg").read_bytes() == jpeg(0).data


@pytest.mark.parametrize("limit", [1, 3])
def test_only_the_newest_numbered_frames_are_kept(tmp_path: Path, limit: int) -> None:
    files = write(tmp_path, [jpeg(n) for n in range(10)], max_frame_count=limit)
    assert numbered(tmp_path) == [files.name_of(jpeg(n).epoch_us) for n in range(10 - limit, 10)]
    assert files.counters().removed == 10 - limit


def test_zero_is_no_limit(tmp_path: Path) -> None:
    write(tmp_path, [jpeg(n) for n in range(30)], max_frame_count=0)
    assert len(numbered(tmp_path)) == 30


def test_there_are_never_more_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    most: list[int] = []
    rename = Path.rename
    monkeypatch.setattr(Path, "rename", lambda path, to: (rename(path, to), most.append(len(numbered(tmp_path))))[0])
    write(tmp_path, [jpeg(n) for n in range(8)], max_frame_count=3)
    assert most == [1, 2, 3, 3, 3, 3, 3, 3]


def test_frames_of_the_last_run_count_when_they_are_kept(tmp_path: Path) -> None:
    write(tmp_path, [jpeg(n) for n in range(5)])
    files = write(tmp_path, [jpeg(7)], truncate_on_init=False, max_frame_count=3)
    assert numbered(tmp_path) == [files.name_of(jpeg(n).epoch_us) for n in (3, 4, 7)]


@pytest.mark.parametrize("limit", [0, 10])
def test_names_rise_over_restarts_and_no_frame_is_overwritten(tmp_path: Path, limit: int) -> None:
    write(tmp_path, [jpeg(5, jpeg(1).data)], max_frame_count=limit)
    write(tmp_path, [jpeg(0), jpeg(0)], truncate_on_init=False, max_frame_count=limit)
    names = numbered(tmp_path)
    assert len(names) == 3
    assert (tmp_path / names[0]).read_bytes() == jpeg(1).data


def test_clearing_takes_our_own_files_and_no_others(tmp_path: Path) -> None:
    write(tmp_path, [jpeg(0), jpeg(1)])
    others = [
        "frame1700000000000000.png",
        "frame170000000000000.jpg",
        "frame17000000000000000.jpg",
        "frame1700000000000000.jpg.bak",
        "my frame1700000000000000.jpg",
        "latest.png",
        "holiday.jpg",
        "notes.txt",
    ]
    for name in others:
        (tmp_path / name).write_text("mine")
    (tmp_path / "frame0000000000000001.jpg").mkdir()
    (tmp_path / ".latest.jpg.new").write_bytes(b"of a killed writer")
    write(tmp_path, [])
    assert sorted(os.listdir(tmp_path)) == sorted([*others, "frame0000000000000001.jpg"])
    write(tmp_path, [jpeg(n) for n in range(20)], max_frame_count=1)
    assert all((tmp_path / name).read_text() == "mine" for name in others)


def test_without_clearing_the_latest_frame_stays_until_a_newer_one(tmp_path: Path) -> None:
    write(tmp_path, [jpeg(0)])
    write(tmp_path, [], truncate_on_init=False)
    assert (tmp_path / "latest.jpg").read_bytes() == jpeg(0).data


def test_pictures_that_come_too_fast_drop_the_oldest(tmp_path: Path) -> None:
    files = PictureFiles(tmp_path, FileIpcOptions())
    kept_all = [files.put(jpeg(n)) for n in range(22)]
    files.start()
    files.close()
    counters = files.counters()
    assert (counters.received, counters.written, counters.dropped) == (22, 16, 6)
    assert kept_all == [True] * 16 + [False] * 6
    assert (tmp_path / "latest.jpg").read_bytes() == jpeg(21).data


@pytest.mark.parametrize("options", [{}, {"compress_frames": False}, {"frame_extension": "png"}])
def test_broken_picture_is_counted_and_not_shown(tmp_path: Path, options: dict[str, Any]) -> None:
    whole, torn = jpeg(0), jpeg(1, jpeg(1).data[:200])
    files = write(tmp_path, [whole, torn], **options)
    assert handled(files) == (1, 0, 1)
    assert len(os.listdir(tmp_path)) == 2


def test_full_disk_is_counted_told_and_overcome(tmp_path: Path) -> None:
    events: list[tuple[str, dict[str, Any]]] = []
    files = PictureFiles(tmp_path, FileIpcOptions(), lambda *event: events.append(event)).start()
    with files_up_to(100):
        for n in range(3):
            files.put(jpeg(n))
        wait_for(lambda: files.counters().failed == 3)
        assert os.listdir(tmp_path) == []
    files.put(jpeg(3))
    files.close()
    assert files.counters().written == 1
    assert [kind for kind, _ in events] == ["failed", "recovered"]
    assert events[1][1]["failed"] == 3
    assert (tmp_path / "latest.jpg").read_bytes() == jpeg(3).data


def test_really_full_disk_keeps_the_last_whole_frame(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 256 * 1024) as folder:
        files = PictureFiles(folder, FileIpcOptions()).start()
        files.put(jpeg(0))
        wait_for(lambda: files.counters().written == 1)
        with full(folder):
            files.put(jpeg(1))
            wait_for(lambda: files.counters().failed == 1)
            assert (folder / "latest.jpg").read_bytes() in {jpeg(0).data, jpeg(1).data}
        files.put(jpeg(2))
        files.close()
        assert (folder / "latest.jpg").read_bytes() == jpeg(2).data
        assert (folder / numbered(folder)[-1]).read_bytes() == jpeg(2).data


def test_folder_that_vanishes_is_counted_until_it_is_back(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    files = PictureFiles(folder, FileIpcOptions()).start()
    folder.rmdir()
    files.put(jpeg(0))
    wait_for(lambda: files.counters().failed == 1)
    folder.mkdir()
    files.put(jpeg(1))
    files.close()
    assert (folder / "latest.jpg").read_bytes() == jpeg(1).data


def test_frame_that_cannot_be_removed_does_not_break_the_limit(tmp_path: Path) -> None:
    write(tmp_path, [jpeg(0)], max_frame_count=1)
    stuck = tmp_path / numbered(tmp_path)[0]
    files = PictureFiles(tmp_path, FileIpcOptions(max_frame_count=1, truncate_on_init=False)).start()
    stuck.unlink()
    stuck.mkdir()
    files.put(jpeg(1))
    wait_for(lambda: files.counters().failed == 1)
    assert numbered(tmp_path) == [stuck.name]
    stuck.rmdir()
    files.put(jpeg(2))
    files.close()
    assert numbered(tmp_path) == [files.name_of(jpeg(2).epoch_us)]


def test_listener_that_raises_does_not_end_the_writing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def listener(kind: str, data: dict[str, Any]) -> None:
        raise RuntimeError(kind)

    files = PictureFiles(tmp_path, FileIpcOptions(), listener).start()
    files.put(jpeg(0))
    files.put(jpeg(1))
    files.close()
    assert files.counters().written == 2
    assert "telling of written" in caplog.text


def test_latest_is_never_seen_torn(tmp_path: Path, soak: Callable[[int, int], int]) -> None:
    count = soak(300, 30_000)
    noise = np.random.default_rng(1).integers(0, 255, (480, 640, 3), np.uint8)
    sizes = [encode_jpeg(noise, quality) for quality in (30, 95)]
    (tmp_path / "latest.jpg").write_bytes(sizes[0])
    bad: list[str] = []
    reads = 0
    done = threading.Event()

    def hammer() -> None:
        nonlocal reads
        while not done.is_set():
            try:
                assert check_jpeg((tmp_path / "latest.jpg").read_bytes()) == (640, 480)
            except (LabwireError, OSError) as error:
                bad.append(str(error))
            reads += 1

    reader = threading.Thread(target=hammer)
    files = PictureFiles(tmp_path, FileIpcOptions(max_frame_count=5, truncate_on_init=False)).start()
    reader.start()
    for n in range(count):
        files.put(jpeg(n, sizes[n % 2], 640, 480))
        wait_for(lambda n=n: files.counters().written > n)
    done.set()
    reader.join()
    files.close()
    assert reads > 0
    assert bad == []
