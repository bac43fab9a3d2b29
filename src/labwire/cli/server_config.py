"""What ``physiology_server`` is to do, from its flags and its configuration file."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec

from labwire.cli.server_flags import FILE_IPC, FLAGS, HINT, PROGRAM, Value, value_of
from labwire.cli.server_source import is_video
from labwire.errors import ConfigError, UsageError
from labwire.file_backend.config import FileIpcOptions
from labwire.strict import find_mistakes

DEFAULT_FILE = "default_file_ipc_config.json"
_MOST_BYTES = 1 << 20
_ONLY_CAMERA = ("camera_device_index", "capture_width_px", "capture_height_px", "codec", "auto_lock")
_ONLY_VIDEO = ("input_video_time_path", "realtime")


def file_ipc_options(given: dict[str, Value]) -> FileIpcOptions:
    """Return the options of the file backend: flags beat the configuration file, which beats the defaults.

    Raises:
        ConfigError: The configuration file is wrong.
        UsageError: The value of a flag is out of range.
    """
    path = value_of(given, "filesystem_ipc_config_path")
    table = _read(Path(path).expanduser()) if path else {}
    if wrong := _mistakes(table, ""):
        raise ConfigError(f"{path}: {wrong}", file=str(path))
    flags = {name.removeprefix(FILE_IPC): value for name, value in given.items() if name.startswith(FILE_IPC)}
    if wrong := _mistakes(flags, f"--{FILE_IPC}"):
        raise UsageError(wrong, hint=HINT)
    return msgspec.convert(table | flags, FileIpcOptions)


def save_default_config(folder: Path, ask: Callable[[str], bool]) -> str:
    """Write the configuration file with all options; return what to tell about it.

    Args:
        folder: Where to write it.
        ask: Asks whether a file that differs is to be replaced.

    Raises:
        UsageError: There is a file that differs, and it is to stay.
    """
    path = folder / DEFAULT_FILE
    content = msgspec.json.format(msgspec.json.encode(FileIpcOptions()), indent=2) + b"\n"
    if path.exists():
        if path.read_bytes() == content:
            return f"{path} is there already"
        if not ask(f"{path} differs from the defaults. Replace it?"):
            raise UsageError(
                f"{path} differs from the defaults, and stays as it is",
                hint="remove it, or write the defaults in another folder",
            )
    path.write_bytes(content)
    return f"written: {path}"


def ask_at_terminal(question: str) -> bool:
    """Ask a person; where nobody can answer, the answer is no."""
    if not sys.stdin.isatty():
        return False
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().casefold() in {"y", "yes"}


def check_backend(given: dict[str, Value]) -> None:
    """Refuse what this program does not do.

    Raises:
        UsageError: No backend is named, or the camera is switched off.
    """
    if value_of(given, "streaming_backend") is None:
        raise UsageError("--streaming_backend=file is missing: it says where to write", hint=HINT)
    if not value_of(given, "use_camera"):
        raise UsageError("--use_camera=false leaves nothing to measure: this program has no other input")


def check_folder(given: dict[str, Value], options: FileIpcOptions) -> None:
    """Refuse to write into the folder that the pictures are read from: what is in there would be cleared.

    Raises:
        UsageError: It is the same folder.
    """
    video = value_of(given, "input_video_path")
    source, target = Path(video or "").expanduser(), Path(options.base_directory).expanduser()
    if video and target.is_dir() and source.is_dir() and target.samefile(source):
        raise UsageError(
            f"{video} is read from, and cannot be written to at the same time",
            hint=f"--{FILE_IPC}base_directory names another folder",
        )


def remarks(given: dict[str, Value]) -> list[str]:
    """Return a line for each flag that is implied, or changes nothing here."""
    lines = [f"--{name} has no effect: {why}" for name in given if (why := _idle(name, given))]
    if "use_camera" not in given and not value_of(given, "input_video_path"):
        lines.insert(0, "--use_camera is implied")
    return lines


def _idle(name: str, given: dict[str, Value]) -> str:
    if name in _ONLY_CAMERA and value_of(given, "input_video_path"):
        return "it asks a camera of this computer, and --input_video_path is given"
    if name in _ONLY_VIDEO and not is_video(given):
        return "it is for a video, and --input_video_path names none"
    return FLAGS[name].ignored


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"the configuration file {path} cannot be read: {error.strerror}; "
            f"`{PROGRAM} --save_default_file_ipc_config` writes one",
            file=str(path),
        ) from error
    if len(data) > _MOST_BYTES:
        raise ConfigError(f"{path} is no configuration file: it is larger than {_MOST_BYTES} bytes", file=str(path))
    try:
        table: Any = msgspec.json.decode(data.removeprefix(codecs.BOM_UTF8))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {error}", file=str(path)) from error
    if not isinstance(table, dict):
        raise ConfigError(f"{path} must hold one JSON object with the options of the file backend", file=str(path))
    return cast("dict[str, Any]", table)


def _mistakes(table: dict[str, Any], prefix: str) -> str:
    found = find_mistakes(table, FileIpcOptions)
    # What is wrong with the whole has no path: its text begins with the option.
    told = (f"{' '.join(('.'.join(map(str, path)), text)).strip()}{_hint(hint)}" for path, text, hint in found)
    return "; ".join(prefix + one for one in told)


def _hint(hint: str) -> str:
    return f" ({hint})" if hint else ""
