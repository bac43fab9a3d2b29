"""The demo's own clip: a slow pan and zoom over a real photograph, made once and kept.

The photograph is the public-domain portrait of Grace Hopper (US Navy) that matplotlib ships as sample data. The clip is
Motion JPEG, 640 x 480, 20 s at 30 pictures per second; its end runs into its beginning.
"""

from __future__ import annotations

import importlib.util
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from labwire.errors import DeviceError, MissingExtraError, needs_extra
from labwire.picture import encode_jpeg
from labwire.sources.video_file import VideoFile

if TYPE_CHECKING:
    from labwire.picture import Pixels

WIDTH, HEIGHT = 640, 480
FPS = 30
SECONDS = 20
COUNT = FPS * SECONDS

_QUALITY = 85  # about 60 kB a picture, as a camera sends
_NAME = "demo-world-1.mp4"  # the number rises when the clip changes
_UNFINISHED = ".demo-world-"
_LEFTOVER_S = 3600
_PHOTO = Path("mpl-data", "sample_data", "grace_hopper.jpg")
_TURN = 2 * math.pi


class View(NamedTuple):
    """The part of the photograph that is shown, in pixels of the photograph."""

    centre_x: float
    centre_y: float
    width: float


def view_at(phase: float) -> View:
    """Return what is shown at a phase from 0 to 1; both ends show the same.

    The photograph is 512 x 600, the face in it about 239 x 239 around (264, 218). The view is never wider than the
    photograph and never leaves the face.
    """
    width = 470 + 30 * math.cos(_TURN * phase)
    centre_x = 256 + 0.45 * (512 - width) * math.sin(_TURN * phase)
    return View(centre_x, 214 + 22 * math.sin(2 * _TURN * phase), width)


def demo_clip(on_progress: Callable[[float], None] | None = None, folder: Path | None = None) -> Path:
    """Return the path of the demo's clip; make it first if it is not there or not whole, in a few seconds.

    Args:
        on_progress: Called with how much of the clip is made, 0 to 1; not called if it is there.
        folder: Where it is kept. Default: `cache_folder`.

    Raises:
        MissingExtraError: What it is made with or of is not installed.
        DeviceError: It cannot be written.
    """
    path = (folder or cache_folder()) / _NAME
    if not is_whole(path):
        _make(path, on_progress or (lambda _: None))
    return path


def is_whole(path: Path) -> bool:
    """Tell whether the clip is there with all its pictures."""
    try:
        with VideoFile(path) as file:
            return sum(picture.format == "jpeg" for picture in file) == COUNT and not file.malformed
    except DeviceError:
        return False


def cache_folder() -> Path:
    """Return a folder for what can be made again, created if need be.

    The first of these that can be written to: ``$XDG_CACHE_HOME/labwire``, ``~/.cache/labwire``, and a folder of the
    user's own in the temporary folder.

    Raises:
        DeviceError: None of them can be written to.
    """
    for folder in _cache_folders():
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            continue
        # In /tmp somebody else may have made a folder of that name before us.
        if os.access(folder, os.W_OK | os.X_OK) and folder.stat().st_uid == os.getuid():
            return folder
    raise DeviceError(
        "there is no folder to keep the demo's clip in; set XDG_CACHE_HOME to a folder that can be written to"
    )


def _cache_folders() -> Iterator[Path]:
    given = os.environ.get("XDG_CACHE_HOME", "")
    if Path(given).is_absolute():  # the XDG base directory specification has relative ones ignored
        yield Path(given, "labwire")
    yield Path(os.path.expanduser("~"), ".cache", "labwire")  # noqa: PTH111  Path.home() raises where there is none
    yield Path(tempfile.gettempdir(), f"labwire-{os.getuid()}")


def _photo() -> Pixels:
    found = importlib.util.find_spec("matplotlib")  # finds it without importing it, which would take a second
    folder = next(iter(found.submodule_search_locations or []), None) if found else None
    if folder is None or not Path(folder, _PHOTO).is_file():
        raise MissingExtraError(
            "the demo's clip is made of a photograph that comes with matplotlib, which is not installed: "
            "pip install 'labwire[demo]', or play your own: labwire run --video FILE",
            extra="demo",
        )
    with needs_extra("demo"):
        import cv2
    return cast("Pixels", cv2.imread(str(Path(folder, _PHOTO)), cv2.IMREAD_COLOR))


def _pictures() -> Iterator[bytes]:
    photo = _photo()
    with needs_extra("demo"):
        import cv2
        import numpy as np
    for n in range(COUNT):
        view = view_at(n / COUNT)
        scale = view.width / WIDTH
        # From a pixel of the clip to the place in the photograph.
        back = np.array(
            [
                [scale, 0, view.centre_x - scale * (WIDTH - 1) / 2],
                [0, scale, view.centre_y - scale * (HEIGHT - 1) / 2],
            ]
        )
        shown = cv2.warpAffine(
            photo,
            back,
            (WIDTH, HEIGHT),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        yield encode_jpeg(cast("Pixels", shown), _QUALITY)


def _make(path: Path, on_progress: Callable[[float], None]) -> None:
    with needs_extra("demo"):
        from av.error import FFmpegError
    unfinished: Path | None = None
    try:
        _remove_leftovers(path.parent)
        path.parent.mkdir(parents=True, exist_ok=True)
        fd, name = tempfile.mkstemp(".mp4", _UNFINISHED, path.parent)
        os.close(fd)
        unfinished = Path(name)
        _write(unfinished, on_progress)
        unfinished.replace(path)
    except (OSError, FFmpegError) as error:
        raise DeviceError(
            f"the demo's clip cannot be written to {path.parent} ({error}); "
            "set XDG_CACHE_HOME to a folder with 50 MB free",
            path=str(path),
        ) from error
    finally:
        if unfinished is not None:
            unfinished.unlink(missing_ok=True)


def _write(path: Path, on_progress: Callable[[float], None]) -> None:
    import av

    with av.open(str(path), "w", format="mp4") as opened:
        container = cast("Any", opened)  # its types leave some arguments unknown
        stream = container.add_stream("mjpeg", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        for n, picture in enumerate(_pictures()):
            packet = av.Packet(picture)
            packet.stream = stream
            packet.pts = packet.dts = n
            packet.duration = 1
            packet.time_base = Fraction(1, FPS)
            container.mux(packet)
            if n % FPS == 0:
                on_progress(n / COUNT)
    on_progress(1.0)


def _remove_leftovers(folder: Path) -> None:
    # Of a labwire that was killed while it made the clip; another one may be making it right now.
    for leftover in folder.glob(f"{_UNFINISHED}*"):
        if time.time() - leftover.stat().st_mtime > _LEFTOVER_S:
            leftover.unlink(missing_ok=True)
