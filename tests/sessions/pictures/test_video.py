from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.errors import DeviceError
from labwire.sessions.file_names import FileNames
from labwire.sessions.pictures.mp4_format import scan_fragments
from labwire.sessions.pictures.video import PictureVideos
from labwire.sessions.pictures.video_file import VideoFile
from labwire.sessions.pictures.video_repair import is_finished, repair_video
from labwire.sessions.sink import ClockChange
from tests.sessions.making import START, jpeg, picture_parts, session_in, wait_for
from tests.sessions.strict_player import load_video


@pytest.fixture
def videos(tmp_path: Path) -> Iterator[PictureVideos]:
    videos = make_videos()
    videos.prepare(session_in(tmp_path))
    videos.start()
    yield videos
    videos.stop()


def make_videos(queue_bytes: int = 1 << 26) -> PictureVideos:
    return PictureVideos(FileNames(), prefixes=(b"frame.",), queue_bytes=queue_bytes)


def take(
    videos: PictureVideos, number: int, topic: str = "frame.world", at_s: float | None = None, **keys: object
) -> bool:
    elapsed = number / 30 if at_s is None else at_s
    data = keys.pop("data", jpeg(number))
    assert isinstance(data, bytes)
    parts = picture_parts(topic, 1000.0 + elapsed, data, **keys)
    return videos.take(parts, 100.0 + elapsed) is not None


def test_camera_pictures_stand_in_the_video_as_they_came(videos: PictureVideos, tmp_path: Path) -> None:
    assert all(take(videos, number) for number in range(40))
    counters = videos.stop()
    assert (counters.received, counters.written, counters.dropped, counters.malformed) == (40, 40, 0, 0)
    with av.open(str(tmp_path / "world.mp4")) as container:
        stream = container.streams.video[0]
        packets = [bytes(packet) for packet in container.demux(stream) if packet.size]
        assert (stream.codec_context.name, stream.width, stream.height) == ("mjpeg", 64, 48)
    assert packets == [jpeg(number) for number in range(40)]
    pts, timestamps = load_video(tmp_path, "world")
    assert timestamps == [1000.0 + number / 30 for number in range(40)]
    assert pts == [round((stamp - 1000.0) * 65535) for stamp in timestamps]


def test_a_picture_is_found_by_its_time(videos: PictureVideos, tmp_path: Path) -> None:
    for number in range(60):
        take(videos, number)
    videos.stop()
    with av.open(str(tmp_path / "world.mp4")) as container:
        stream = container.streams.video[0]
        for number in (42, 3, 59, 0):
            wanted = round((1000.0 + number / 30 - 1000.0) * 65535)
            container.seek(wanted, stream=stream)
            assert next(container.decode(stream)).pts == wanted


def test_each_topic_has_its_video(videos: PictureVideos, tmp_path: Path) -> None:
    for number in range(6):
        for topic in ("frame.world", "frame.eye.0", "frame.eye.1", "frame.left"):
            assert take(videos, number, topic)
    videos.stop()
    for name in ("world", "eye0", "eye1", "left"):
        assert len(load_video(tmp_path, name)[0]) == 6
    described = videos.describe()
    assert set(described.files) == {one.name for one in tmp_path.iterdir()}


def test_the_video_can_be_opened_while_it_is_written(tmp_path: Path) -> None:
    file = VideoFile(tmp_path, "world", width=64, height=48)
    for number in range(5):
        file.add(jpeg(number), pts=number * 100 + 7, timestamp=number / 3)
        pts, timestamps = load_video(tmp_path, "world")
        assert len(pts) == len(timestamps) == number + 1
    file.close()


def test_pictures_of_another_size_begin_a_further_piece(videos: PictureVideos, tmp_path: Path) -> None:
    for number, width in enumerate([64, 64, 32, 32, 32, 64]):
        assert take(videos, number, data=jpeg(number, width))
    videos.stop()
    assert [len(load_video(tmp_path, name)[0]) for name in ("world", "world_002", "world_003")] == [2, 3, 1]
    stamps = [stamp for name in ("world", "world_002", "world_003") for stamp in load_video(tmp_path, name)[1]]
    assert stamps == sorted(stamps)


def test_a_size_that_changes_all_the_time_is_refused_in_the_end(videos: PictureVideos, tmp_path: Path) -> None:
    taken = [take(videos, number, data=jpeg(number, 32 + number % 2)) for number in range(60)]
    counters = videos.stop()
    assert 10 < sum(taken) < 45
    assert counters.written == sum(taken)
    assert counters.dropped == 60 - sum(taken)
    assert "size changed" in videos.reasons["dropped"]
    assert len(list(tmp_path.glob("*.mp4"))) < 20


def test_raw_pictures_are_encoded(videos: PictureVideos, tmp_path: Path) -> None:
    for number in range(3):
        assert take(videos, number, "frame.eye.0", data=bytes([number]) * 64 * 48, format="gray")
        assert take(videos, number, "frame.world", data=bytes([number]) * 64 * 48 * 3, format="bgr")
    take(videos, 3, "frame.world")  # a camera that changes to JPEG goes on in the same file
    videos.stop()
    assert len(load_video(tmp_path, "eye0")[0]) == 3
    assert len(load_video(tmp_path, "world")[0]) == 4


