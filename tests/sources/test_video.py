"""A video file plays at its own pace and for ever; what is in it is passed on as it is."""

from __future__ import annotations

import threading
from itertools import pairwise
from pathlib import Path

import pytest

from labwire.clock import monotonic_s
from labwire.errors import DeviceError, StateError
from labwire.picture import Picture, picture_pixels
from labwire.sources.video import VideoSource
from labwire.sources.video_file import VideoFile
from tests.sources.clips import FPS, encoded, jpegs, motion_jpeg, sound


def take(source: VideoSource, count: int) -> list[Picture]:
    taken: list[Picture] = []
    for _ in range(count):
        picture = source.read()
        assert picture is not None
        taken.append(picture)
    return taken


@pytest.mark.parametrize("extension", ["avi", "mp4", "mkv", "mov"])
def test_motion_jpeg_is_passed_on_byte_for_byte(tmp_path: Path, extension: str) -> None:
    source = VideoSource(motion_jpeg(tmp_path / f"clip.{extension}", jpegs(5)), realtime=False, loop=False)
    source.open()
    assert [picture.data for picture in take(source, 5)] == jpegs(5)
    assert source.read() is None
    assert source.describe().as_it_came
    source.close()


def test_other_codecs_are_decoded_in_order(tmp_path: Path) -> None:
    source = VideoSource(encoded(tmp_path / "clip.mp4", "libx264", 12), realtime=False, loop=False)
    source.open()
    pictures = take(source, 12)
    assert {picture.format for picture in pictures} == {"bgr"}
    levels = [float(picture_pixels(picture).mean()) for picture in pictures]
    assert all(abs(level - 8 * n) < 4 for n, level in enumerate(levels))
    assert source.read() is None
    description = source.describe()
    assert (description.codec, description.width, description.height) == ("h264", 64, 48)
    assert description.fps == pytest.approx(FPS)
    source.close()


