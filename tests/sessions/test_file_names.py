from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from labwire.sessions.file_names import DATA_NAMES, FileNames, safe_file_name
from labwire.sessions.pictures.video_stream import video_name

FRAME = (b"frame.",)


@given(st.text())
def test_any_text_becomes_a_name_that_every_file_system_takes(text: str) -> None:
    name = safe_file_name(text)
    assert 0 < len(name) <= 65
    assert name.isascii()
    assert all(char.isalnum() or char in "_-" for char in name)
    assert name.upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT1"}


def test_no_two_files_share_a_name() -> None:
    names = FileNames()
    assert [names.claim(text) for text in ("a", "A", "a/b", "a_b", "a")] == ["a", "A_2", "a_b", "a_b_2", "a_3"]
    assert names.claim("world", reserved={"world"}) == "world_2"


def test_videos_have_the_names_that_the_player_knows() -> None:
    names = FileNames()
    topics = (b"frame.world", b"frame.eye.0", b"frame.eye.1", b"frame.eye.7", b"frame.left cam")
    assert [video_name(topic, FRAME, names) for topic in topics] == ["world", "eye0", "eye1", "eye7", "left_cam"]


def test_no_other_video_looks_like_a_piece_of_one_of_them() -> None:
    # The Player joins every world*.mp4 to one video.
    names = FileNames()
    prefixes = (b"hmd_streaming.", b"frame.")
    topics = (b"frame.world", b"frame.worldcam", b"hmd_streaming.world", b"frame.eye0b", b"frame.eye.0", b"frame.eye0")
    given = [video_name(topic, prefixes, names) for topic in topics]
    assert given == ["world", "video_worldcam", "video_world", "video_eye0b", "eye0", "video_eye0"]


def test_a_camera_called_like_data_does_not_take_its_timestamps() -> None:
    names = FileNames()
    assert names.claim("gaze") == "gaze"
    assert video_name(b"frame.gaze", FRAME, names) == "gaze_2"
    assert "pupil" in DATA_NAMES
    assert video_name(b"frame.pupil", FRAME, FileNames()) == "pupil_2"
