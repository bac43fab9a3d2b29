"""The picture that a rotating crystal throws onto a photon-counting detector, computed from a seed.

Everything is a count of photons: an expectation for each pixel, and Poisson's distribution around it. Bragg spots stand
where the reciprocal lattice of a crystal of lysozyme meets the Ewald sphere.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from labwire.errors import needs_extra
from labwire.sources.detector_config import SimulatedDetectorConfig

with needs_extra("images"):
    import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PLANCK_EV_ANGSTROM: Final = 12_398.419_84
"""Energy in eV times wavelength in Å."""
CELL_ANGSTROM: Final = (78.6, 78.6, 37.3)
"""Tetragonal lysozyme, which every beamline begins the day with."""

MODULE_PX: Final = (1030, 514)
GAP_PX: Final = (10, 37)
"""Width and height of a module, and of the gap behind it."""
GAP_BIT: Final = 1 << 0
DEAD_BIT: Final = 1 << 1
"""Bits of NXmx's ``pixel_mask``."""

_RINGS: Final = ((3.6, 0.35, 0.9), (2.1, 0.2, 0.25))
"""Scattering of water: where, Å; how wide, Å; how strong, as part of the background."""
_FALLOFF: Final = 0.35  # of the half diagonal: there the background has fallen to 1/e
_SHADOW: Final = 0.02  # what comes through the beam stop
_SPOT_SIGMA_PX: Final = 0.9
_SPOT_REACH_PX: Final = 4
_SPOT_PHOTONS: Final = 150.0
_RESOLUTION_FALLOFF: Final = 12.0  # B factor, Å²
_MAX_INDEX: Final = 60  # of a Miller index


class FoundSpot(NamedTuple):
    """A spot that was put into an image."""

    x: float
    """Pixels."""
    y: float
    """Pixels."""
    photons: float


