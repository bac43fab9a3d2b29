"""A simulated detector: images that look like diffraction, as fast as they are wanted."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

from labwire.errors import UsageError, needs_extra
from labwire.sources.detector_config import SimulatedDetectorConfig
from labwire.sources.image_source import SourceImage
from labwire.wire.image_array import array_of
from labwire.wire.image_fields import DEFAULT_CHANNEL, GoniometerAxis, Spot
from labwire.wire.image_message import StartMessage
from labwire.wire.image_user_data import UserData, encode_user_data

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from labwire.sources.diffraction import FoundSpot

DESCRIPTION: Final = "labwire simulated detector"

_FRAMES: Final = 8
_MAX_BANK_PIXELS: Final = 1 << 23
_OWN_PHOTONS: Final = 1000  # one pixel in so many gets a photon in each image that is varied
_SEED_BITS: Final = 32
_SENSOR_THICKNESS_M: Final = 450e-6


class SimulatedDetector:
    """A detector that counts photons which nobody sent.

    >>> detector = SimulatedDetector(SimulatedDetectorConfig(width_px=64, height_px=32, seed=7))
    >>> detector.read(0).pixels
    Array((32, 64), '<u2', <4096 bytes>)

    Some images are computed when it is made; `read` cycles through them, and adds a few photons at other places each
    time: a copy and a thousandth of the pixels, a tenth of a millisecond for a million pixels.

    Args:
        config: What to simulate.
        channel: Name of the channel in START.

    Raises:
        MissingExtraError: numpy is not installed.
    """

    def __init__(self, config: SimulatedDetectorConfig, channel: str = DEFAULT_CHANNEL) -> None:
        with needs_extra("images"):
            import numpy as np

            from labwire.sources.diffraction import Diffraction
        self.config = config
        self.seed = random.SystemRandom().getrandbits(_SEED_BITS) if config.seed is None else config.seed
        """What all is computed from; START records it."""
        if self.seed < 0:
            raise UsageError(f"a seed is 0 or more, not {self.seed}")
        self._channel = channel
        scene = Diffraction(config, self.seed)
        self._scene = scene
        self._bank: list[tuple[NDArray[Any], tuple[Spot, ...]]] = []
        pixels = config.width_px * config.height_px
        count = config.frames or max(1, min(_FRAMES, _MAX_BANK_PIXELS // pixels))
        free = scene.mask.reshape(-1) == 0
        for index in range(count):
            counts, spots = scene.frame(index * config.oscillation_deg)
            free &= counts.reshape(-1) < np.iinfo(config.dtype).max - 1
            self._bank.append((counts, tuple(map(_spot_of, spots))))
        places = np.random.default_rng(self.seed).permutation(np.flatnonzero(free))
        self._places = places.astype(np.intp)
        self._photons = min(max(pixels // _OWN_PHOTONS, 1), len(places)) if config.vary else 0

    @property
    def image_count(self) -> None:
        """As many as wanted."""
        return None

    @property
    def saturation_value(self) -> int:
        """Largest valid pixel value; the one above it marks dead pixels and gaps."""
        return (1 << 8 * self._bank[0][0].itemsize) - 2

    def start_message(
        self, *, run_number: int, run_name: str, number_of_images: int, frame_time_s: float | None = None
    ) -> StartMessage:
        """Return what START tells of this detector; ``user_data`` says that it is simulated, and from which seed."""
        config, scene = self.config, self._scene
        return StartMessage(
            series_id=run_number,
            series_unique_id=run_name,
            number_of_images=number_of_images,
            image_size_x=config.width_px,
            image_size_y=config.height_px,
            channels=(self._channel,),
            image_dtype=config.dtype,
            beam_center_x=scene.center_px[0],
            beam_center_y=scene.center_px[1],
            detector_distance=config.distance_m,
            detector_translation=(0.0, 0.0, config.distance_m),
            detector_description=DESCRIPTION,
            detector_serial_number=f"seed-{self.seed}",
            incident_energy=config.energy_ev,
            incident_wavelength=scene.wavelength_angstrom,
            frame_time=frame_time_s,
            count_time=frame_time_s,
            saturation_value=self.saturation_value,
            error_value=self.saturation_value + 1,
            pixel_size_x=config.pixel_size_m,
            pixel_size_y=config.pixel_size_m,
            sensor_thickness=_SENSOR_THICKNESS_M,
            sensor_material="Si",
            countrate_correction_enabled=False,
            flatfield_enabled=False,
            pixel_mask_enabled=True,
            virtual_pixel_interpolation_enabled=False,
            threshold_energy={self._channel: config.energy_ev / 2},
            goniometer={"omega": GoniometerAxis(start=0.0, increment=config.oscillation_deg, axis=(-1.0, 0.0, 0.0))},
            max_spot_count=max(config.spots, 1),
            pixel_mask={self._channel: array_of(scene.mask)},
            user_data=encode_user_data(UserData(extra={"simulated": True, "seed": self.seed})),
        )

    def read(self, image_number: int) -> SourceImage:
        """Return an image; the same seed and number give the same one."""
        index = image_number % len(self._bank)
        counts, spots = self._bank[index]
        if not self._photons:
            return SourceImage(pixels=array_of(counts), spots=spots, repeats=index)
        counts = counts.copy()
        counts.reshape(-1)[self._some_places(image_number)] += 1
        return SourceImage(pixels=array_of(counts), spots=spots)

    def close(self) -> None:
        """Nothing is open."""

    def _some_places(self, image_number: int) -> NDArray[np.intp]:
        # A window that moves through all places by a step which has nothing to do with its size.
        first = image_number * (self._photons + 1) % (len(self._places) - self._photons + 1)
        return self._places[first : first + self._photons]


def _spot_of(found: FoundSpot) -> Spot:
    return Spot(x=found.x, y=found.y, intensity=found.photons)
