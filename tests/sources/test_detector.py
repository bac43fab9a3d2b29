"""The simulated detector: what is in its images, that its seed is all it depends on, and what START says of it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from labwire.errors import UsageError
from labwire.sources.detector import SimulatedDetector
from labwire.sources.detector_config import PixelType, SimulatedDetectorConfig
from labwire.sources.diffraction import DEAD_BIT, GAP_BIT
from labwire.wire.image_array import as_numpy
from labwire.wire.image_codec import decode_message, encode_message

SMALL = SimulatedDetectorConfig(width_px=160, height_px=120, seed=11, dead_pixels=0.01, beam_stop_px=8, frames=3)


def detector(**changes: object) -> SimulatedDetector:
    values = {name: getattr(SMALL, name) for name in SMALL.__struct_fields__}
    return SimulatedDetector(SimulatedDetectorConfig(**(values | changes)))  # pyright: ignore[reportArgumentType]


def pixels(source: SimulatedDetector, number: int) -> np.ndarray:
    return as_numpy(source.read(number).pixels)


def mask(source: SimulatedDetector) -> np.ndarray:
    start = source.start_message(run_number=1, run_name="a", number_of_images=1)
    assert start.pixel_mask is not None
    return as_numpy(start.pixel_mask["default"])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
def test_the_largest_value_marks_bad_pixels_and_no_others(dtype: PixelType) -> None:
    source = detector(dtype=dtype)
    image, bad = pixels(source, 4), mask(source) != 0
    assert image.shape == (120, 160)
    assert image.dtype == dtype
    assert 0 < bad.sum() < image.size / 20
    assert np.array_equal(image == np.iinfo(dtype).max, bad)
    assert source.saturation_value == np.iinfo(dtype).max - 1


def test_the_same_seed_gives_the_same_images() -> None:
    one, same, other = detector(), detector(), detector(seed=12)
    assert np.array_equal(pixels(one, 5), pixels(same, 5))
    assert not np.array_equal(pixels(one, 5), pixels(other, 5))


def test_a_seed_that_nobody_chose_is_recorded_in_start() -> None:
    source = detector(seed=None)
    start = source.start_message(run_number=1, run_name="a", number_of_images=1)
    assert json.loads(start.user_data) == {"simulated": True, "seed": source.seed}
    assert np.array_equal(pixels(detector(seed=source.seed), 0), pixels(source, 0))


def test_no_two_images_are_alike_and_none_changes_afterwards() -> None:
    source = detector()
    first = pixels(source, 0)
    kept = first.copy()
    images = {pixels(source, number).tobytes() for number in range(30)}
    assert len(images) == 30
    assert np.array_equal(first, kept)


def test_without_variation_images_repeat_and_say_so() -> None:
    source = detector(vary=False)
    images = [source.read(number) for number in range(6)]
    assert [image.repeats for image in images] == [0, 1, 2, 0, 1, 2]
    assert images[0].pixels == images[3].pixels
    assert images[0].pixels != images[1].pixels


def test_it_looks_like_diffraction() -> None:
    source = detector(background=20.0, dead_pixels=0.0, spots=30)
    image = np.mean([np.minimum(pixels(source, number), 100) for number in range(9)], axis=0)
    start = source.start_message(run_number=1, run_name="a", number_of_images=1)
    y, x = np.mgrid[:120, :160]
    radius = np.hypot(x - start.beam_center_x, y - start.beam_center_y)
    beam_stop, near, far = (
        float(np.median(image[(radius >= low) & (radius < high)])) for low, high in ((0, 7), (12, 20), (70, 80))
    )
    assert beam_stop < 2
    assert near > 1.5 * far > beam_stop


def test_spots_are_where_it_says() -> None:
    source = detector(background=1.0, beam_stop_px=0, vary=False, dead_pixels=0.0, spots=20)
    read = source.read(0)
    image = as_numpy(read.pixels)
    assert read.spots
    strong = [spot for spot in read.spots if (spot.intensity or 0) > 60]
    assert strong
    for spot in strong:
        y, x = int(spot.y), int(spot.x)
        window = image[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
        assert window.sum() > 0.4 * (spot.intensity or 0)


def test_a_large_detector_has_gaps_between_its_modules() -> None:
    source = detector(width_px=1100, height_px=600, frames=1, dead_pixels=0.001)
    bits = mask(source)
    assert (bits[:, 1030:1040] & GAP_BIT).all()
    assert (bits[514:551] & GAP_BIT).all()
    assert not (bits[:514, :1030] & GAP_BIT).any()
    assert (bits & DEAD_BIT).any()


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 300), (300, 1), (7, 3)])
def test_any_size_works(width: int, height: int) -> None:
    source = detector(width_px=width, height_px=height, dead_pixels=0.5)
    assert pixels(source, 3).shape == (height, width)


def test_start_survives_the_wire() -> None:
    start = detector().start_message(run_number=7, run_name="lyso", number_of_images=9, frame_time_s=0.01)
    again = decode_message(b"".join(encode_message(start)))
    assert again == start


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(UsageError, match="seed"):
        detector(seed=-1)
