"""The flags of physiology_server: the spec's to the letter, and what is said of wrong ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from labwire.cli.server_config import (
    DEFAULT_FILE,
    check_backend,
    file_ipc_options,
    remarks,
    save_default_config,
)
from labwire.cli.server_flags import FLAGS, help_text, parse_flags, value_of
from labwire.errors import ConfigError, UsageError
from labwire.file_backend.config import FileIpcOptions
from tests.file_backend.test_config import SPEC


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        # file-ipc, "Command Line Usage", "Command Line Overrides", "Use Cases"
        (
            "--streaming_backend=file --use_camera --filesystem_ipc_config_path=/path/config.json --also_log_to_stderr",
            {
                "streaming_backend": "file",
                "use_camera": True,
                "filesystem_ipc_config_path": "/path/config.json",
                "also_log_to_stderr": True,
            },
        ),
        ("--save_default_file_ipc_config", {"save_default_file_ipc_config": True}),
        (
            "--file_ipc_base_directory=/custom/path --file_ipc_compress_frames=true --file_ipc_max_frame_count=1000",
            {
                "file_ipc_base_directory": "/custom/path",
                "file_ipc_compress_frames": True,
                "file_ipc_max_frame_count": 1000,
            },
        ),
        ("--file_ipc_enable_debug_logging=true", {"file_ipc_enable_debug_logging": True}),
        # each way in which such programs take a flag
        ("-use_camera", {"use_camera": True}),
        ("--nouse_camera", {"use_camera": False}),
        ("--use_camera=false --use_camera=1", {"use_camera": True}),
        ("--camera_device_index 2", {"camera_device_index": 2}),
        ("--file_ipc_base_directory --odd", {"file_ipc_base_directory": "--odd"}),
        ("--file_ipc_truncate_on_init=FALSE", {"file_ipc_truncate_on_init": False}),
        ("--buffer_duration=0.5 --codec=UYVY", {"buffer_duration": 0.5, "codec": "UYVY"}),
        ("--nofile_ipc_use_file_locking", {"file_ipc_use_file_locking": False}),
    ],
)
def test_flags_are_taken(arguments: str, given: dict[str, Any]) -> None:
    assert parse_flags(arguments.split()) == given


def test_each_of_the_nine_options_has_a_flag() -> None:
    for name, value in json.loads(SPEC).items():
        assert FLAGS[f"file_ipc_{name}"].default == value


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("--use-camera", "write --use_camera"),
        ("--usecamera", "did you mean --use_camera?"),
        ("--base_directory=x", "did you mean --file_ipc_base_directory?"),
        ("--max_frame_count=3", "did you mean --file_ipc_max_frame_count?"),
        ("--file_ipc_truncate=true", "did you mean --file_ipc_truncate_on_init?"),
        ("--config=x", "no flag --config"),
        ("--file_ipc_max_frame_count=many", "takes a whole number, not 'many'"),
        ("--file_ipc_compress_frames=maybe", "takes true or false, not 'maybe'"),
        ("--file_ipc_frame_extension=gif", "takes one of jpg, jpeg, png, bmp, not 'gif'"),
        ("--streaming_backend=redis", "takes file, not 'redis'"),
        ("--nouse_camera=true", "write --use_camera=false"),
        ("--streaming_backend", "needs file: write --streaming_backend=file"),
        ("--camera_device_index", "needs a whole number"),
        ("--camera_device_index=-1", "at least 0"),
        ("--buffer_duration=nan", "at least 0.05"),
        ("--buffer_duration=1e400", "at most 10"),
        ("movie.mp4", "is no flag"),
        ("--", "is no flag"),
    ],
)
def test_wrong_flags_name_themselves_and_what_is_right(argument: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_flags([argument])
    assert told in str(caught.value)


def test_the_help_names_every_flag() -> None:
    text = help_text()
    assert [name for name in FLAGS if f"--{name}:" not in text] == []
    assert "no medical device" in text


def test_what_is_implied_or_changes_nothing_is_told() -> None:
    assert remarks({}) == ["--use_camera is implied"]
    assert remarks({"input_video_path": "movie.mp4"}) == []
    [line] = remarks({"use_camera": True, "realtime": True})
    assert line.startswith("--realtime has no effect: it is for a video")
    [line] = remarks({"input_video_path": "rtsp://camera/", "input_video_time_path": "times.txt"})
    assert line.startswith("--input_video_time_path has no effect: it is for a video")
    [line] = remarks({"input_video_path": "movie.mp4", "realtime": True, "capture_width_px": 640})
    assert line.startswith("--capture_width_px has no effect: it asks a camera")
    [line] = remarks({"use_camera": True, "enable_phasic_bp": True})
    assert line.startswith("--enable_phasic_bp has no effect")


def test_the_backend_must_be_named_and_the_camera_not_switched_off() -> None:
    check_backend({"streaming_backend": "file"})
    with pytest.raises(UsageError, match="--streaming_backend=file is missing"):
        check_backend({})
    with pytest.raises(UsageError, match="nothing to measure"):
        check_backend({"streaming_backend": "file", "use_camera": False})


# --- the configuration file


def test_the_default_configuration_is_the_specs(tmp_path: Path) -> None:
    told = save_default_config(tmp_path, lambda _: pytest.fail("asked"))
    assert DEFAULT_FILE == "default_file_ipc_config.json"
    assert str(tmp_path / DEFAULT_FILE) in told
    written = (tmp_path / DEFAULT_FILE).read_text()
    assert list(json.loads(written).items()) == list(json.loads(SPEC).items())
    assert [line.strip() for line in written.splitlines()] == [line.strip() for line in SPEC.splitlines()]
    assert "already" in save_default_config(tmp_path, lambda _: pytest.fail("asked"))


def test_a_configuration_that_differs_is_replaced_only_if_somebody_says_so(tmp_path: Path) -> None:
    path = tmp_path / DEFAULT_FILE
    path.write_text("{}")
    with pytest.raises(UsageError, match="stays as it is"):
        save_default_config(tmp_path, lambda _: False)
    assert path.read_text() == "{}"
    save_default_config(tmp_path, lambda _: True)
    assert msgspec.json.decode(path.read_bytes()) == json.loads(SPEC)


def test_flags_beat_the_file_which_beats_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"max_frame_count": 5, "frame_extension": "png"}')
    options = file_ipc_options({"filesystem_ipc_config_path": str(path), "file_ipc_max_frame_count": 7})
    assert options == FileIpcOptions(max_frame_count=7, frame_extension="png")
    assert file_ipc_options({}) == FileIpcOptions()
    assert value_of({}, "camera_device_index") == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "cannot be read: No such file.*--save_default_file_ipc_config"),
        ("{", "is not JSON"),
        ("[]", "one JSON object"),
        ("[" * 100_000, "is not JSON"),
        (" " * 2_000_000, "larger than 1048576 bytes"),
        ('{"base_directory": ""}', "base_directory must name a folder"),
        ('{"base_directory": "a\\u0000b"}', "base_directory must name a folder"),
        ('{"max_frames": 3}', r"max_frames unknown key \(did you mean max_frame_count\?\)"),
        (
            '{"max_frame_count": -1, "compress_frames": "yes"}',
            "max_frame_count.*; compress_frames must be true or false",
        ),
    ],
)
def test_a_wrong_configuration_file_is_told(tmp_path: Path, text: str | None, told: str) -> None:
    path = tmp_path / "config.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=told):
        file_ipc_options({"filesystem_ipc_config_path": str(path)})


def test_a_configuration_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"max_frame_count": 5}', "utf-8-sig")
    assert file_ipc_options({"filesystem_ipc_config_path": str(path)}).max_frame_count == 5


def test_a_value_out_of_range_is_told() -> None:
    with pytest.raises(UsageError, match=r"^--file_ipc_io_buffer_size must be a whole number >= 1, not 0$"):
        file_ipc_options({"file_ipc_io_buffer_size": 0})
    with pytest.raises(UsageError, match=r"^--file_ipc_base_directory must name a folder$"):
        file_ipc_options({"file_ipc_base_directory": ""})
