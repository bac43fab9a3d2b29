"""The flags of ``physiology_server``: one table, and a parser in the manner of the program that the spec describes.

Source: file-ipc, "Command Line Usage" and "Command Line Overrides". ``--flag=value``, ``--flag value``, ``--flag`` and
``--noflag`` for those that are true or false; one dash does as well as two. The last of several counts.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, get_args, get_origin

import msgspec

from labwire.errors import UsageError
from labwire.file_backend.config import FileIpcOptions
from labwire.strict import help_of

PROGRAM = "physiology_server"
FILE_IPC = "file_ipc_"
HINT = f"`{PROGRAM} --help` shows all flags"

Kind: TypeAlias = Literal["bool", "int", "float", "text"]
Value: TypeAlias = bool | int | float | str

_TRUE, _FALSE = {"true", "t", "1", "yes", "y"}, {"false", "f", "0", "no", "n"}
_KINDS: dict[type, Kind] = {bool: "bool", int: "int", float: "float", str: "text"}
_SHOWN = {"bool": "true or false", "int": "a whole number", "float": "a number", "text": "text"}


class Flag(NamedTuple):
    """One flag."""

    name: str
    kind: Kind
    help: str
    default: Value | None = None
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    ignored: str = ""
    """Why it changes nothing here: the program that the spec describes has it, this one has no use for it."""


_NO_GRPC = "this program has no gRPC port"
_NOT_MEASURED = "it is not measured here"

_OWN = (
    Flag("streaming_backend", "text", "Where to write: file.", choices=("file",)),
    Flag("use_camera", "bool", "Take pictures from a camera or video; implied.", default=True),
    Flag("filesystem_ipc_config_path", "text", "JSON file with the nine options of the file backend."),
    Flag("save_default_file_ipc_config", "bool", "Write default_file_ipc_config.json here, and end.", default=False),
    Flag("also_log_to_stderr", "bool", "Log to standard error as well as to the log file.", default=False),
    Flag("camera_device_index", "int", "0 is /dev/video0.", default=0, least=0),
    Flag(
        "input_video_path", "text", "A video file, a folder of images, rtsp://... or http://... in place of a camera."
    ),
    Flag("input_video_time_path", "text", "File with one time in milliseconds for each picture of the video."),
    Flag("capture_width_px", "int", "Width asked of a camera.", default=1280, least=1),
    Flag("capture_height_px", "int", "Height asked of a camera.", default=720, least=1),
    Flag("codec", "text", "What a camera is asked to send.", default="MJPG", choices=("MJPG", "UYVY", "YUYV")),
    Flag("auto_lock", "bool", "Lock a camera's exposure once it has settled.", default=True),
    Flag("buffer_duration", "float", "Seconds between two core metrics.", default=0.2, least=0.05, most=10),
    Flag("enable_edge_metrics", "bool", "Write edge metrics.", default=True),
    Flag("realtime", "bool", "Play a video at its own pace; else as fast as it can be processed.", default=False),
    Flag("headless", "bool", "Show no live line.", default=False),
    Flag("verbosity", "int", "1 and more: log what debugging needs.", default=0, least=0),
    Flag("help", "bool", "Show this.", default=False),
    Flag("version", "bool", "Tell the version.", default=False),
    Flag("port", "int", "", ignored=_NO_GRPC),
    Flag("venv_directory", "text", "", ignored="it runs in the Python that it was installed into"),
    Flag("enable_phasic_bp", "bool", "", ignored=_NOT_MEASURED),
    Flag("enable_micromotion", "bool", "", ignored=_NOT_MEASURED),
    Flag("enable_dense_facemesh_points", "bool", "", ignored=_NOT_MEASURED),
    Flag("interframe_delay", "int", "", ignored="a video goes as fast as it can, or at its own pace with --realtime"),
    Flag("start_with_recording_on", "bool", "", ignored="it always records"),
)


def _of_option(field: msgspec.structs.FieldInfo) -> Flag:
    bare = field.type if not hasattr(field.type, "__metadata__") else get_args(field.type)[0]
    choices = tuple(str(choice) for choice in get_args(bare)) if get_origin(bare) is Literal else ()
    kind: Kind = "text" if choices else _KINDS[bare]
    return Flag(FILE_IPC + field.name, kind, help_of(FileIpcOptions)[field.name], field.default, choices)


FLAGS: dict[str, Flag] = {
    flag.name: flag for flag in (*_OWN, *(_of_option(field) for field in msgspec.structs.fields(FileIpcOptions)))
}
"""All flags by name."""


def parse_flags(arguments: Sequence[str]) -> dict[str, Value]:
    """Return what was given, by name; what was not given is not in it.

    Raises:
        UsageError: An unknown flag, a value that a flag does not take, or something that is no flag.
    """
    given: dict[str, Value] = {}
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("-") or not argument.strip("-"):
            raise UsageError(f"{argument!r} is no flag: write --flag=value", hint=HINT)
        name, equals, text = argument.removeprefix("-").removeprefix("-").partition("=")
        flag, negated = _find(name)
        if negated:
            if equals:
                raise UsageError(f"--{name} takes no value: write --{flag.name}=false", hint=HINT)
            given[flag.name] = False
        elif equals:
            given[flag.name] = _value(flag, text)
        elif flag.kind == "bool":
            given[flag.name] = True
        elif (following := next(rest, None)) is not None:
            given[flag.name] = _value(flag, following)
        else:
            example = flag.choices[0] if len(flag.choices) == 1 else "..."
            raise UsageError(f"--{flag.name} needs {_wanted(flag)}: write --{flag.name}={example}", hint=HINT)
    return given


def value_of(given: dict[str, Value], name: str) -> Any:
    """Return what was given for a flag, or its default."""
    return given.get(name, FLAGS[name].default)


def help_text() -> str:
    """Return the help: every flag with its default."""
    lines = [
        f"{PROGRAM} --streaming_backend=file [--flag=value ...]",
        "",
        "Measures pulse and breathing of a person in front of a camera; writes JSON Lines and JPEG frames.",
        "This is no medical device.",
        "",
        *_lines(flag for flag in FLAGS.values() if not flag.ignored),
        "",
        "Known, and without effect here:",
        *(f"  --{flag.name}: {flag.ignored}" for flag in FLAGS.values() if flag.ignored),
    ]
    return "\n".join(lines)


def _lines(flags: Iterator[Flag]) -> Iterator[str]:
    for flag in flags:
        default = "" if flag.default is None else f" [{_shown(flag.default)}]"
        values = f" One of {', '.join(flag.choices)}." if len(flag.choices) > 1 else ""
        yield f"  --{flag.name}: {flag.help}{values}{default}"


def _shown(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _find(name: str) -> tuple[Flag, bool]:
    plain = name.replace("-", "_")
    if plain != name and plain in FLAGS:
        raise UsageError(f"there is no flag --{name}: write --{plain}", hint=HINT)
    if name in FLAGS:
        return FLAGS[name], False
    positive = FLAGS.get(name.removeprefix("no"))
    if name.startswith("no") and positive is not None and positive.kind == "bool":
        return positive, True
    raise UsageError(f"there is no flag --{name}{_nearest(plain)}", hint=HINT)


def _nearest(name: str) -> str:
    # What stands behind file_ipc_ is looked for too: base_directory is how the file calls it.
    candidates = {flag: flag for flag in FLAGS} | {flag.removeprefix(FILE_IPC): flag for flag in FLAGS}
    close = difflib.get_close_matches(name.casefold(), candidates, n=1, cutoff=0.6)
    return f"; did you mean --{candidates[close[0]]}?" if close else ""


def _wanted(flag: Flag) -> str:
    if len(flag.choices) == 1:
        return flag.choices[0]
    return f"one of {', '.join(flag.choices)}" if flag.choices else _SHOWN[flag.kind]


def _value(flag: Flag, text: str) -> Value:
    try:
        value = _converted(flag, text)
    except ValueError:
        raise UsageError(f"--{flag.name} takes {_wanted(flag)}, not {text!r}", hint=HINT) from None
    if flag.least is not None and not isinstance(value, str) and not value >= flag.least:
        raise UsageError(f"--{flag.name} is at least {flag.least:g}, not {text}", hint=HINT)
    if flag.most is not None and not isinstance(value, str) and value > flag.most:
        raise UsageError(f"--{flag.name} is at most {flag.most:g}, not {text}", hint=HINT)
    return value


def _converted(flag: Flag, text: str) -> Value:
    match flag.kind:
        case "int":
            return int(text)
        case "float":
            return float(text)
        case "bool":
            if text.casefold() not in _TRUE | _FALSE:
                raise ValueError(text)
            return text.casefold() in _TRUE
        case "text":
            if flag.choices and text not in flag.choices:
                raise ValueError(text)
            return text
