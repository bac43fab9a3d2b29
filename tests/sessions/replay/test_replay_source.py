"""What a replay gives is what was recorded: byte for byte, in order, on its times."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from labwire.errors import NotFoundError, ProtocolError
from labwire.sessions.player.player_format import encode_info
from labwire.sessions.player.pldata import encode_record_head, encode_topic
from labwire.sessions.replay.replay_source import open_source
from labwire.sessions.replay.replayed_frames import ReplayedFrames
from tests.sessions.making import START, jpeg, picture_parts
from tests.sessions.recorded import STEP_S, record_session

Recorded = tuple[Path, list[tuple[bytes, ...]]]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return record_session(tmp_path_factory.mktemp("recordings"), jump_at=30)


@pytest.fixture
def foreign(recorded: Recorded, tmp_path: Path) -> Path:
    """The same as Pupil Player has it: without anything that only labwire knows."""
    return as_foreign(recorded[0], tmp_path / "foreign")


def as_foreign(session: Path, folder: Path) -> Path:
    shutil.copytree(session, folder, ignore=shutil.ignore_patterns("session.json", "bus.mcap"))
    return folder


def test_a_session_comes_back_byte_for_byte(recorded: Recorded) -> None:
    folder, sent = recorded
    source = open_source(folder)
    messages = list(source.messages(0.0))
    source.close()
    assert [message.parts for message in messages] == sent
    assert source.missing_pictures == 0
    times = [message.time_s for message in messages]
    assert times == sorted(times)
    assert times[-1] - times[0] == pytest.approx(59 * STEP_S, abs=1e-4)


def test_topics_are_chosen_and_left_out(recorded: Recorded) -> None:
    folder, sent = recorded
    source = open_source(folder, topics=["frame.", "scale"], exclude=["sc"])
    assert [message.parts for message in source.messages(0.0)] == [parts for parts in sent if parts[0][:5] == b"frame"]
    source.close()


def test_it_begins_anywhere_with_the_right_pictures(recorded: Recorded) -> None:
    folder, sent = recorded
    source = open_source(folder)
    whole = list(source.messages(0.0))
    for number in (0, 50, 100, 140):
        late = list(source.messages(whole[number].time_s - 1e-7))
        assert [message.parts for message in late] == sent[-len(late) :]
        assert len(late) >= len(sent) - number
    source.close()
    assert source.missing_pictures == 0


def test_rig_time_is_what_it_was_then(recorded: Recorded) -> None:
    source = open_source(recorded[0])
    stamps = [
        (message.time_s, msgpack.unpackb(message.parts[1])["timestamp"])
        for message in source.messages(0.0)
        if message.parts[0] == b"scale"
    ]
    source.close()
    off = [abs(source.rig_time_s(time_s + 1e-6) - stamp) for time_s, stamp in stamps if stamp != stamps[30][1]]
    assert max(off) < 1e-3


def test_a_picture_that_is_lost_is_counted_and_the_rest_comes(recorded: Recorded, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(recorded[0], tmp_path / "damaged"))
    video = (folder / "world.mp4").read_bytes()
    (folder / "world.mp4").write_bytes(video[: len(video) // 2])
    source = open_source(folder)
    messages = list(source.messages(0.0))
    source.close()
    assert len(messages) == len(recorded[1])
    assert 5 < source.missing_pictures < 15


def test_a_recording_of_another_program_comes_back(recorded: Recorded, foreign: Path) -> None:
    source = open_source(foreign, topics=["pupil.", "frame."])
    messages = [message.parts for message in source.messages(0.0)]
    data = [parts for parts in messages if parts[0] == b"pupil.0"]
    assert set(data) == {parts for parts in recorded[1] if parts[0] == b"pupil.0"}, "those behind the jump as well"
    pictures = [parts for parts in messages if parts[0] == b"frame.world"]
    assert {parts[2] for parts in pictures} == {jpeg(number) for number in range(0, 60, 3)}
    described = msgpack.unpackb(pictures[0][1])
    assert (described["width"], described["height"], described["format"]) == (64, 48, "jpeg")
    source.close()


def test_a_recording_of_another_program_begins_anywhere(tmp_path: Path) -> None:
    folder, _ = record_session(tmp_path / "recordings")
    source = open_source(as_foreign(folder, tmp_path / "foreign"), exclude=["annotation"])
    everything = list(source.messages(0.0))
    middle = everything[len(everything) // 2].time_s
    late = list(source.messages(middle))
    assert late == [message for message in everything if message.time_s >= middle]
    source.close()


def write_foreign(folder: Path, **data: list[tuple[str, bytes]]) -> Path:
    folder.mkdir()
    (folder / "info.player.json").write_bytes(encode_info(START, 2.0))
    for name, rows in data.items():
        content = b"".join(
            encode_topic(topic.encode()) + encode_record_head(len(payload)) + payload for topic, payload in rows
        )
        (folder / f"{name}.pldata").write_bytes(content)
    return folder


def test_maps_that_pupil_packs_by_themselves_are_put_in_their_places(tmp_path: Path) -> None:
    packed = msgpack.Packer().pack
    inner = packed({"timestamp": 1000.0, "id": 0})
    gaze = packed({"timestamp": 1000.5, "base_data": [msgpack.ExtType(13, inner)]})
    folder = write_foreign(tmp_path / "foreign", gaze=[("gaze.3d.0.", gaze)], pupil=[("pupil.0", inner)])
    source = open_source(folder)
    (pupil, eyes) = source.messages(0.0)
    source.close()
    assert pupil.parts == (b"pupil.0", inner)
    assert msgpack.unpackb(eyes.parts[1]) == {"timestamp": 1000.5, "base_data": [{"timestamp": 1000.0, "id": 0}]}
    assert eyes.time_s == 0.5


def test_a_video_that_is_no_motion_jpeg_is_decoded(tmp_path: Path) -> None:
    av: Any = pytest.importorskip("av")
    folder = write_foreign(tmp_path / "foreign")
    with av.open(str(folder / "world.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(6):
            pixels = np.full((48, 64, 3), number * 40, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="bgr24")))
        container.mux(stream.encode())
    np.save(folder / "world_timestamps.npy", 1000.0 + np.arange(6) / 30)
    source = open_source(folder)
    pictures = list(source.messages(0.0))
    assert len(pictures) == 6
    assert pictures[-1].time_s == pytest.approx(5 / 30)
    frames = ReplayedFrames()
    frames.format = "gray"
    shades = [np.frombuffer(frames.converted(one.parts)[2], np.uint8).mean() for one in pictures]
    assert shades == pytest.approx([0, 40, 80, 120, 160, 200], abs=8)
    assert len(list(source.messages(0.1))) == 3
    source.close()


def test_frames_are_converted_when_somebody_asks() -> None:
    frames = ReplayedFrames()
    parts = tuple(picture_parts("frame.world", 1.0, jpeg(3)))
    assert frames.converted(parts) is parts
    frames.format = "bgr"
    _, payload, raw = frames.converted(parts)
    assert msgpack.unpackb(payload)["format"] == "bgr"
    assert len(raw) == 64 * 48 * 3
    for odd in (tuple(picture_parts("frame.world", 1.0, b"no jpeg")), (b"frame.x", b"\xc1", b"")):
        assert frames.converted(odd) is odd
    already = tuple(picture_parts("frame.world", 1.0, bytes(64 * 48), format="gray"))
    assert frames.converted(already) is already


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        open_source(tmp_path)
    (tmp_path / "info.player.json").write_text('{"duration_s": 1.0}')
    with pytest.raises(ProtocolError):
        open_source(tmp_path)