def test_without_an_encoder_raw_pictures_are_refused_and_jpegs_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    videos = make_videos()
    videos.prepare(session_in(tmp_path))
    videos.start()
    assert not take(videos, 0, data=bytes(64 * 48), format="gray")
    assert take(videos, 1)
    assert videos.stop().written == 1
    assert "labwire[record]" in videos.reasons["dropped"]


def test_broken_pictures_are_refused_and_counted(videos: PictureVideos, tmp_path: Path) -> None:
    assert take(videos, 0)
    assert not take(videos, 1, data=jpeg()[:100])
    assert not take(videos, 2, data=b"no picture")
    assert take(videos, 3)
    counters = videos.stop()
    assert (counters.received, counters.written, counters.malformed) == (4, 2, 2)
    assert len(load_video(tmp_path, "world")[0]) == 2


def test_a_full_queue_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    videos = make_videos(queue_bytes=1 << 20)
    videos.prepare(session_in(tmp_path))
    monkeypatch.setattr(videos, "_run", lambda: None)  # a disk that does not answer
    videos.start()
    big = jpeg(0, 64, 48)
    big = big[:2] + b"\xff\xfe\xff\xff" + bytes(65533) + big[2:]  # a comment of 64 kB
    taken = sum(take(videos, number, data=big) for number in range(30))
    assert taken == (1 << 20) // len(big)
    assert videos.counters().dropped == 30 - taken
    videos.stop()


def test_a_flood_of_topics_is_refused(videos: PictureVideos, tmp_path: Path) -> None:
    taken = sum(take(videos, 0, f"frame.{number}") for number in range(100))
    videos.stop()
    assert taken == 32
    assert len(list(tmp_path.glob("*.mp4"))) == 32


def test_a_jump_of_rig_time_leaves_the_axis_alone(videos: PictureVideos, tmp_path: Path) -> None:
    for number in range(5):
        take(videos, number)
    videos.change_clock(ClockChange(900.0, -95.0, 100.2))
    for number in range(5, 10):
        moment = number / 30
        parts = picture_parts("frame.world", 5.0 + moment, jpeg(number))
        assert videos.take(parts, 100.0 + moment)
    videos.stop()
    pts, timestamps = load_video(tmp_path, "world")
    assert timestamps[5:] == [5.0 + number / 30 for number in range(5, 10)]
    assert [abs(one - round(number / 30 * 65535)) <= 1 for number, one in enumerate(pts)] == [True] * 10


def test_a_failing_disk_ends_the_videos_and_says_so(
    videos: PictureVideos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **keys: object) -> int:
        raise OSError(28, "No space left on device")

    assert take(videos, 0)
    wait_for(lambda: videos.counters().written == 1)
    monkeypatch.setattr("labwire.sessions.pictures.video_file.append_whole", fail)
    assert take(videos, 1)
    wait_for(lambda: videos.failure is not None)
    assert not take(videos, 2)
    with pytest.raises(DeviceError, match="repair"):
        videos.stop()
    monkeypatch.undo()
    assert repair_video(tmp_path / "world.mp4", 1000.0)
    assert len(load_video(tmp_path, "world")[0]) == 1


COUNT = 12


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("video")
    file = VideoFile(folder, "world", width=64, height=48)
    for number in range(COUNT):
        file.add(jpeg(number), pts=number * 2000 + 5, timestamp=START.start_rig_time_s + number * 2000 / 65535)
    file.close()
    assert is_finished(folder / "world.mp4")
    return folder


@given(data=st.data())
def test_a_video_cut_anywhere_opens_after_repair(
    finished: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    video, stamps = (finished / "world.mp4").read_bytes(), (finished / "world_timestamps.npy").read_bytes()
    cut = data.draw(st.integers(0, len(video)))
    stamps_cut = data.draw(st.integers(0, len(stamps)))
    folder = tmp_path_factory.mktemp("cut")
    path = folder / "world.mp4"
    path.write_bytes(video[:cut])
    (folder / "world_timestamps.npy").write_bytes(stamps[:stamps_cut])
    whole = sum(fragment_end <= cut for fragment_end in fragment_ends(finished))

    repaired = repair_video(path, START.start_rig_time_s)

    assert repaired is not None
    assert repaired.count == whole
    if whole:
        pts, timestamps = load_video(folder, "world")
        assert pts == [number * 2000 + 5 for number in range(whole)]
        assert len(timestamps) == whole
        expected = [START.start_rig_time_s + number * 2000 / 65535 for number in range(whole)]
        assert timestamps == pytest.approx(expected, abs=1e-3)
        known = max(0, stamps_cut - 128) // 8
        assert timestamps[:known] == expected[: min(known, whole)]
        assert is_finished(path)
        again = repair_video(path, 0.0)
        assert again is not None
        assert (again.torn_bytes, again.wrote_index, again.wrote_timestamps) == (0, False, False)
    else:
        assert list(folder.iterdir()) == []


def fragment_ends(folder: Path) -> list[int]:
    fd = os.open(folder / "world.mp4", os.O_RDONLY)
    scan = scan_fragments(fd)
    os.close(fd)
    return [*[fragment.offset for fragment in scan.fragments[1:]], scan.end]


def test_a_video_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "holiday.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        container.mux(stream.encode(av.VideoFrame(64, 48, "yuvj420p")))
        container.mux(stream.encode(None))
    content = path.read_bytes()
    assert repair_video(path, 0.0) is None
    assert is_finished(path)
    assert path.read_bytes() == content
