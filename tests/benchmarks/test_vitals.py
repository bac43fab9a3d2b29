"""The benchmark of vital signs runs from end to end, and its films show what they say they show."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.vitals.film import Film
from benchmarks.vitals.report import calibration, mean_error
from benchmarks.vitals.run import Value
from benchmarks.vitals.scenario import Scenario, scenarios, without_pulse
from benchmarks.vitals.subject import NoPhotoError, photo_path, subject_of
from labwire.picture import Picture, picture_pixels
from tests.benchmarks.quick import quick_run, run_benchmark

try:
    photo_path("hopper")
except NoPhotoError as missing:
    pytest.skip(f"{missing}: pip install 'labwire[demo]'", allow_module_level=True)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    return quick_run("vitals", tmp_path_factory.mktemp("benchmark"), "--seed", "3")


@pytest.mark.parametrize(
    "title",
    [
        "pulse, beats per minute",
        "breathing, breaths per minute",
        "no pulse in it",
        "told values",
        "confidence of a pulse",
        "CPU ms per picture",
        "physiology_server, Motion JPEG",
        "heart rate variability",
        "arousal proxy",
    ],
)
def test_every_table_is_there(text: str, title: str) -> None:
    assert re.search(rf"^{title}", text, re.MULTILINE)


def test_pulse_of_the_first_film_keeps_its_aim(text: str) -> None:
    assert re.search(r"^as a webcam sees it +100 .* kept$", text, re.MULTILINE)


def test_photo_that_is_not_there_is_told(tmp_path: Path) -> None:
    done = run_benchmark("vitals", "--photo", str(tmp_path / "nobody.jpg"))
    assert done.returncode == 2
    assert "nobody.jpg" in done.stderr


def test_films_differ_in_their_seeds_and_cover_what_they_promise() -> None:
    films = [*scenarios("hopper", 4, 10), *without_pulse("hopper", 4, 10)]
    assert len({film.seed for film in films}) == len({film.name for film in films}) == len(films)
    assert {film.codec for film in films} == {"raw", "mjpeg", "h264"}
    assert min(film.fps for film in films) == 10
    assert max(film.bpm for film in films) == 150


def test_the_same_seed_gives_the_same_film() -> None:
    def first(seed: int) -> Picture:
        return next(Film(Scenario(name="x", seconds=1, seed=seed)).pictures())

    assert first(1).data == first(1).data
    assert first(1).data != first(2).data


def test_skin_has_the_pulse_that_the_film_promises() -> None:
    film = Film(Scenario(name="x", seconds=4, noise=0.5, motion_px=0, drift=0, amplitude=0.02, breath_px=0))
    skin = film.subject.skin > 0.9
    green = [picture_pixels(picture)[skin][:, 1].mean() for picture in film.pictures()]
    truth = np.interp(film.capture_s, film._grid_s, film.pulse_wave)
    assert np.corrcoef(green, truth)[0, 1] > 0.98
    assert np.ptp(green) / np.mean(green) == pytest.approx(np.ptp(truth), rel=0.1)


def test_truth_is_the_mean_over_the_window() -> None:
    film = Film(Scenario(name="x", seconds=40, bpm=66, breaths=14))
    beats = film.beat_times_s()
    assert film.pulse_bpm(40, 12) == pytest.approx(60 * np.sum((beats > 28) & (beats <= 40)) / 12, abs=5)
    assert film.pulse_bpm(40, 38) == pytest.approx(66, abs=2)
    assert film.breaths_per_min(40, 38) == pytest.approx(14, abs=1)


def test_lost_pictures_and_shaky_clocks_keep_their_time() -> None:
    film = Film(Scenario(name="x", seconds=20, dropped=0.3, jitter_s=0.02))
    assert len(film.capture_s) == pytest.approx(420, abs=60)
    assert (np.diff(film.capture_s) > 0).all()


def test_a_head_rocks_or_nods_as_the_scenario_says() -> None:
    rocking = Film(Scenario(name="x", seconds=58, rocks=20, motion_px=4))
    for track in (rocking._head_x, rocking._head_y):
        assert np.argmax(np.abs(np.fft.rfft(track - track.mean()))) == pytest.approx(20, abs=1)
    nodding = Film(Scenario(name="x", seconds=30, nod=0.5, motion_px=0))
    assert nodding._head_y == pytest.approx(-0.5 * nodding.chest_px)


def test_a_photo_without_a_face_is_no_subject(tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "wall.png"), np.full((300, 300, 3), 120, np.uint8))
    with pytest.raises(NoPhotoError, match="0 faces"):
        subject_of(str(tmp_path / "wall.png"))


def test_errors_and_calibration_of_known_values() -> None:
    values = [Value(0, 70, 0.9, 71), Value(0, 70, 0.95, 80), Value(0, 70, 0.2, float("inf"))]
    assert mean_error(values) == pytest.approx(5.5)
    assert calibration(values, 3.0) == [
        (pytest.approx(0.2), 0.0, 1),
        (pytest.approx(0.925), 0.5, 2),
    ]
