"""The status: what keeps vital signs from being measured, and what a person can do about it."""

from __future__ import annotations

import msgspec

from labwire.vitals.metrics import StatusCode

MIN_FPS = 9.0
"""Pictures per second; at fewer, a fast pulse and its overtone are not told apart."""

_SMALLEST, _BIGGEST = 0.14, 0.62  # face height over picture height
_SMALLEST_PX = 60
_OFF_CENTRE_X, _TOP, _BOTTOM = 0.27, 0.12, 0.68  # of the picture
_DARK, _BRIGHT = 38.0, 225.0  # mean of a face's grey levels
_DARK_ROOM, _WHITE_ROOM = 25.0, 240.0  # of a picture without a face: it may be there
_MOST_SATURATED = 0.12
_CHEST_BEGINS, _CHEST_NEEDED = 1.35, 0.35  # face heights below the face's top
_SETTLE_S = 0.7

HINTS: dict[StatusCode, str] = {
    StatusCode.OK: "OK",
    StatusCode.NO_FACES_FOUND: "No face found: sit in front of the camera, face it, and uncover your face",
    StatusCode.MORE_THAN_ONE_FACE_FOUND: "More than one face found: only one person may be in the picture",
    StatusCode.FACE_NOT_CENTERED: "Face not centered: move to the middle of the picture, or turn the camera to you",
    StatusCode.FACE_TOO_BIG_OR_TOO_SMALL: "Face too big or too small: {more}",
    StatusCode.IMAGE_TOO_DARK: "Image too dark: turn on a light in front of you, or raise the camera's exposure",
    StatusCode.IMAGE_TOO_BRIGHT: "Image too bright: less light on your face, or lower the camera's exposure",
    StatusCode.CHEST_TOO_FAR_OR_NOT_ENOUGH_SHOWING: (
        "Chest not enough in the picture: move back, or tilt the camera down, until your upper chest shows"
    ),
    StatusCode.PROCESSING_NOT_STARTED: "Processing not started: no picture has come yet",
    StatusCode.FRAME_RATE_LOW: "Frame rate low: {more}",
}


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """What a picture shows, as far as the status is concerned."""

    width: int
    """Pixels of the picture."""
    height: int
    """Pixels of the picture."""
    faces: int
    """How many faces are in it."""
    centre_x: float = 0.0
    """Of the face, pixels."""
    centre_y: float = 0.0
    """Of the face, pixels."""
    size: float = 0.0
    """Height of the face, chin to forehead, pixels."""
    brightness: float = 128.0
    """Mean of the grey levels of the face, or of the picture if there is none, 0 to 255."""
    saturated: float = 0.0
    """Share of the face's pixels that are white, 0 to 1."""
    fps: float | None = None
    """Pictures per second, None if not known yet."""


def judge(scene: Scene) -> tuple[StatusCode, str]:
    """Return the code of what is worst about a scene, and the hint that goes with it."""
    code, more = _worst(scene)
    return code, HINTS[code].format(more=more)


def _worst(scene: Scene) -> tuple[StatusCode, str]:
    if not scene.faces:
        if scene.brightness < _DARK_ROOM:
            return StatusCode.IMAGE_TOO_DARK, ""
        return (StatusCode.IMAGE_TOO_BRIGHT if scene.brightness > _WHITE_ROOM else StatusCode.NO_FACES_FOUND), ""
    if scene.faces > 1:
        return StatusCode.MORE_THAN_ONE_FACE_FOUND, ""
    share = scene.size / scene.height
    if share > _BIGGEST:
        return StatusCode.FACE_TOO_BIG_OR_TOO_SMALL, "move away from the camera"
    if share < _SMALLEST or scene.size < _SMALLEST_PX:
        return StatusCode.FACE_TOO_BIG_OR_TOO_SMALL, "move closer to the camera"
    if abs(scene.centre_x / scene.width - 0.5) > _OFF_CENTRE_X or not _TOP < scene.centre_y / scene.height < _BOTTOM:
        return StatusCode.FACE_NOT_CENTERED, ""
    return _light_and_chest(scene)


def _light_and_chest(scene: Scene) -> tuple[StatusCode, str]:
    if scene.brightness < _DARK:
        return StatusCode.IMAGE_TOO_DARK, ""
    if scene.brightness > _BRIGHT or scene.saturated > _MOST_SATURATED:
        return StatusCode.IMAGE_TOO_BRIGHT, ""
    top = scene.centre_y - scene.size / 2
    if scene.height - top < (_CHEST_BEGINS + _CHEST_NEEDED) * scene.size:
        return StatusCode.CHEST_TOO_FAR_OR_NOT_ENOUGH_SHOWING, ""
    if scene.fps is not None and scene.fps < MIN_FPS:
        return StatusCode.FRAME_RATE_LOW, f"{scene.fps:.1f} pictures per second, at least {MIN_FPS:g} are needed"
    return StatusCode.OK, ""


class StatusTrack:
    """The status over time: a new one counts when it has lasted, so that a flicker is no news."""

    def __init__(self) -> None:
        self.code = StatusCode.PROCESSING_NOT_STARTED
        self.message = HINTS[self.code]
        self._candidate: StatusCode | None = None
        self._since_s = 0.0

    def update(self, scene: Scene, time_s: float) -> bool:
        """Take what a picture shows at a time; True if the status is another one now."""
        code, message = judge(scene)
        if code == self.code:
            self._candidate = None
            return False
        if code != self._candidate:
            self._candidate, self._since_s = code, time_s
        if self.code != StatusCode.PROCESSING_NOT_STARTED and time_s - self._since_s < _SETTLE_S:
            return False
        self.code, self.message, self._candidate = code, message, None
        return True
