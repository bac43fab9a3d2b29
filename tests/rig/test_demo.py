"""The demo rig."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from labwire.errors import ConfigError
from labwire.instruments.driver import api_of, load_driver, make_driver
from labwire.rig import demo
from labwire.rig.demo import DEMO_TOML, demo_config
from labwire.rig.rig_file import parse_rig
from labwire.sources.config import SimulatedEyesConfig


def test_it_has_a_camera_eyes_files_and_a_recorder() -> None:
    config = demo_config()
    assert config.cameras["world"].demo
    eyes = config.sources["eyes"]
    assert isinstance(eyes, SimulatedEyesConfig)
    assert eyes.rate_hz == 120
    assert config.file_ipc
    assert config.file_ipc.camera == "world"
    assert config.file_ipc.max_frame_count > 0, "a demo must not fill the disk"
    assert config.recorder
    assert Path(config.recorder.root).is_absolute()


def test_its_instruments_can_be_made() -> None:
    for name, config in demo_config().instruments.items():
        driver = make_driver(load_driver(config.driver), config.options, name)
        assert api_of(driver).verbs, name


def test_its_visa_instruments_answer() -> None:
    pytest.importorskip("pyvisa_sim", reason="the demo's instruments are not tested: pip install labwire[demo]")
    for name, verb, params in (
        ("DMM1", "measure_voltage", {"range": 10.0, "samples": 3}),
        ("SCOPE2", "read_waveform", {"channel": 1}),
    ):
        config = demo_config().instruments[name]
        driver = make_driver(load_driver(config.driver), config.options, name)
        driver.open()
        try:
            assert getattr(driver, verb)(**params) is not None
        finally:
            driver.close()


def test_where_instruments_cannot_run_it_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    try:
        assert not importlib.reload(demo).demo_config().instruments
    finally:
        monkeypatch.undo()
        importlib.reload(demo)


def test_it_is_a_rig_file_like_any_other() -> None:
    assert parse_rig(DEMO_TOML) == demo_config()


def test_a_file_or_a_camera_takes_the_place_of_the_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.mp4").touch()
    world = demo_config(video="own.mp4").cameras["world"]
    assert (world.video, world.camera, world.demo) == (str(tmp_path / "own.mp4"), None, False)
    world = demo_config(camera=2).cameras["world"]
    assert (world.video, world.camera, world.demo) == (None, 2, False)


def test_the_command_line_has_the_last_word() -> None:
    assert demo_config(overrides={"remote.port": 0, "name": "other"}).remote.port == 0


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.mp4"):
        demo_config(video="nowhere.mp4")
