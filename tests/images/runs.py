"""Messages of runs for the tests: small images whose pixels tell their number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from labwire.images.compression import Compression, compress
from labwire.wire.cbor_values import Buffer, Date
from labwire.wire.image_codec import encode_message
from labwire.wire.image_fields import GoniometerAxis, Rational, Spot
from labwire.wire.image_message import EndMessage, ImageMessage, StartMessage
from labwire.wire.image_user_data import UserData, encode_user_data, start_for_socket

assert hdf5plugin.PLUGIN_PATH  # so that what was written can be read

WIDTH, HEIGHT = 50, 40
BAD_PIXEL = (3, 4)


def pixels_of(number: int, dtype: str = "<u2", shape: tuple[int, int] = (HEIGHT, WIDTH)) -> NDArray[Any]:
    """Pixels that no other image has."""
    return np.random.default_rng(number).poisson(5, shape).astype(dtype)


def stored_images(folder: Path, per_file: int) -> set[int]:
    """Check each image of all data files that have their names against what was sent; return their numbers."""
    found: set[int] = set()
    for path in folder.rglob("*_data_*.h5"):
        first = per_file * (int(path.stem[-6:]) - 1)
        with h5py.File(path) as file:
            pixels: Any = file["entry/data/data"]
            stored: Any = file["entry/detector/image_stored"]
            for place in np.flatnonzero(stored[()]):
                assert (pixels[place] == pixels_of(first + int(place))).all(), (path, place)
                found.add(first + int(place))
    return found


def start_message(count: int, images_per_file: int | None = None, *, run: int = 7, **more: Any) -> StartMessage:
    user: dict[str, Any] = {
        "file_prefix": "lyso/lyso_1",
        "images_per_file": images_per_file,
        "instrument_name": "X06SA",
        "source_name": "Swiss Light Source",
        "sample_name": "lysozyme",
        "attenuator_transmission": 0.25,
        "total_flux": 1e12,
        "beam_size_x": 1e-5,
        "beam_size_y": 2e-5,
        "user": {"hdf5": {"operator": "me", "answer": 42}},
    }
    user |= more.pop("user", {})
    mask = np.zeros((HEIGHT, WIDTH), "<u4")
    mask[BAD_PIXEL] = 1
    fields: dict[str, Any] = {
        "series_id": run,
        "series_unique_id": f"run {run}",
        "number_of_images": count,
        "image_size_x": WIDTH,
        "image_size_y": HEIGHT,
        "image_dtype": "uint16",
        "arm_date": Date("2026-05-01T12:00:00+02:00"),
        "channels": ("default",),
        "beam_center_x": 20.5,
        "beam_center_y": 10.25,
        "detector_distance": 0.2,
        "detector_description": "Simulated",
        "pixel_size_x": 75e-6,
        "pixel_size_y": 150e-6,
        "incident_energy": 12398.4198,
        "incident_wavelength": 1.0,
        "frame_time": 0.01,
        "count_time": 0.009,
        "saturation_value": 60000,
        "error_value": 65535,
        "sensor_material": "Si",
        "sensor_thickness": 0.00045,
        "goniometer": {"omega": GoniometerAxis(start=10.0, increment=0.1)},
        "pixel_mask": {"default": compress(mask)},
    }
    return StartMessage(**{"user_data": encode_user_data(UserData(**user)), **fields, **more})


def start_of(start: StartMessage) -> Callable[[int], list[Buffer]]:
    """START for each socket."""
    return lambda socket: encode_message(start_for_socket(start, socket_number=socket))


def image_message(number: int, compression: Compression = "bslz4", **more: Any) -> ImageMessage:
    fields: dict[str, Any] = {
        "series_id": 7,
        "series_unique_id": "run 7",
        "image_id": number,
        "real_time": Rational(9, 1000),
        "start_time": Rational(number, 100),
        "bkg_estimate": float(number),
        "spots": tuple(Spot(x=float(number), y=2.0, intensity=5.0, indexed=True) for _ in range(number % 3)),
        "data": {"default": compress(pixels_of(number), compression)},
    }
    return ImageMessage(**{**fields, **more})


def image(number: int, compression: Compression = "bslz4", **more: Any) -> list[Buffer]:
    return encode_message(image_message(number, compression, **more))


def end(**more: Any) -> Callable[[int], list[Buffer]]:
    return lambda _: encode_message(EndMessage(series_id=7, series_unique_id="run 7", **more))


def read_images(path: str) -> NDArray[Any]:
    """All pixels of a data file or master file."""
    with h5py.File(path) as file:
        data: Any = file["entry/data/data"]
        return data[()]
