"""The images of an HDF5 file, once more: a detector that was recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from labwire.errors import UsageError
from labwire.sources.detector_config import ReplayConfig
from labwire.sources.image_source import SourceImage
from labwire.sources.replay_file import ImageFile, Node
from labwire.wire.image_array import array_of
from labwire.wire.image_fields import DEFAULT_CHANNEL
from labwire.wire.image_message import StartMessage
from labwire.wire.image_user_data import UserData, encode_user_data

_DETECTOR: Final = "/entry/instrument/detector/"
_BEAM: Final = "/entry/instrument/beam/"
_EV_ANGSTROM: Final = 12_398.419_84
_TO_SI: Final = {
    "m": 1.0,
    "mm": 1e-3,
    "um": 1e-6,
    "µm": 1e-6,
    "nm": 1e-9,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "eV": 1.0,
    "keV": 1e3,
    "angstrom": 1.0,
    "Å": 1.0,
    "A": 1.0,
}
_PIXELS: Final = {"u1": "uint8", "u2": "uint16", "u4": "uint32", "i1": "int8", "i2": "int16", "i4": "int32"}


class ReplayedDetector:
    """A detector whose images come from a file.

    >>> detector = ReplayedDetector(ReplayConfig(file="lysozyme_master.h5"))  # doctest: +SKIP
    >>> detector.read(0).pixels  # doctest: +SKIP
    Array((2164, 2068), '<u4', <1520203 bytes>, compression='bslz4', elem_size=4)

    Args:
        config: Which file, and whether it begins again at its end.
        channel: Name of the channel in START.
        gaps: See `ImageFile`.

    Raises:
        DeviceError: The file cannot be read.
        NotFoundError: There are no images in it.
        MissingExtraError: h5py is not installed.
    """

    def __init__(self, config: ReplayConfig, channel: str = DEFAULT_CHANNEL, *, gaps: bool = False) -> None:
        self.config = config
        self._channel = channel
        self._file = ImageFile(config.file, config.dataset, gaps=gaps)

    @property
    def image_count(self) -> int | None:
        """How many images there are; None if the file begins again at its end."""
        return None if self.config.loop else self._file.image_count

    @property
    def stored_count(self) -> int | None:
        """How many images of the file were stored; None: it does not say."""
        return self._file.stored_count

    def start_message(
        self, *, run_number: int, run_name: str, number_of_images: int, frame_time_s: float | None = None
    ) -> StartMessage:
        """Return what the file tells of its detector; what it does not tell is left out."""
        file, height, width = self._file, *self._file.shape
        energy = file_number(file.file, f"{_BEAM}incident_energy")
        wavelength = file_number(file.file, f"{_BEAM}incident_wavelength")
        if energy is None and wavelength:
            energy = _EV_ANGSTROM / wavelength
        distance = self._of_detector("distance", "detector_distance")
        mask = self._mask()
        return StartMessage(
            series_id=run_number,
            series_unique_id=run_name,
            number_of_images=number_of_images,
            image_size_x=width,
            image_size_y=height,
            channels=(self._channel,),
            image_dtype=_PIXELS.get(file.dtype[1:]),
            beam_center_x=self._of_detector("beam_center_x"),
            beam_center_y=self._of_detector("beam_center_y"),
            detector_distance=distance,
            detector_translation=None if distance is None else (0.0, 0.0, distance),
            detector_description=file_text(file.file, f"{_DETECTOR}description"),
            detector_serial_number=file_text(file.file, f"{_DETECTOR}detector_number", f"{_DETECTOR}serial_number"),
            incident_energy=energy,
            incident_wavelength=wavelength or (_EV_ANGSTROM / energy if energy else None),
            frame_time=frame_time_s or self._of_detector("frame_time"),
            count_time=self._of_detector("count_time"),
            saturation_value=_whole(self._of_detector("saturation_value")),
            error_value=_whole(self._of_detector("error_value", "underload_value")),
            pixel_size_x=self._of_detector("x_pixel_size"),
            pixel_size_y=self._of_detector("y_pixel_size"),
            sensor_thickness=self._of_detector("sensor_thickness"),
            sensor_material=file_text(file.file, f"{_DETECTOR}sensor_material"),
            pixel_mask_enabled=None if mask is None else True,
            pixel_mask=None if mask is None else {self._channel: array_of(mask)},
            user_data=encode_user_data(UserData(extra={"replayed_from": Path(file.path).name})),
        )

    def read(self, image_number: int) -> SourceImage:
        """Return an image, compressed if the file has it so.

        Raises:
            UsageError: There are not so many images.
            DeviceError: It cannot be read.
        """
        count = self._file.image_count
        if not self.config.loop and image_number >= count:
            raise UsageError(f"{self._file.path} has {count} images: there is no number {image_number}")
        return SourceImage(pixels=self._file.read(image_number % count), repeats=image_number % count)

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        self._file.close()

    def _of_detector(self, *names: str) -> float | None:
        return file_number(self._file.file, *(_DETECTOR + name for name in names))

    def _mask(self) -> Any:
        for name in ("pixel_mask", "detectorSpecific/pixel_mask"):
            node = self._file.file.get(_DETECTOR + name)
            if getattr(node, "shape", None) == self._file.shape:
                return node[()].astype("<u4")
        return None


def file_number(file: Node, *paths: str) -> float | None:
    """Return the first number found at one of some paths, in SI units, eV or Å; None if there is none."""
    for path in paths:
        try:
            node: Any = file[path]
            value: Any = node[()]
            number = float(value.ravel()[0] if node.shape else value)
            return number * _TO_SI.get(_plain(node.attrs.get("units", "")), 1.0)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, OSError):
            continue
    return None


def file_text(file: Node, *paths: str) -> str | None:
    """Return the first text found at one of some paths; None if there is none."""
    for path in paths:
        try:
            value = file[path][()]
        except (TypeError, ValueError, KeyError, AttributeError, OSError):
            continue
        if isinstance(value, bytes | str):
            return _plain(value)
    return None


def _plain(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
