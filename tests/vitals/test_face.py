"""A real face: found, followed, counted; its skin and its chest."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.vitals.subject import NoPhotoError, Subject, photo_path, subject_of
from labwire.errors import DeviceError
from labwire.picture import picture_of
from labwire.vitals import face as face_module
from labwire.vitals.chest import BLOCKS, ChestMotion
from labwire.vitals.face import Face, FaceWatch
from labwire.vitals.frame import Frame, frame_of
from labwire.vitals.skin import TRACES, SkinColour

Pixels = NDArray[np.uint8]

try:
    photo_path("hopper")
except NoPhotoError as missing:
    pytest.skip(f"{missing}: pip install 'labwire[demo]'", allow_module_level=True)


@pytest.fixture(scope="module")
def subject() -> Subject:
    return subject_of("hopper")


def frame(pixels: Pixels) -> Frame:
    return frame_of(picture_of(pixels, index=0, monotonic_s=0.0, epoch_us=0))


def moved(subject: Subject, x: float, y: float, weight: NDArray[np.float32] | float = 1.0, gain: float = 1.0) -> Frame:
    down, right = np.mgrid[0:480, 0:640].astype(np.float32)
    by_x, by_y = (right - x * weight).astype(np.float32), (down - y * weight).astype(np.float32)
    pixels = cv2.remap(subject.photo * np.float32(gain), by_x, by_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return frame(cast("Pixels", np.clip(np.rint(pixels), 0, 255).astype(np.uint8)))


def test_face_is_followed_to_a_fraction_of_a_pixel(subject: Subject) -> None:
    watch = FaceWatch()
    watch.look(moved(subject, 0, 0), 0.0)
    start = watch.face
    assert start
    for n in range(1, 14):  # before the cascade is asked again
        x, y = 12 * np.sin(n / 5), 6 * np.sin(n / 3)
        watch.look(moved(subject, x, y), n / 30)
        assert watch.face
        assert watch.face.centre_x - start.centre_x == pytest.approx(x, abs=0.3)
        assert watch.face.centre_y - start.centre_y == pytest.approx(y, abs=0.3)


def test_face_that_leaves_is_gone_and_one_that_comes_is_another(subject: Subject) -> None:
    watch = FaceWatch()
    empty = frame(np.full((480, 640, 3), 120, np.uint8))
    watch.look(moved(subject, 0, 0), 0.0)
    place = watch.place
    for n in range(1, 40):
        watch.look(empty, n / 10)
    assert watch.face is None
    assert watch.count == 0
    for n in range(40, 50):
        watch.look(moved(subject, 40, 0), n / 10)
    assert watch.face
    assert watch.count == 1
    assert watch.place > place


def test_jump_is_caught_up_with(subject: Subject) -> None:
    watch = FaceWatch()
    watch.look(moved(subject, 0, 0), 0.0)
    assert watch.face
    before, place = watch.face.centre_x, watch.place
    for n in range(1, 8):
        watch.look(moved(subject, 90, 0), n / 10)
    assert watch.face
    assert watch.face.centre_x - before == pytest.approx(90, abs=6)
    assert watch.place == place  # nobody else can have come in so fast


def test_motion_is_known_without_the_jitter_of_the_cascade(subject: Subject) -> None:
    watch, turns = FaceWatch(), np.linspace(0, 2, 60)  # 4 s: searched, confirmed, a new pattern
    away: list[tuple[float, float]] = []
    for n, turn in enumerate(turns):
        watch.look(moved(subject, 6 * np.sin(2 * np.pi * turn), 4 * np.sin(4 * np.pi * turn)), n / 15)
        away.append((watch.moved_x, watch.moved_y))
    truth = np.column_stack([6 * np.sin(2 * np.pi * turns), 4 * np.sin(4 * np.pi * turns)])
    assert np.abs(np.array(away) - truth).max() < 0.6


def test_a_jump_counts_as_motion_and_somebody_else_does_not(subject: Subject) -> None:
    watch = FaceWatch()
    for n, x in enumerate([0, 90, 90, 90]):
        watch.look(moved(subject, x, 0), n / 10)
    assert watch.moved_x == pytest.approx(90, abs=6)
    watch.look(moved(subject, 0, 0), 10.0)
    assert watch.moved_x == pytest.approx(90, abs=6)


def test_opencv_without_the_cascade_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(face_module.cv2, "CascadeClassifier")
    with pytest.raises(DeviceError, match="below 5"):
        FaceWatch()


def test_skin_is_the_colour_of_the_face_and_of_nothing_else(subject: Subject) -> None:
    skin = SkinColour()
    colours = skin.look(moved(subject, 0, 0), subject.face, 0.0)
    assert colours is not None
    assert colours.shape == (TRACES, 3)
    red, green, blue = colours[0]
    assert red > green > blue
    inside = subject.skin > 0.9
    assert colours[0][::-1] == pytest.approx(subject.photo[inside].mean(axis=0), rel=0.12)


def test_colour_hardly_changes_when_the_head_moves(subject: Subject) -> None:
    """Ten pixels of motion, followed to half a pixel, change the mean by less than a pulse would."""
    skin = SkinColour()
    still = skin.look(moved(subject, 0, 0), subject.face, 0.0)
    there = Face(subject.face.centre_x + 10.25, subject.face.centre_y - 4.75, subject.face.size)
    away = skin.look(moved(subject, 10, -5), there, 0.1)
    assert still is not None
    assert away is not None
    assert away[0] == pytest.approx(still[0], rel=0.005)


def test_a_gray_wall_has_no_skin(subject: Subject) -> None:
    gray = cast("Pixels", cv2.cvtColor(subject.photo.astype(np.uint8), cv2.COLOR_BGR2GRAY))
    assert SkinColour().look(frame(gray), subject.face, 0.0) is None


def test_chest_that_rises_is_measured_in_percent_of_the_face(subject: Subject) -> None:
    chest = ChestMotion()
    assert chest.look(moved(subject, 0, 0), subject.face, 0.0) is not None
    up = chest.look(moved(subject, 0, -1.5, subject.chest, gain=0.95), subject.face, 0.1)
    assert up is not None
    assert up.shape == (2, BLOCKS)
    risen = (up * chest.weights).sum() / chest.weights.sum()
    assert risen == pytest.approx(100 * 1.5 / subject.face.size, rel=0.25)


def test_head_alone_does_not_move_the_chest(subject: Subject) -> None:
    chest = ChestMotion()
    chest.look(moved(subject, 0, 0), subject.face, 0.0)
    up = chest.look(moved(subject, 0, -8, subject.head), subject.face, 0.1)
    assert up is not None
    assert abs((up * chest.weights).sum() / 2) < 0.15


def test_a_chest_below_the_picture_is_none(subject: Subject) -> None:
    low = Face(320, 430, 170)
    assert ChestMotion().look(moved(subject, 0, 0), low, 0.0) is None