@pytest.mark.parametrize("codec", ["mjpeg", "libx264"])
def test_index_and_timestamps_rise_evenly_over_loops(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "clip.mp4"
    path = motion_jpeg(path, jpegs(6)) if codec == "mjpeg" else encoded(path, codec, 6)
    source = VideoSource(path, realtime=False)
    source.open()
    pictures = take(source, 20)
    assert [picture.index for picture in pictures] == list(range(20))
    steps = [later.monotonic_s - earlier.monotonic_s for earlier, later in pairwise(pictures)]
    assert steps == pytest.approx([1 / FPS] * 19)
    epochs = [later.epoch_us - earlier.epoch_us for earlier, later in pairwise(pictures)]
    assert epochs == pytest.approx([1e6 / FPS] * 19, abs=2)
    source.close()


def test_uneven_timestamps_of_the_file_are_kept(tmp_path: Path) -> None:
    source = VideoSource(motion_jpeg(tmp_path / "clip.mkv", jpegs(4), pts=[3, 4, 9, 10]), realtime=False, loop=False)
    source.open()
    pictures = take(source, 4)
    at = [(picture.monotonic_s - pictures[0].monotonic_s) * FPS for picture in pictures]
    assert at == pytest.approx([0, 1, 6, 7], abs=0.05)  # mkv counts in milliseconds
    source.close()


def test_file_without_timestamps_plays_at_its_rate(tmp_path: Path) -> None:
    path = tmp_path / "clip.mjpeg"
    path.write_bytes(b"".join(jpegs(4)))
    with VideoFile(path) as file:
        assert [picture.media_s for picture in file] == pytest.approx([0, 1 / 25, 2 / 25, 3 / 25])


def test_realtime_picture_is_never_early(tmp_path: Path) -> None:
    source = VideoSource(motion_jpeg(tmp_path / "clip.avi", jpegs(4)))
    source.open()
    for _ in range(6):
        picture = source.read()
        assert picture is not None
        assert monotonic_s() >= picture.monotonic_s
    source.close()


def test_reader_that_was_away_gets_no_pictures_of_the_past(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away_s = 0.0
    monkeypatch.setattr("labwire.sources.video.monotonic_s", lambda: monotonic_s() + away_s)
    source = VideoSource(motion_jpeg(tmp_path / "clip.avi", jpegs(4)))
    source.open()
    before = take(source, 1)[0]
    away_s = 10.0
    after = take(source, 1)[0]
    assert after.monotonic_s - before.monotonic_s >= 10
    assert after.index == before.index + 1
    source.close()


def test_one_picture_is_a_video(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(jpegs(1)[0])
    source = VideoSource(path, realtime=False)
    source.open()
    assert {picture.data for picture in take(source, 5)} == set(jpegs(1))
    source.close()


def test_close_wakes_a_reader(tmp_path: Path) -> None:
    source = VideoSource(motion_jpeg(tmp_path / "clip.mkv", jpegs(2), pts=[0, 100_000]))  # nearly an hour apart
    source.open()
    take(source, 1)
    read: list[Picture | None] = []
    reader = threading.Thread(target=lambda: read.append(source.read()))
    reader.start()
    source.close()
    reader.join(10)
    assert read == [None]
    assert source.read() is None


def test_opened_again_it_goes_on_counting(tmp_path: Path) -> None:
    source = VideoSource(motion_jpeg(tmp_path / "clip.avi", jpegs(4)))
    source.open()
    source.open()
    before = take(source, 3)
    source.close()
    source.close()
    source.open()
    after = take(source, 2)
    assert [picture.index for picture in after] == [3, 4]
    assert after[0].data == jpegs(1)[0]
    assert after[0].monotonic_s > before[-1].monotonic_s
    source.close()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("gone.mp4", None, "there is no file .*gone.mp4"),
        ("notes.txt", b"dear diary\n" * 50, "notes.txt holds no video"),
        ("random.mp4", bytes(range(256)) * 20, "random.mp4 cannot be read as a video"),
        ("empty.mp4", b"", "empty.mp4 cannot be read as a video"),
    ],
)
def test_file_that_is_no_video_is_told(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DeviceError, match=says):
        VideoSource(tmp_path / name).open()


def test_sound_without_pictures_is_told(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="holds no video"):
        VideoSource(sound(tmp_path / "sound.mka")).open()


def test_video_without_a_readable_picture_is_told(tmp_path: Path) -> None:
    path = motion_jpeg(tmp_path / "clip.avi", [jpegs(1)[0][:100]] * 3)
    with pytest.raises(DeviceError, match=r"no picture that can be read \(\d+ are broken\)"):
        VideoSource(path).open()


def test_broken_pictures_are_counted_and_left_out(tmp_path: Path) -> None:
    frames = jpegs(6)
    frames[2], frames[4] = frames[2][:100], b"\xff\xd8 nothing"
    source = VideoSource(motion_jpeg(tmp_path / "clip.avi", frames), realtime=False, loop=False)
    source.open()
    assert [picture.data for picture in take(source, 4)] == [frames[n] for n in (0, 1, 3, 5)]
    assert source.read() is None
    assert source.malformed == 2
    source.close()
    assert source.malformed == 2


@pytest.mark.parametrize("keep", [0.5, 0.9])
def test_file_that_is_cut_off_plays_as_far_as_it_goes(tmp_path: Path, keep: float) -> None:
    path = motion_jpeg(tmp_path / "clip.avi", jpegs(20))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    source = VideoSource(path, realtime=False)
    source.open()
    pictures = take(source, 40)
    assert [picture.index for picture in pictures] == list(range(40))
    assert {picture.data for picture in pictures} < set(jpegs(20))
    source.close()


def test_file_that_vanishes_fails_at_its_next_loop(tmp_path: Path) -> None:
    source = VideoSource(motion_jpeg(tmp_path / "clip.avi", jpegs(3)), realtime=False)
    source.open()
    (tmp_path / "clip.avi").unlink()
    take(source, 3)
    with pytest.raises(DeviceError, match="there is no file"):
        source.read()
    source.close()


def test_reading_before_opening_is_a_state_error(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="call open"):
        VideoSource(tmp_path / "clip.avi").read()
