"""The monitor on pictures of a real face that is made to breathe and to have a pulse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import cv2
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.vitals.film import START_US, Film
from benchmarks.vitals.scenario import Scenario
from benchmarks.vitals.subject import NoPhotoError, photo_path, subject_of
from labwire.picture import Picture, picture_of, picture_pixels, to_format
from labwire.vitals.config import VitalsConfig
from labwire.vitals.metrics import CoreMetrics, EdgeMetrics, StatusChange, StatusCode, VitalsEvent
from labwire.vitals.monitor import VitalsMonitor
from labwire.wire.envelope import Envelope, decode_envelope, encode_envelope

Pixels = NDArray[np.uint8]

try:
    photo_path("hopper")
except NoPhotoError as missing:
    pytest.skip(f"{missing}: pip install 'labwire[demo]'", allow_module_level=True)


def shown(pictures: Iterator[Picture], monitor: VitalsMonitor) -> list[VitalsEvent]:
    return [event for picture in pictures for event in monitor.take(picture)]


def core_of(events: list[VitalsEvent]) -> list[CoreMetrics]:
    return [event for event in events if isinstance(event, CoreMetrics)]


def codes_of(events: list[VitalsEvent]) -> list[int]:
    return [event.code for event in events if isinstance(event, StatusChange)]


@pytest.fixture(scope="module")
def face() -> Pixels:
    return subject_of("hopper").photo.astype(np.uint8)


@pytest.fixture(scope="module")
def film() -> Film:
    return Film(Scenario(name="short", seconds=32, fps=12, codec="mjpeg", seed=7))


@pytest.fixture(scope="module")
def pictures(film: Film) -> list[Picture]:
    return list(film.pictures())


@pytest.fixture(scope="module")
def seen(pictures: list[Picture]) -> list[VitalsEvent]:
    return shown(iter(pictures), VitalsMonitor())


def still(pixels: Pixels, seconds: float, fps: float = 10.0, start_s: float = 0.0) -> Iterator[Picture]:
    for n in range(round(seconds * fps)):
        time_s = start_s + n / fps
        yield picture_of(pixels, index=n, monotonic_s=time_s, epoch_us=START_US + round(time_s * 1e6))


def test_pulse_and_breathing_are_right(film: Film, seen: list[VitalsEvent]) -> None:
    core = core_of(seen)
    assert len(core) > 75
    for event in core:
        time_s = (event.timestamp_us - START_US) / 1e6
        assert event.pulse
        assert event.pulse.value == pytest.approx(film.pulse_bpm(time_s, 12), abs=1.5)
        if event.breathing:
            assert event.breathing.value == pytest.approx(film.breaths_per_min(time_s, 30), abs=0.5)
    assert core[-1].breathing
    assert codes_of(seen) == [StatusCode.OK]


def test_breathing_is_right_when_the_body_sways() -> None:
    film = Film(Scenario(name="sways", seconds=31, fps=10, motion_px=8, sway=0.5, seed=7))
    told = [event for event in core_of(shown(film.pictures(), VitalsMonitor())) if event.breathing]
    assert told
    for event in told:
        assert event.breathing
        time_s = (event.timestamp_us - START_US) / 1e6
        assert event.breathing.value == pytest.approx(film.breaths_per_min(time_s, 30), abs=0.5)


def test_nothing_is_told_before_its_window_is_full(seen: list[VitalsEvent]) -> None:
    core = core_of(seen)
    assert core[0].timestamp_us - START_US >= 11.9e6
    breathing = next(event for event in core if event.breathing)
    assert breathing.timestamp_us - START_US >= 29.9e6


def test_traces_come_with_every_picture_and_follow_the_chest(film: Film, seen: list[VitalsEvent]) -> None:
    edge = [event for event in seen if isinstance(event, EdgeMetrics)]
    assert len(edge) == len(film.capture_s)
    after = [event for event in edge if event.timestamp_us - START_US > 10e6]
    upper = [event.upper_breathing_trace for event in after]
    truth = np.interp([(event.timestamp_us - START_US) / 1e6 for event in after], film._grid_s, film.chest_px)
    assert np.corrcoef(np.array(upper, float), truth)[0, 1] > 0.95
    assert all(event.lower_breathing_trace is not None for event in after)
    assert not any(event.eda is not None for event in after)  # its warm-up takes longer


def test_pulse_trace_has_every_step_once(seen: list[VitalsEvent]) -> None:
    moments = [sample.timestamp for event in core_of(seen) for sample in event.pulse_trace]
    assert np.diff(moments) == pytest.approx(1e6 / 30, abs=2)


def test_payloads_have_the_public_names_and_fit_an_envelope(seen: list[VitalsEvent]) -> None:
    last = core_of(seen)[-1]
    payload = last.payload()
    assert set(payload) == {"pulse", "breathing"}
    assert set(payload["pulse"]) == {"strict", "trace", "pulse_respiration_quotient"}
    assert set(payload["breathing"]["strict"]) == {"value", "confidence"}
    assert 0.85 <= payload["pulse"]["strict"]["confidence"] <= 1
    line = encode_envelope(Envelope("core_metrics", last.timestamp_us, payload))
    assert decode_envelope(line).payload == payload
    edge = next(event for event in reversed(seen) if isinstance(event, EdgeMetrics))
    assert set(edge.payload()) == {"upper_breathing_trace", "lower_breathing_trace"}


def test_timestamps_never_fall(seen: list[VitalsEvent]) -> None:
    moments = [event.timestamp_us for event in seen]
    assert moments == sorted(moments)


def test_nobody_there_is_told_at_once() -> None:
    monitor = VitalsMonitor()
    assert monitor.status.code == StatusCode.PROCESSING_NOT_STARTED
    events = shown(still(np.full((480, 640, 3), 128, np.uint8), 1.0), monitor)
    assert codes_of(events) == [StatusCode.NO_FACES_FOUND]
    assert monitor.status.code == StatusCode.NO_FACES_FOUND


@pytest.mark.parametrize(("level", "code"), [(4, StatusCode.IMAGE_TOO_DARK), (252, StatusCode.IMAGE_TOO_BRIGHT)])
def test_where_no_face_can_be_seen_the_light_is_to_blame(level: int, code: StatusCode) -> None:
    events = shown(still(np.full((480, 640, 3), level, np.uint8), 0.3), VitalsMonitor())
    assert codes_of(events) == [code]


def test_status_follows_what_the_person_does(face: Pixels) -> None:
    empty = np.full_like(face, 128)
    dark = (face * 0.2).astype(np.uint8)
    two = np.hstack([face[:, 120:460], face[:, 120:460]])[:, 20:660]
    monitor = VitalsMonitor()
    told: list[int] = []
    for n, scene in enumerate((face, two, face, dark, face, empty)):
        told += codes_of(shown(still(scene, 4.0, start_s=4.0 * n), monitor))
    assert told == [0, 2, 0, 5, 0, 1]


@pytest.mark.parametrize(
    ("code", "scale", "right", "down"),
    [
        (StatusCode.FACE_NOT_CENTERED, 1.0, 210, 0),
        (StatusCode.FACE_TOO_BIG_OR_TOO_SMALL, 0.36, 0, 60),
        (StatusCode.FACE_TOO_BIG_OR_TOO_SMALL, 1.9, -290, -120),
        (StatusCode.CHEST_TOO_FAR_OR_NOT_ENOUGH_SHOWING, 1.0, 0, 130),
    ],
)
def test_place_in_the_picture(face: Pixels, code: StatusCode, scale: float, right: float, down: float) -> None:
    move = np.array([[scale, 0, right], [0, scale, down]], np.float32)
    moved = cast("Pixels", cv2.warpAffine(face, move, (640, 480), borderMode=cv2.BORDER_REPLICATE))
    assert codes_of(shown(still(moved, 1.0), VitalsMonitor())) == [code]


def test_with_a_second_face_nothing_is_told(face: Pixels) -> None:
    monitor = VitalsMonitor()
    two = np.hstack([face[:, 120:460], face[:, 120:460]])[:, 20:660]
    events = shown(still(two, 14.0), monitor)
    assert codes_of(events)[-1] == StatusCode.MORE_THAN_ONE_FACE_FOUND
    assert not core_of(events)


def test_a_second_face_ends_values_at_once(pictures: list[Picture]) -> None:
    monitor, alone = VitalsMonitor(), 13 * 12
    assert core_of(shown(iter(pictures[:alone]), monitor))
    events: list[VitalsEvent] = []
    for picture in pictures[alone : alone + 5 * 12]:
        pixels = picture_pixels(picture).copy()
        pixels[:, 440:] = pixels[:, 225:425]  # the person's twin
        events += monitor.take(
            picture_of(pixels, index=picture.index, monotonic_s=picture.monotonic_s, epoch_us=picture.epoch_us)
        )
    assert codes_of(events) == [StatusCode.MORE_THAN_ONE_FACE_FOUND]
    told = next(n for n, event in enumerate(events) if isinstance(event, StatusChange))
    assert not core_of(events[told:])


def test_bad_pictures_are_counted_and_the_next_one_is_taken(face: Pixels) -> None:
    monitor = VitalsMonitor()
    good = list(still(face, 0.3))
    broken = msgspec.structs.replace(to_format(good[1], "jpeg"), forms={})
    torn = msgspec.structs.replace(broken, data=bytes(broken.data[:500]))
    wrong = msgspec.structs.replace(good[1], data=good[1].data[:99])
    assert monitor.take(good[0])
    assert monitor.take(torn, START_US + 50_000) == monitor.take(wrong, START_US + 60_000) == []
    assert monitor.malformed == 2
    assert monitor.take(good[0]) == []
    assert monitor.out_of_order == 1
    assert monitor.take(good[2])


def test_form_and_size_of_the_picture_do_not_matter(face: Pixels) -> None:
    large = cast("Pixels", cv2.resize(face, (1920, 1440), interpolation=cv2.INTER_CUBIC))
    as_jpeg = [to_format(picture, "jpeg") for picture in still(large, 0.5)]
    fresh = [msgspec.structs.replace(picture, forms={}) for picture in as_jpeg]
    gray = cast("Pixels", cv2.cvtColor(face, cv2.COLOR_BGR2GRAY))
    for pictures in (still(face, 0.5), still(large, 0.5), iter(fresh), still(gray, 0.5)):
        events = shown(pictures, VitalsMonitor())
        assert codes_of(events) == [StatusCode.OK]
        assert any(isinstance(event, EdgeMetrics) for event in events)


def test_tiny_and_odd_pictures_are_looked_at_without_complaint() -> None:
    for shape in ((1, 1, 3), (7, 700, 3), (33, 47), (100, 3, 3)):
        monitor = VitalsMonitor()
        events = shown(still(np.full(shape, 99, np.uint8), 0.3), monitor)
        assert codes_of(events) == [StatusCode.NO_FACES_FOUND]


def test_what_is_switched_off_is_not_told(pictures: list[Picture]) -> None:
    first = pictures[: 12 * 13]
    only_pulse = shown(iter(first), VitalsMonitor(VitalsConfig(breathing=False)))
    assert core_of(only_pulse)
    assert not any(isinstance(event, EdgeMetrics) for event in only_pulse)
    only_breathing = shown(iter(first), VitalsMonitor(VitalsConfig(pulse=False)))
    assert not core_of(only_breathing)
    assert any(isinstance(event, EdgeMetrics) for event in only_breathing)


def test_clock_that_steps_back_begins_everything_anew(face: Pixels) -> None:
    monitor = VitalsMonitor()
    shown(still(face, 0.5, start_s=3600.0), monitor)
    assert codes_of(shown(still(face, 0.5), monitor)) == [StatusCode.OK]
    assert monitor.out_of_order == 0


def test_camera_that_changes_its_size_is_looked_at_anew(face: Pixels) -> None:
    monitor = VitalsMonitor()
    shown(still(face, 0.5), monitor)
    half = cast("Pixels", cv2.resize(face, (320, 240), interpolation=cv2.INTER_AREA))
    shown(still(half, 0.5, start_s=0.5), monitor)
    found = monitor.measurement.faces.face
    assert found
    assert found.size == pytest.approx(90, abs=8)
    assert monitor.status.code == StatusCode.OK


def test_a_gap_of_hours_is_only_a_gap(face: Pixels) -> None:
    monitor = VitalsMonitor()
    shown(still(face, 0.5), monitor)
    assert any(isinstance(event, EdgeMetrics) for event in shown(still(face, 0.5, start_s=9e5), monitor))


def test_slow_camera_is_told(face: Pixels) -> None:
    assert codes_of(shown(still(face, 8.0, fps=4.0), VitalsMonitor())) == [StatusCode.OK, StatusCode.FRAME_RATE_LOW]


def test_a_picture_is_not_changed(face: Pixels) -> None:
    picture = next(still(face, 1.0))
    before = picture_pixels(picture).copy()
    VitalsMonitor().take(picture)
    assert np.array_equal(picture_pixels(picture), before)
