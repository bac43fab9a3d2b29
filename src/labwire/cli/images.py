"""``labwire images``: what is in a file of images, or in a stream."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import msgspec
from cyclopts import App, Parameter
from cyclopts.validators import Number

from labwire.cli.connection import JsonFlag
from labwire.cli.failures import without_rig
from labwire.cli.output import write_json, write_line
from labwire.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labwire.wire.image_message import ImageMessage, Message, StartMessage

app = App(name="images", help="Look at image files and streams; finish the files of killed writers.")
_CBOR = ".cbor"
_START_S = 2.5
_MANY = 8


@app.command
def info(
    what: str,
    /,
    *,
    timeout: Annotated[float, Parameter(validator=Number(gt=0))] = 10.0,
    json: JsonFlag = False,
) -> None:
    """Tell what is in a file of images, or in a preview stream.

    Args:
        what: An HDF5 or NeXus file, a message that was dumped (.cbor), or the address of a preview: tcp://HOST:PORT.
        timeout: How many seconds to wait for a stream's image.
        json: Print JSON instead of text.
    """
    if "://" in what:
        told = _of_stream(what, timeout)
    elif Path(what).suffix == _CBOR:
        told = _of_message(Path(what))
    else:
        told = _of_file(what)
    if json:
        write_json(told)
        return
    width = max(map(len, told))
    for key, value in told.items():
        write_line(f"{key.replace('_', ' '):{width}}  {_text(value)}")


@app.command
def repair(folder: Path, /, *, json: JsonFlag = False) -> int:
    """Finish the files that a writer which was killed left under way: with every image that it had acknowledged.

    It looks in all folders below as well. Files of a writer that is at work, and finished files, are not touched, so it
    does no harm to repair twice. The exit status is 1 if a file had to be left as it is, or an image is lost.

    Args:
        folder: Output folder of the writer, or one below it.
        json: Print JSON instead of text.
    """
    from labwire.images.repair import repair_folder

    files = repair_folder(folder, (lambda file: None) if json else (lambda file: write_line(file.text)))
    if json:
        write_json(files)
    elif not files:
        write_line(f"nothing to repair in {folder}")
    return 1 if any(file.outcome == "left" or file.lost for file in files) else 0


def _of_stream(address: str, timeout_s: float) -> dict[str, Any]:
    from labwire.images.preview_reader import PreviewReader

    with without_rig("--timeout SECONDS waits longer"), PreviewReader(address) as reader:
        shown = reader.read(timeout_s)
        start = shown.start or reader.read_start(min(_START_S, timeout_s))
        return {"address": reader.address, **({} if start is None else _of_start(start)), **_of_image(shown.image)}


def _of_message(path: Path) -> dict[str, Any]:
    from labwire.wire.image_codec import decode_message

    try:
        data = path.read_bytes()
    except OSError as error:
        raise DeviceError(f"cannot read {path}: {error.strerror}", path=str(path)) from error
    message = decode_message(data)
    return {"file": str(path), "bytes": len(data), **_of_any(message)}


def _of_any(message: Message) -> dict[str, Any]:
    from labwire.wire.image_message import ImageMessage, StartMessage

    match message:
        case StartMessage():
            return {"message": "start", **_of_start(message)}
        case ImageMessage():
            return {"message": "image", **_of_image(message)}
        case _:
            return {"message": str(message.__struct_config__.tag), **_fields_of(message)}


def _of_start(start: StartMessage) -> dict[str, Any]:
    return {"run_number": start.series_id, "run_name": start.series_unique_id, **_fields_of(start)}


def _of_image(image: ImageMessage) -> dict[str, Any]:
    told = {key: value for key, value in _fields_of(image).items() if key != "data"}
    for channel, array in image.data.items():
        packed = f", {array.compression} {len(array.data) / max(array.nbytes, 1):.1%}" if array.compression else ""
        told[f"data {channel}"] = f"{_shape(array.shape)} {array.dtype}{packed}"
    return told


def _fields_of(message: msgspec.Struct) -> dict[str, Any]:
    """Return what a message tells; of arrays only their size."""
    told: dict[str, Any] = {}
    for field in msgspec.structs.fields(message):
        value = getattr(message, field.name)
        if value is None or value in ({}, ()) or field.name in {"series_id", "series_unique_id"}:
            continue
        told[field.encode_name] = _plain(value)
    return told


def _plain(value: Any) -> Any:
    from labwire.wire.image_array import Array
    from labwire.wire.image_fields import Rational

    match value:
        case Array():
            return f"{_shape(value.shape)} {value.dtype}"
        case Rational():
            return value.seconds
        case dict():
            table = cast("dict[Any, Any]", value)
            return {str(key): _plain(item) for key, item in table.items()}
        case list() | tuple():
            entries = cast("Sequence[Any]", value)
            return f"{len(entries)} entries" if len(entries) > _MANY else [_plain(item) for item in entries]
        case msgspec.Struct():
            return {
                key: _plain(item)
                for key, item in msgspec.structs.asdict(value).items()
                if item is not None and item != {}
            }
        case _:
            return value


def _of_file(path: str) -> dict[str, Any]:
    from contextlib import closing

    from labwire.sources.detector_config import ReplayConfig
    from labwire.sources.replay import ReplayedDetector

    with closing(ReplayedDetector(ReplayConfig(file=path, loop=False), gaps=True)) as source:
        count, stored = source.image_count or 0, source.stored_count
        start = source.start_message(run_number=0, run_name="", number_of_images=count)
        first = source.read(0).pixels
        missing = {} if stored is None or stored == count else {"images_that_are_there": stored}
        told: dict[str, Any] = {
            "file": path,
            "images": count,
            **missing,
            "size": _shape(first.shape),
            "dtype": first.dtype,
        }
        if first.compression:
            told["compression"] = f"{first.compression}, the first image to {len(first.data) / first.nbytes:.1%}"
    left_out = {"number_of_images", "image_size_x", "image_size_y", "channels", "image_dtype", "user_data"}
    return {**told, **{key: value for key, value in _fields_of(start).items() if key not in left_out}}


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, reversed(shape)))


def _text(value: Any) -> str:
    match value:
        case float():
            return f"{value:.6g}"
        case dict() | list():
            return msgspec.json.encode(value).decode()
        case _:
            return str(value)
