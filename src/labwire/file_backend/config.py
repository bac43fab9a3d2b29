"""The options of the file backend.

Source: file-ipc, "Configuration Options": the nine options, their names and their defaults.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from labwire.strict import Strict

FrameExtension: TypeAlias = Literal["jpg", "jpeg", "png", "bmp"]


class FileIpcOptions(Strict, kw_only=True):
    """The nine options that the spec's own configuration file has."""

    base_directory: str = "./file_ipc_output"
    """Root directory for all output files; a relative one starts at the folder of the rig file, if there is one."""
    create_if_missing: bool = True
    """Create the base directory if it does not exist."""
    truncate_on_init: bool = True
    """Clear the backend's own files on startup. Other files in the directory are never touched."""
    max_frame_count: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Most numbered frames that are kept, the oldest go first; 0 = unlimited."""
    use_file_locking: bool = True
    """Lock a file while a line is written. A second writer is kept out of the directory either way."""
    frame_extension: FrameExtension = "jpg"
    """Extension and format of frames; png and bmp are lossless."""
    compress_frames: bool = True
    """False: JPEG frames are written with quality 100. Without meaning for png and bmp."""
    io_buffer_size: Annotated[int, msgspec.Meta(ge=1, le=1 << 30)] = 8192
    """Most bytes of lines that are written at once, in bytes; a longer line is still written in one piece."""
    enable_debug_logging: bool = False
    """Log each line and each frame."""

    def __post_init__(self) -> None:
        if not self.base_directory.strip() or "\0" in self.base_directory:
            raise ValueError("base_directory must name a folder")


class FileIpcConfig(FileIpcOptions, kw_only=True):
    """The table ``[file_ipc]`` of a rig: the nine options, and the camera."""

    camera: str
    """Name of the camera whose pictures are written."""
    metrics: bool = True
    """Measure vital signs in them, and write these too; `[cameras.NAME.vitals]` says which. False: frames and status
    only."""
