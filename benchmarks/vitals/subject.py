"""A person made of one photograph: where the face, its skin and the chest are, and a body that moves.

Any photograph of one face will do. Two are known by name: ``hopper``, the public-domain portrait of Grace Hopper (US
Navy) that matplotlib carries, and ``astronaut``, the public-domain portrait of Eileen Collins (NASA) that scikit-image
carries, if that is installed.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, NamedTuple, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from labwire.picture import picture_of
from labwire.vitals.face import Face, FaceWatch
from labwire.vitals.frame import frame_of

WIDTH, HEIGHT = 640, 480
_PHOTOS = {
    "hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    "astronaut": ("skimage", "data/astronaut.png"),
}

Floats = NDArray[np.float32]


class NoPhotoError(Exception):
    """There is no such photograph, or no face in it."""


class Subject(NamedTuple):
    """A photograph in the size of a camera's picture, and what is where in it."""

    photo: Floats
    """(height, width, 3), blue, green, red, 0 to 255."""
    face: Face
    skin: Floats
    """(height, width), 0 to 1: how much of the pulse shows."""
    head: Floats
    """(height, width), 0 to 1: how much a pixel moves with the head."""
    chest: Floats
    """(height, width), 0 to 1: how much a pixel moves with breathing."""


def photo_path(name: str) -> Path:
    """Return the path of a photograph that is known by name, or of a file.

    Raises:
        NoPhotoError: It is not there.
    """
    if name not in _PHOTOS:
        path = Path(name)
    else:
        package, inside = _PHOTOS[name]
        found = importlib.util.find_spec(package)
        folders = list(found.submodule_search_locations or []) if found else []
        path = Path(folders[0], inside) if folders else Path(f"<{package} is not installed>")
    if not path.is_file():
        raise NoPhotoError(f"no photograph at {path}")
    return path


def subject_of(name: str) -> Subject:
    """Make a person of a photograph.

    Raises:
        NoPhotoError: There is none, or not exactly one face is found in it.
    """
    photo = _placed(photo_path(name))
    watch = FaceWatch()
    watch.look(frame_of(picture_of(photo, index=0, monotonic_s=0.0, epoch_us=0)), 0.0)
    if watch.face is None or watch.count != 1:
        raise NoPhotoError(f"{name}: {watch.count} faces found, a subject has one")
    face = watch.face
    return Subject(photo.astype(np.float32), face, _skin(photo, face), *_body(face))


def _placed(path: Path) -> NDArray[np.uint8]:
    photo = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if photo is None:
        raise NoPhotoError(f"{path} is no picture")
    scale = min(HEIGHT / photo.shape[0], WIDTH / photo.shape[1])
    photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    over_x, over_y = WIDTH - photo.shape[1], HEIGHT - photo.shape[0]
    # The body reaches to the lower edge, as in front of a camera.
    placed = cv2.copyMakeBorder(photo, over_y, 0, over_x // 2, over_x - over_x // 2, cv2.BORDER_REPLICATE)
    return cast("NDArray[np.uint8]", placed)


def _skin(photo: NDArray[np.uint8], face: Face) -> Floats:
    _, red, blue = cv2.split(cv2.cvtColor(photo, cv2.COLOR_BGR2YCrCb))
    coloured = ((red > 133) & (red < 180) & (blue > 77) & (blue < 130)).astype(np.float32)
    x, y = _grid(face)
    oval = ((x / 0.62) ** 2 + ((y + 0.05) / 0.8) ** 2 < 1).astype(np.float32)
    return cast("Floats", cv2.GaussianBlur(coloured * oval, (0, 0), 1.5))


def _body(face: Face) -> tuple[Floats, Floats]:
    x, y = _grid(face)
    away = np.hypot(x, y / 1.1)
    head = np.clip((1.05 - away) / 0.35, 0, 1)
    chest = np.clip((y - 0.7) / 0.3, 0, 1) * np.exp(-((x / 1.25) ** 8))
    return _smooth(head), _smooth(chest)


def _grid(face: Face) -> tuple[Floats, Floats]:
    """Return x and y of every pixel from the face's centre, in sizes of the face."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    return (x - face.centre_x) / face.size, (y - face.centre_y) / face.size


def _smooth(share: NDArray[Any]) -> Floats:
    weight = share.astype(np.float32)
    return weight * weight * (3 - 2 * weight)
