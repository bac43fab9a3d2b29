"""The simulated instruments."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import pytest

from labwire.errors import DeviceError
from labwire.instruments.api import check_params
from labwire.instruments.driver import Driver, api_of, make_driver
from labwire.instruments.drivers.simulated import Crasher, Multimeter, Oscilloscope, Slow


def opened(driver: type[Driver], **options: Any) -> Any:
    made = make_driver(driver, options, "X")
    made.open()
    return made


def test_all_of_them_describe_themselves_and_their_defaults_fit() -> None:
    for driver in (Multimeter, Oscilloscope, Slow, Crasher):
        api = api_of(driver)
        assert api.doc
        for verb in api.verbs:
            assert verb.doc, verb.name
            given = {one.name: one.choices[0] if one.choices else 1.0 for one in verb.parameters if one.required}
            check_params(verb, given)
            assert all(one.doc for one in verb.parameters if verb.name != "READ_WAVEFORM"), verb.name


def test_a_multimeter_measures_what_is_connected_with_the_noise_of_its_range() -> None:
    meter = opened(Multimeter, voltage_v=0.05, drift_v=0.0, seed=1)
    for range_v, samples in ((0.1, 1), (10.0, 1), (10.0, 100), (1000.0, 1)):
        readings = [meter.measure_voltage(range_v, samples) for _ in range(400)]
        expected = range_v * 2e-6 / samples**0.5
        assert abs(statistics.mean(readings) - 0.05) < expected
        assert expected / 1.3 < statistics.stdev(readings) < expected * 1.3
    assert meter.measure_voltage(5.0) != meter.measure_voltage(5.0)


def test_a_seed_makes_the_noise_the_same_and_none_makes_it_another() -> None:
    first, again, other = (opened(Multimeter, drift_v=0.0, seed=seed) for seed in (7, 7, None))
    readings = [[meter.measure_voltage() for _ in range(5)] for meter in (first, again, other)]
    assert readings[0] == readings[1] != readings[2]


def test_too_small_a_range_is_an_overload() -> None:
    with pytest.raises(DeviceError, match=r"overload: more than 1.2 times the range of 1 V"):
        opened(Multimeter, voltage_v=1.3, drift_v=0.0).measure_voltage(0.5)


def test_an_oscilloscope_records_its_sine() -> None:
    scope = opened(Oscilloscope, frequency_hz=1000.0, amplitude_v=2.0, noise_v=0.0)
    samples = scope.read_waveform(1000, 1e-6)
    assert (samples.dtype, samples.shape) == (np.float32, (1000,))
    np.testing.assert_allclose(samples, 2.0 * np.sin(2 * np.pi * np.arange(1000) / 1000), atol=1e-6)
    noisy = opened(Oscilloscope, amplitude_v=0.0, noise_v=0.5, seed=3).read_waveform(100_000)
    assert 0.49 < float(noisy.std()) < 0.51


def test_blocks_of_an_acquisition_join_without_a_gap() -> None:
    scope = opened(Oscilloscope, frequency_hz=17.0, noise_v=0.0)
    blocks = list(scope.acquire(points=100, interval_s=1e-4, blocks=5, real_time=False))
    np.testing.assert_allclose(np.concatenate(blocks), scope.read_waveform(500, 1e-4), atol=1e-6)
    endless = scope.acquire(points=10, interval_s=1e-5)
    assert [len(next(endless)) for _ in range(20)] == [10] * 20
    endless.close()


def test_the_others_echo() -> None:
    assert opened(Slow).echo(1.5) == opened(Crasher).echo(1.5) == 1.5
    assert opened(Slow).sleep(0.0) >= 0.0
    with pytest.raises(ValueError, match="raised on demand"):
        opened(Crasher).crash("error")
