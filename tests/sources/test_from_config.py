"""A table of the rig file becomes the source that it asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from labwire.sources import demo_clip as demo
from labwire.sources.camera import CameraSource
from labwire.sources.config import CameraConfig
from labwire.sources.from_config import picture_feed_of, picture_source_of
from labwire.sources.video import VideoSource
from tests.sources.clips import jpegs, motion_jpeg


def test_each_table_gives_its_kind_of_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(picture_source_of(CameraConfig(camera=0)), CameraSource)
    assert isinstance(picture_source_of(CameraConfig(video="clip.mp4")), VideoSource)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(demo, "COUNT", 3)
    told: list[float] = []
    source = picture_source_of(CameraConfig(demo=True), on_progress=told.append)
    assert source.describe().name.startswith(str(tmp_path))
    assert told[-1] == 1.0


def test_options_reach_source_and_feed(tmp_path: Path) -> None:
    path = motion_jpeg(tmp_path / "clip.avi", jpegs(3))
    config = CameraConfig(video=str(path), loop=False, realtime=False, format="gray", queue_depth=9)
    with picture_feed_of(config, picture_source_of(config)) as feed:
        assert [(picture.index, picture.format) for picture in feed] == [(0, "gray"), (1, "gray"), (2, "gray")]