class Diffraction:
    """The scene: what each pixel expects, which pixels are not to be trusted, and the crystal.

    Args:
        config: Sizes and strengths.
        seed: Of everything random.
    """

    def __init__(self, config: SimulatedDetectorConfig, seed: int) -> None:
        self._config = config
        self._rng = np.random.default_rng(seed)
        self.wavelength_angstrom = PLANCK_EV_ANGSTROM / config.energy_ev
        self.center_px = (config.width_px * 0.5 + 3.7, config.height_px * 0.5 - 2.3)
        """Where the beam would hit, (x, y): nobody centers a detector exactly."""
        self._shade = np.ones((config.height_px, config.width_px), np.float32)
        self.mask = self._make_mask()
        """(height, width), uint32, bits of NXmx's ``pixel_mask``."""
        self._expected = self._make_background()
        self._reflections, self._strengths = self._make_crystal()

    def frame(self, angle_deg: float) -> tuple[NDArray[Any], list[FoundSpot]]:
        """Count photons of one image, with the crystal turned to an angle.

        Returns:
            Pixels (height, width) of the configured type, C order, and the spots that are in it.
        """
        config = self._config
        counts = self._rng.poisson(self._expected)
        spots = self._spots(angle_deg)
        for spot in spots:
            self._add_spot(counts, spot)
        top = int(np.iinfo(config.dtype).max)
        np.minimum(counts, top - 1, out=counts)
        counts[self.mask != 0] = top
        return counts.astype(config.dtype), spots

    def _make_mask(self) -> NDArray[np.uint32]:
        config = self._config
        mask = np.zeros((config.height_px, config.width_px), np.uint32)
        mask[self._rng.random(mask.shape, np.float32) < config.dead_pixels] |= DEAD_BIT
        if config.modules:
            for axis, (module, gap) in enumerate(zip(reversed(MODULE_PX), reversed(GAP_PX), strict=True)):
                in_gap = np.arange(mask.shape[axis]) % (module + gap) >= module
                mask[(slice(None),) * axis + (in_gap,)] |= GAP_BIT
        return mask

    def _make_background(self) -> NDArray[np.float32]:
        config = self._config
        x = np.arange(config.width_px, dtype=np.float32) - np.float32(self.center_px[0])
        y = (np.arange(config.height_px, dtype=np.float32) - np.float32(self.center_px[1]))[:, None]
        radius = np.hypot(x, y)
        reach = _FALLOFF * math.hypot(config.width_px, config.height_px)
        expected = np.exp(-radius / np.float32(reach))
        spacing = self._spacing_of(radius)
        for at, width, strength in _RINGS:
            expected += np.float32(strength) * np.exp(-(((spacing - at) / width) ** 2))
        # The rod that holds the beam stop comes in from below.
        behind = (radius < config.beam_stop_px) | ((np.abs(x) < config.beam_stop_px / 3) & (y > 0))
        self._shade[behind] = _SHADOW
        expected *= self._shade * np.float32(config.background)
        return expected.astype(np.float32, copy=False)

    def _spacing_of(self, radius_px: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the lattice spacing, Å, whose reflections stand at a distance from the beam."""
        two_theta = np.arctan(radius_px * np.float32(self._config.pixel_size_m / self._config.distance_m))
        spacing = np.float32(self.wavelength_angstrom) / np.maximum(2 * np.sin(two_theta / 2), np.float32(1e-6))
        return spacing.astype(np.float32, copy=False)

    def _make_crystal(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the reciprocal lattice of a crystal in a random orientation, (n, 3) in 1/Å, and photons of each."""
        config = self._config
        corner_px = math.hypot(*(max(c, size - c) for c, size in zip(self.center_px, self._size, strict=True)))
        finest = max(float(self._spacing_of(np.array([corner_px], np.float32))[0]), self.wavelength_angstrom / 2)
        last = [min(int(edge / finest) + 1, _MAX_INDEX) for edge in CELL_ANGSTROM]
        ranges = [np.arange(-n, n + 1) for n in last]
        indices = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
        indices = indices[np.any(indices != 0, axis=1)]
        orientation, _ = np.linalg.qr(self._rng.standard_normal((3, 3)))
        vectors = (indices / np.array(CELL_ANGSTROM)) @ orientation
        falloff = np.exp(-_RESOLUTION_FALLOFF / 4 * np.sum(vectors**2, axis=1))
        strengths = self._rng.exponential(_SPOT_PHOTONS, len(vectors)) * falloff * max(config.background, 1.0)
        return vectors, strengths

    @property
    def _size(self) -> tuple[int, int]:
        return self._config.width_px, self._config.height_px

    def _spots(self, angle_deg: float) -> list[FoundSpot]:
        config = self._config
        if not config.spots:
            return []
        turn = math.radians(angle_deg)
        cos, sin = math.cos(turn), math.sin(turn)
        q = self._reflections @ np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]])
        beam = np.array([0.0, 0.0, 1.0 / self.wavelength_angstrom])
        scattered = q + beam
        distance = np.abs(np.linalg.norm(scattered, axis=1) - beam[2])
        forward = np.maximum(scattered[:, 2], 1e-12)
        scale = config.distance_m / config.pixel_size_m
        x = self.center_px[0] + scale * scattered[:, 0] / forward
        y = self.center_px[1] + scale * scattered[:, 1] / forward
        seen = (scattered[:, 2] > 0) & (x >= 0) & (y >= 0) & (x < config.width_px) & (y < config.height_px)
        # The closest to the sphere are in: as many as wanted, however large the detector is.
        found = np.flatnonzero(seen)
        found = found[np.argsort(distance[found])[: config.spots]]
        rows = zip(x[found].tolist(), y[found].tolist(), self._strengths[found].tolist(), strict=True)
        return [FoundSpot(*row) for row in rows]

    def _add_spot(self, counts: NDArray[Any], spot: FoundSpot) -> None:
        left, top = max(int(spot.x) - _SPOT_REACH_PX, 0), max(int(spot.y) - _SPOT_REACH_PX, 0)
        right, bottom = int(spot.x) + _SPOT_REACH_PX + 1, int(spot.y) + _SPOT_REACH_PX + 1
        window = cast("NDArray[np.int64]", counts[top:bottom, left:right])
        height, width = window.shape
        y = np.arange(top + 0.5 - spot.y, height + top - spot.y)[:height, None]
        x = np.arange(left + 0.5 - spot.x, width + left - spot.x)[:width]
        shape = np.exp((x**2 + y**2) * (-0.5 / _SPOT_SIGMA_PX**2)) / (2 * math.pi * _SPOT_SIGMA_PX**2)
        window += self._rng.poisson(spot.photons * shape * float(self._shade[int(spot.y), int(spot.x)]))
