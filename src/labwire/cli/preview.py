"""``labwire preview``: the newest image of a detector as a picture."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from labwire.cli.connection import JsonFlag
from labwire.cli.failures import without_rig
from labwire.cli.output import write_json, write_line
from labwire.errors import DeviceError, UsageError
from labwire.images.rendering import Scale

if TYPE_CHECKING:
    from labwire.images.preview_reader import PreviewReader
    from labwire.wire.image_message import ImageMessage, StartMessage

_START_S = 2.5  # START comes again every 2 s


def preview(
    address: str,
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    follow: Annotated[bool, Parameter(negative="")] = False,
    scale: Scale = "log",
    max_side: Annotated[int, Parameter(validator=Number(gte=16))] = 2048,
    timeout: Annotated[float, Parameter(validator=Number(gt=0))] = 10.0,
    json: JsonFlag = False,
) -> None:
    """Write the newest image of a preview stream as a PNG picture.

    White is nothing, black much; red pixels cannot be trusted. The contrast is chosen for each image.

    Args:
        address: Where the preview is published: tcp://HOST:PORT.
        output: The PNG file; it is replaced as a whole.
        follow: Go on with each image that comes, until Ctrl-C.
        scale: How counts become gray.
        max_side: Longest side of the picture, pixels; of a larger image each block shows its brightest pixel.
        timeout: How many seconds to wait for an image.
        json: Print a line of JSON for each picture.
    """
    if output.suffix.lower() != ".png":
        raise UsageError(f"-o is a PNG file, such as image.png, not {str(output)!r}")
    from labwire.images.preview_reader import PreviewReader

    with without_rig("--timeout SECONDS waits longer"), PreviewReader(address) as reader:
        _draw(reader, output, scale, max_side, timeout, as_json=json, first=True)
        while follow:
            _draw(reader, output, scale, max_side, None, as_json=json, first=False)


def _draw(
    reader: PreviewReader,
    output: Path,
    scale: Scale,
    max_side: int,
    timeout_s: float | None,
    *,
    as_json: bool,
    first: bool,
) -> None:
    from labwire.images.rendering import encode_png

    shown = reader.read(timeout_s if timeout_s is not None else float(10**6))
    start = shown.start
    if first and start is None:  # whoever joins late misses START, and with it the mask
        start = reader.read_start(min(_START_S, timeout_s or _START_S))
    picture, numbers = picture_of_image(shown.image, start, scale, max_side)
    replace_file(output, encode_png(picture))
    told = {"file": str(output), "run_number": shown.image.series_id, "image_number": shown.image.image_id, **numbers}
    if as_json:
        write_json(told)
    else:
        low, high, bad = numbers["lowest"], numbers["highest"], numbers["bad_pixels"]
        size = f"{picture.shape[1]}x{picture.shape[0]}"
        where = f"run {shown.image.series_id}, image {shown.image.image_id}"
        write_line(f"{output}: {where}, {size}, counts {low} to {high}, {bad} bad pixels")


def picture_of_image(
    image: ImageMessage, start: StartMessage | None, scale: Scale, max_side: int
) -> tuple[Any, dict[str, Any]]:
    """Return the picture of an image's first channel, and what is to be told of it.

    Raises:
        UsageError: It has no pixels.
    """
    from labwire.images.compression import decompress
    from labwire.images.rendering import bad_pixels, render, shrink

    if not image.data:
        raise UsageError("these messages have no pixels: is this the address of a metadata stream?")
    channel, array = next(iter(image.data.items()))
    pixels, mask = decompress(array), None
    if start is not None and start.pixel_mask:
        mask = decompress(start.pixel_mask.get(channel) or next(iter(start.pixel_mask.values())))
    bad = bad_pixels(pixels, mask=mask, error_value=start.error_value if start else None)
    good = pixels[~bad]
    numbers = {
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "dtype": str(pixels.dtype),
        "lowest": good.min().item() if good.size else None,
        "highest": good.max().item() if good.size else None,
        "mean": float(good.mean()) if good.size else None,
        "bad_pixels": int(bad.sum()),
    }
    return render(*shrink(pixels, bad, max_side), scale), numbers


def replace_file(path: Path, data: bytes) -> None:
    """Replace a file as a whole: whoever looks at it sees the old one or the new one.

    Raises:
        DeviceError: It cannot be written.
    """
    try:
        fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
                os.fchmod(file.fileno(), 0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise DeviceError(f"cannot write {path}: {error.strerror}", path=str(path)) from error
