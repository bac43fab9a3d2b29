"""The status: which code for which scene, and when it counts."""

from __future__ import annotations

import msgspec
import pytest

from labwire.vitals.metrics import StatusCode
from labwire.vitals.status import HINTS, Scene, StatusTrack, judge

GOOD = Scene(width=640, height=480, faces=1, centre_x=320, centre_y=170, size=180, brightness=120, fps=30)


@pytest.mark.parametrize(
    ("code", "what"),
    [
        (StatusCode.OK, {}),
        (StatusCode.NO_FACES_FOUND, {"faces": 0}),
        (StatusCode.MORE_THAN_ONE_FACE_FOUND, {"faces": 2}),
        (StatusCode.FACE_NOT_CENTERED, {"centre_x": 560}),
        (StatusCode.FACE_NOT_CENTERED, {"centre_y": 400}),
        (StatusCode.FACE_TOO_BIG_OR_TOO_SMALL, {"size": 50}),
        (StatusCode.FACE_TOO_BIG_OR_TOO_SMALL, {"size": 320}),
        (StatusCode.IMAGE_TOO_DARK, {"brightness": 20}),
        (StatusCode.IMAGE_TOO_BRIGHT, {"brightness": 240}),
        (StatusCode.IMAGE_TOO_BRIGHT, {"saturated": 0.5}),
        (StatusCode.CHEST_TOO_FAR_OR_NOT_ENOUGH_SHOWING, {"centre_y": 290}),
        (StatusCode.FRAME_RATE_LOW, {"fps": 5.0}),
    ],
)
def test_what_is_wrong_has_its_code_and_a_hint(code: StatusCode, what: dict[str, float]) -> None:
    found, hint = judge(msgspec.structs.replace(GOOD, **what))
    assert found == code
    assert "{" not in hint
    assert hint == "OK" if code == StatusCode.OK else len(hint) > 20


def test_every_code_has_a_hint() -> None:
    assert set(HINTS) == set(StatusCode)


def test_hint_tells_in_which_direction_to_move() -> None:
    assert "closer" in judge(msgspec.structs.replace(GOOD, size=50))[1]
    assert "away" in judge(msgspec.structs.replace(GOOD, size=320))[1]


def test_first_status_counts_at_once() -> None:
    track = StatusTrack()
    assert track.code == StatusCode.PROCESSING_NOT_STARTED
    assert track.update(GOOD, 0.0)
    assert (track.code, track.message) == (StatusCode.OK, "OK")


def test_flicker_is_no_news_and_what_lasts_is() -> None:
    track = StatusTrack()
    track.update(GOOD, 0.0)
    nobody = msgspec.structs.replace(GOOD, faces=0)
    assert not track.update(nobody, 1.0)
    assert not track.update(GOOD, 1.3)
    assert not track.update(nobody, 1.6)
    assert not track.update(nobody, 2.0)
    assert track.update(nobody, 2.4)
    assert track.code == StatusCode.NO_FACES_FOUND
