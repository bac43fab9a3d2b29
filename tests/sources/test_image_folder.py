"""Folders of images and files of times."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from labwire.errors import DeviceError
from labwire.picture import Picture
from labwire.sources.frame_times import FrameTimes
from labwire.sources.image_folder import ImageFolder
from labwire.sources.video import VideoSource
from tests.sources.clips import jpegs, motion_jpeg

START_US = 1_700_000_000_000_000


def play(source: VideoSource) -> list[Picture]:
    source.open()
    pictures: list[Picture] = []
    while (picture := source.read()) is not None:
        pictures.append(picture)
    source.close()
    return pictures


def fast(path: Path, **more: str | Path) -> VideoSource:
    return VideoSource(path, realtime=False, loop=False, times=more.get("times"))


def images(folder: Path, count: int, name: str = "frame{stamp:016d}.jpg") -> list[bytes]:
    frames = jpegs(count)
    for n, frame in enumerate(frames):
        (folder / name.format(stamp=START_US + n * 40_000, n=n)).write_bytes(frame)
    return frames


def test_what_a_file_backend_kept_is_played_with_its_own_times(tmp_path: Path) -> None:
    frames = images(tmp_path, 5)
    (tmp_path / "latest.jpg").write_bytes(frames[0])
    (tmp_path / "status.jsonl").write_bytes(b"{}\n")
    source = fast(tmp_path)
    pictures = play(source)
    assert [bytes(picture.data) for picture in pictures] == frames
    assert [picture.epoch_us for picture in pictures] == [START_US + n * 40_000 for n in range(5)]
    assert round(pictures[-1].monotonic_s - pictures[0].monotonic_s, 6) == 0.16
    assert (source.describe().kind, source.describe().fps) == ("images", 25)


def test_names_without_times_are_a_thirtieth_apart(tmp_path: Path) -> None:
    images(tmp_path, 4, "p{n:03d}.jpg")
    with ImageFolder(tmp_path) as folder:
        assert [round(picture.media_s, 6) for picture in folder] == [0, 0.033333, 0.066667, 0.1]


def test_stamps_that_are_no_epoch_are_relative(tmp_path: Path) -> None:
    for n, frame in enumerate(jpegs(3)):
        (tmp_path / f"frame{n * 20_000:013d}.jpg").write_bytes(frame)
    with ImageFolder(tmp_path) as folder:
        assert [(picture.media_s, picture.epoch_us) for picture in folder] == [(0, None), (0.02, None), (0.04, None)]


def test_other_formats_are_decoded_and_broken_images_counted(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 6, 3), 7, np.uint8))
    (tmp_path / "b.png").write_bytes(b"no png")
    (tmp_path / "c.jpg").write_bytes(jpegs(1)[0][:-4])
    cv2.imwrite(str(tmp_path / "d.bmp"), np.full((4, 6, 3), 9, np.uint8))
    folder = ImageFolder(tmp_path)
    assert [(picture.format, bytes(picture.data)[0]) for picture in folder] == [("bgr", 7), ("bgr", 9)]
    assert folder.malformed == 2


def test_a_folder_without_images_is_told(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="no image that can be read"):
        VideoSource(tmp_path).open()


def test_a_folder_may_loop(tmp_path: Path) -> None:
    images(tmp_path, 2)
    source = VideoSource(tmp_path, realtime=False, loop=True)
    source.open()
    pictures = [source.read() for _ in range(5)]
    source.close()
    stamps = [picture.epoch_us for picture in pictures if picture]
    assert stamps == sorted(set(stamps))


# --- times


def test_times_of_a_video_come_from_a_file(tmp_path: Path) -> None:
    video = motion_jpeg(tmp_path / "clip.avi", jpegs(3))
    times = tmp_path / "times.txt"
    times.write_text("1700000000000\n1700000000050.5\n1700000000090\n")
    pictures = play(fast(video, times=times))
    assert [picture.epoch_us for picture in pictures] == [START_US, START_US + 50_500, START_US + 90_000]
    assert round(pictures[1].monotonic_s - pictures[0].monotonic_s, 6) == 0.0505


def test_times_that_count_from_the_start_are_relative(tmp_path: Path) -> None:
    video = motion_jpeg(tmp_path / "clip.avi", jpegs(2))
    times = tmp_path / "times.txt"
    times.write_text("100 300")
    first, second = play(fast(video, times=times))
    assert second.epoch_us - first.epoch_us == 200_000
    assert first.epoch_us > START_US


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no times"),
        ("1\nx", "line 2 .* no number of milliseconds: 'x'"),
        ("1\nnan", "line 2"),
        ("5\n5", "line 2 .* not above"),
        ("5\n1e30", "line 2 .* beyond the year"),
    ],
)
def test_a_wrong_file_of_times_is_told(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "times.txt").write_text(text)
    with pytest.raises(DeviceError, match=words):
        FrameTimes(tmp_path / "times.txt")


def test_a_video_that_is_longer_than_its_times_is_told(tmp_path: Path) -> None:
    video = motion_jpeg(tmp_path / "clip.avi", jpegs(3))
    (tmp_path / "times.txt").write_text("1\n2")
    with pytest.raises(DeviceError, match="2 lines, and the video has more"):
        play(fast(video, times=tmp_path / "times.txt"))
