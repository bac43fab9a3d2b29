"""The aims of vital signs, film by film: in a soak run only, because each takes a minute."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.vitals.report import RIGHT_BPM, RIGHT_BREATHS, mean_error
from benchmarks.vitals.run import GATE, Seen, see
from benchmarks.vitals.scenario import Scenario, scenarios, without_pulse
from benchmarks.vitals.subject import NoPhotoError, photo_path

SECONDS = 45.0
SEED = 23

try:
    photo_path("hopper")
except NoPhotoError as missing:
    pytest.skip(f"{missing}: pip install 'labwire[demo]'", allow_module_level=True)


def wrong(seen: Seen) -> int:
    told = [(value.error, RIGHT_BPM) for value in seen.told(seen.pulse)]
    told += [(value.error, RIGHT_BREATHS) for value in seen.told(seen.breathing)]
    return sum(error > right for error, right in told)


@pytest.mark.soak
@pytest.mark.parametrize("scenario", scenarios("hopper", SEED, SECONDS), ids=lambda scenario: scenario.name)
def test_errors_stay_within_their_aims(scenario: Scenario) -> None:
    seen = see(scenario)
    for values, aim in ((seen.pulse, scenario.pulse_aim), (seen.breathing, scenario.breathing_aim)):
        if aim is not None:
            assert seen.told(values)
            assert mean_error(seen.told(values)) <= aim
    # A film at the limit may be wrong now and then; the aim of 99 % is one of all films together.
    assert wrong(seen) <= 0.1 * (len(seen.pulse) + len(seen.breathing))


@pytest.mark.soak
def test_without_a_pulse_99_of_100_windows_tell_nothing() -> None:
    confidences = [value.confidence for film in without_pulse("hopper", SEED, SECONDS) for value in see(film).pulse]
    assert len(confidences) >= 1000
    assert np.mean(np.array(confidences) >= GATE) <= 0.01
