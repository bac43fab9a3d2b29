"""What a rig file says of a simulated detector, and of a file that is replayed as one."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from labwire.strict import Strict

PixelType: TypeAlias = Literal["uint8", "uint16", "uint32"]

MAX_SIDE_PX = 65_536
MAX_RATE_HZ = 1_000_000.0

_Side: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=MAX_SIDE_PX)]


class SimulatedDetectorConfig(Strict, tag_field="kind", tag="simulated"):
    """A detector that counts photons which nobody sent: background, rings, Bragg spots, dead pixels, a beam stop."""

    width_px: _Side = 1030
    """Width, pixels."""
    height_px: _Side = 514
    """Height, pixels."""
    dtype: PixelType = "uint16"
    """Type of a pixel: uint8, uint16 or uint32. Its largest value marks pixels that cannot be trusted."""
    seed: int | None = None
    """The same seed gives the same images; not set: another one each time, which START records."""
    background: Annotated[float, msgspec.Meta(ge=0, le=1e6)] = 4.0
    """Photons in a pixel near the beam, on average; fewer further out."""
    spots: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 80
    """About so many Bragg spots in an image."""
    dead_pixels: Annotated[float, msgspec.Meta(ge=0, le=1)] = 2e-4
    """Part of the pixels that are dead, 0 to 1."""
    beam_stop_px: Annotated[float, msgspec.Meta(ge=0, le=MAX_SIDE_PX)] = 18.0
    """Radius of the beam stop's shadow, pixels; 0: none."""
    modules: bool = True
    """Leave the gaps between modules that a detector has which is larger than one."""
    distance_m: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 0.12
    """From the sample to the detector, m."""
    energy_ev: Annotated[float, msgspec.Meta(gt=0, le=1e6)] = 12_400.0
    """Energy of a photon, eV."""
    pixel_size_m: Annotated[float, msgspec.Meta(gt=0, le=1)] = 75e-6
    """Side of a pixel, m."""
    frames: Annotated[int, msgspec.Meta(ge=1, le=4096)] | None = None
    """Images that are computed beforehand and then cycled; not set: 8, fewer of large ones."""
    vary: bool = True
    """Give every image some photons of its own, so that no two are alike. False: the computed images come as they are,
    and each is compressed only once."""
    oscillation_deg: Annotated[float, msgspec.Meta(ge=0, le=360)] = 0.1
    """Rotation of the crystal from one computed image to the next, degrees."""


class ReplayConfig(Strict, tag_field="kind", tag="replay"):
    """The images of an HDF5 file, once more."""

    file: str
    """Path of a master file, a data file, or any HDF5 file with images."""
    dataset: str | None = None
    """Path of the dataset in the file; not set: where NXmx has it, else the largest one with three dimensions."""
    loop: bool = True
    """Begin again at the end."""


ImageSourceConfig: TypeAlias = SimulatedDetectorConfig | ReplayConfig
"""What may stand as ``source`` in ``[detectors.NAME]``: a union by ``kind``."""
