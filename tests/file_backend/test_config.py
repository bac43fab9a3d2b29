"""The nine options of the spec, with their defaults, and what a rig adds."""

from __future__ import annotations

import msgspec
import pytest

from labwire.file_backend.config import FileIpcConfig, FileIpcOptions

# file-ipc, "Configuration File".
SPEC = """{
"base_directory": "./file_ipc_output",
"create_if_missing": true,
"truncate_on_init": true,
"max_frame_count": 0,
"use_file_locking": true,
"frame_extension": "jpg",
"compress_frames": true,
"io_buffer_size": 8192,
"enable_debug_logging": false
}"""


def test_options_and_defaults_are_the_specs() -> None:
    assert msgspec.to_builtins(FileIpcOptions()) == msgspec.json.decode(SPEC)
    assert list(msgspec.to_builtins(FileIpcOptions())) == list(msgspec.json.decode(SPEC))
    assert msgspec.json.decode(SPEC, type=FileIpcOptions) == FileIpcOptions()


def test_rig_adds_the_camera() -> None:
    config = msgspec.toml.decode('camera = "world"\nmax_frame_count = 100', type=FileIpcConfig)
    assert config == FileIpcConfig(camera="world", max_frame_count=100)


@pytest.mark.parametrize(
    "text",
    [
        "",
        'camera = "world"\nmax_frame_count = -1',
        'camera = "world"\nio_buffer_size = 0',
        'camera = "world"\nframe_extension = "../jpg"',
        'camera = "world"\nframe_extension = "gif"',
        'camera = "world"\nframes = 3',
    ],
)
def test_wrong_options_are_refused(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.toml.decode(text, type=FileIpcConfig)
