"""Payloads have the public field names, and nothing that was not measured."""

from __future__ import annotations

import json

import pytest

from labwire.vitals.confidence import PulseQuality, breathing_confidence, pulse_confidence
from labwire.vitals.metrics import CoreMetrics, EdgeMetrics, Hrv, Measure, StatusChange, StatusCode, TraceSample

GOOD = PulseQuality(snr_db=14.0, contrast_db=15.0, apart_bpm=0.4, likeness=0.97, blood=0.95, rate_hz=1.2)


def test_everything_there_is() -> None:
    core = CoreMetrics(
        timestamp_us=1_234_567_890_123_456,
        pulse=Measure(72.51234567, 0.951),
        pulse_trace=(TraceSample(1_234_567_890_000_000, 0.123456),),
        breathing=Measure(16.2, 0.89),
        hrv=Hrv(rmssd=31.0, mean_nn=830.0, sdnn=40.0, baevsky=120.0, confidence=0.85),
    )
    assert core.payload() == {
        "pulse": {
            "strict": {"value": 72.5123, "confidence": 0.951},
            "trace": [{"timestamp": 1_234_567_890_000_000, "value": 0.1235}],
            "pulse_respiration_quotient": 4.4761,
        },
        "breathing": {"strict": {"value": 16.2, "confidence": 0.89}},
        "cardio": {"hrv": {"rmssd": 31.0, "mean_nn": 830.0, "sdnn": 40.0, "baevsky": 120.0, "confidence": 0.85}},
    }
    assert json.loads(json.dumps(core.payload())) == core.payload()


def test_what_was_not_measured_is_left_out() -> None:
    assert CoreMetrics(timestamp_us=1, breathing=Measure(12.0, 0.9)).payload() == {
        "breathing": {"strict": {"value": 12.0, "confidence": 0.9}}
    }
    assert EdgeMetrics(timestamp_us=1, upper_breathing_trace=0.0).payload() == {"upper_breathing_trace": 0.0}
    assert EdgeMetrics(timestamp_us=1, eda=0.42).payload() == {"eda": 0.42}


def test_status_is_the_specs() -> None:
    assert StatusChange(1, StatusCode.OK, "OK").payload() == {"code": 0, "message": "OK"}


@pytest.mark.parametrize(
    ("worse", "value"),
    [("snr_db", -4.0), ("contrast_db", 2.0), ("apart_bpm", 30.0), ("likeness", 0.1), ("blood", 0.1), ("rate_hz", 0.7)],
)
def test_anything_worse_makes_a_pulse_less_sure(worse: str, value: float) -> None:
    assert pulse_confidence(GOOD._replace(**{worse: value})) < pulse_confidence(GOOD)
    assert 0.95 < pulse_confidence(GOOD) < 1


def test_confidence_stays_between_0_and_1_for_any_quality() -> None:
    for level in (-1e9, -50.0, 0.0, 50.0, 1e9):
        quality = PulseQuality(level, level, abs(level), max(-1.0, min(1.0, level)), 0.5, abs(level))
        assert 0 <= pulse_confidence(quality) <= 1
        assert 0 <= breathing_confidence(snr_db=level, contrast_db=level, amplitude=abs(level)) <= 1


def test_a_collar_that_a_nod_takes_along_is_no_breath() -> None:
    nod, breath = (
        breathing_confidence(snr_db=9.0, contrast_db=10.0, amplitude=amplitude) for amplitude in (0.013, 0.1)
    )
    assert nod < 0.85 < breath


def test_a_body_that_sways_is_no_breath() -> None:
    assert breathing_confidence(snr_db=5.0, contrast_db=3.0, amplitude=1.0) < 0.85
    assert breathing_confidence(snr_db=1.6, contrast_db=12.0, amplitude=1.0) < 0.85
