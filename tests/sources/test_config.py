"""The tables [cameras.NAME] and [sources.NAME]: what they take, and what they say when they do not."""

from __future__ import annotations

import msgspec
import pytest

from labwire.sources.config import CameraConfig, SimulatedEyesConfig, SourceConfig


def camera(text: str) -> CameraConfig:
    return msgspec.toml.decode(text, type=CameraConfig)


def test_each_kind_of_camera_is_understood() -> None:
    assert camera('video = "clip.mp4"\nloop = false').loop is False
    assert camera("camera = 0\nwidth_px = 1280\nheight_px = 720\nfps = 30").width_px == 1280
    assert camera('camera = 0\ncodec = "UYVY"\nlock_exposure = true').codec == "UYVY"
    assert camera('url = "rtsp://192.168.1.20/live"').url
    assert camera('video = "clip.mp4"\nvideo_times = "times.txt"').video_times == "times.txt"
    assert camera("demo = true").format == "jpeg"


def test_pictures_are_dropped_oldest_first_by_default() -> None:
    assert camera("demo = true").queue_policy == "drop_old"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "this one has none"),
        ("demo = false", "this one has none"),
        ('video = "a"\ncamera = 0', "this one has video and camera"),
        ('video = "a"\ndemo = true', "this one has video and demo"),
        ('url = "ftp://a"', "url begins with"),
        ('url = "http://a"\ncamera = 0', "this one has camera and url"),
        ('url = "http://a"\ncodec = "MJPG"', "codec can only be asked of a camera"),
        ('demo = true\nvideo_times = "t"', "video_times goes with video"),
        ("demo = true\nfps = 10", "fps can only be asked of a camera"),
        ("camera = -1", "camera"),
        ("camera = 0\nwidth_px = 0", "width_px"),
        ("camera = 0\nwidth_px = 640", "go together"),
        ("demo = true\njpeg_quality = 0", "jpeg_quality"),
        ('demo = true\nformat = "yuv"', "yuv"),
        ('demo = true\nqueue_policy = "lose"', "lose"),
        ("demo = true\nqueue_depth = 0", "queue_depth"),
        ("demo = true\nspeed = 2", "speed"),
    ],
)
def test_wrong_camera_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=says):
        camera(text)


def test_simulated_eyes_are_known_by_their_kind() -> None:
    config = msgspec.toml.decode('[eyes]\nkind = "simulated_eyes"\neyes = [1]', type=dict[str, SourceConfig])
    assert config == {"eyes": SimulatedEyesConfig(eyes=(1,))}
    assert SimulatedEyesConfig().rate_hz == 120


@pytest.mark.parametrize("text", ["eyes = []", "eyes = [2]", "eyes = [0, 0]", "rate_hz = 0", 'kind = "eyes"'])
def test_wrong_eyes_are_refused(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.toml.decode(text, type=SimulatedEyesConfig)
