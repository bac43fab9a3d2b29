"""Simulated eyes: every field that Pupil Core sends, plausible values, the same for the same seed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from labwire.sources.config import SimulatedEyesConfig
from labwire.sources.eye_motion import EyeMotion
from labwire.sources.simulated_eyes import SURE, Message, SimulatedEyes
from labwire.wire.bus_message import decode_payload, encode_payload

RATE_HZ = 120
PUPIL_2D = {"id", "topic", "method", "norm_pos", "diameter", "confidence", "timestamp", "ellipse"}
PUPIL_3D = PUPIL_2D | {
    "sphere",
    "projected_sphere",
    "circle_3d",
    "diameter_3d",
    "location",
    "model_confidence",
    "theta",
    "phi",
}
GAZE = {"topic", "norm_pos", "confidence", "timestamp", "base_data", "gaze_point_3d"}
BINOCULAR = GAZE | {"eye_centers_3d", "gaze_normals_3d"}
MONOCULAR = GAZE | {"eye_center_3d", "gaze_normal_3d"}


def run(seconds: float, **options: Any) -> list[list[Message]]:
    eyes = SimulatedEyes(SimulatedEyesConfig(**options))
    return [eyes.messages(n / RATE_HZ, 1000 + n / RATE_HZ) for n in range(int(seconds * RATE_HZ))]


MINUTE = run(60)


def numbers_in(value: object) -> Iterator[float]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from numbers_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from numbers_in(inner)
    elif isinstance(value, int | float):
        yield value


def test_each_message_has_its_fields() -> None:
    fields = {
        "pupil.0.2d": PUPIL_2D,
        "pupil.1.2d": PUPIL_2D,
        "pupil.0.3d": PUPIL_3D,
        "pupil.1.3d": PUPIL_3D,
        "gaze.3d.01.": BINOCULAR,
        "gaze.3d.0.": MONOCULAR,
        "gaze.3d.1.": MONOCULAR,
    }
    seen: set[str] = set()
    for messages in MINUTE:
        for topic, payload in messages:
            assert payload["topic"] == topic
            assert set(payload) == fields[topic]
            seen.add(topic)
    assert seen == set(fields)


def test_data_say_that_they_are_simulated() -> None:
    for messages in MINUTE[:10]:
        for topic, payload in messages:
            data = payload["base_data"] if topic.startswith("gaze") else [payload]
            assert all(datum["method"].startswith("simulated ") for datum in data)


def test_values_are_finite_and_plausible() -> None:
    for messages in MINUTE:
        for _, payload in messages:
            assert all(math.isfinite(number) for number in numbers_in(payload))
            assert 0 <= payload["confidence"] <= 1
            assert all(0 < side < 1 for side in payload["norm_pos"])
            if "diameter_3d" in payload:
                assert 2 < payload["diameter_3d"] < 6
                assert 5 < payload["diameter"] < 60
                assert math.hypot(*payload["circle_3d"]["normal"]) == pytest.approx(1)
                minor, major = payload["ellipse"]["axes"]
                assert 0 < minor <= major


def test_stamps_are_those_that_were_given() -> None:
    assert all(payload["timestamp"] == 1000.5 for _, payload in MINUTE[60])


def test_every_payload_is_a_message_of_the_bus() -> None:
    for _, payload in MINUTE[0]:
        assert decode_payload(encode_payload(payload)) == payload


def test_same_seed_same_eyes() -> None:
    assert run(3, seed=7) == run(3, seed=7)
    assert run(3, seed=7) != run(3, seed=8)


def test_motion_does_not_depend_on_how_often_it_is_asked() -> None:
    often, seldom = EyeMotion(3), EyeMotion(3)
    for n in range(4000):
        often.at(n / 200)
    assert often.at(20.0) == seldom.at(20.0)


def test_eyes_fixate_most_of_the_time_and_jump_in_between() -> None:
    motion = EyeMotion(1)
    poses = [motion.at(n / 1000) for n in range(60_000)]
    speeds = [
        1000 * math.hypot(after.right_deg - before.right_deg, after.up_deg - before.up_deg)
        for before, after in pairwise(poses)
    ]
    resting = sum(speed < 30 for speed in speeds) / len(speeds)
    assert 0.7 < resting < 0.97
    assert 100 < max(speeds) < 1000


def test_blinks_take_confidence_away_and_leave_no_binocular_gaze() -> None:
    blinks, was_open = 0, True
    for messages in MINUTE:
        payloads = dict(messages)
        is_open = all(payloads[f"pupil.{eye}.3d"]["confidence"] >= SURE for eye in (0, 1))
        blinks += was_open and not is_open
        was_open = is_open
        assert ("gaze.3d.01." in payloads) == is_open
        assert ("gaze.3d.0." in payloads) == (not is_open)
    assert 8 <= blinks <= 30
    assert min(dict(messages)["pupil.0.2d"]["confidence"] for messages in MINUTE) < 0.2


def test_one_eye_gives_monocular_gaze() -> None:
    assert {topic for messages in run(1, eyes=(1,)) for topic, _ in messages} == {
        "pupil.1.2d",
        "pupil.1.3d",
        "gaze.3d.1.",
    }


def test_gaze_can_be_left_out() -> None:
    assert {topic for topic, _ in run(0.1, gaze=False)[0]} == {"pupil.0.2d", "pupil.0.3d", "pupil.1.2d", "pupil.1.3d"}


def test_gaze_points_where_both_eyes_look() -> None:
    payload = dict(MINUTE[0])["gaze.3d.01."]
    for eye in "01":
        centre, normal = payload["eye_centers_3d"][eye], payload["gaze_normals_3d"][eye]
        distance = math.dist(centre, payload["gaze_point_3d"])
        reached = [c + distance * n for c, n in zip(centre, normal, strict=True)]
        assert reached == pytest.approx(payload["gaze_point_3d"])
