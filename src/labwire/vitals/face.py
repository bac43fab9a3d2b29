"""Where the face is: found by a cascade of Haar features, followed from picture to picture by its own pattern.

Viola and Jones, "Rapid object detection using a boosted cascade of simple features" (CVPR 2001); the cascade is one
that OpenCV below 5 carries in its package (Lienhart), so nothing is ever fetched.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from labwire.errors import DeviceError, needs_extra
from labwire.vitals.frame import Frame
from labwire.vitals.patch_shift import PatchShift, Region

with needs_extra("camera"):
    import cv2

if TYPE_CHECKING:
    from labwire.picture import Pixels

_CASCADE: Final = "haarcascade_frontalface_alt2.xml"
_SEARCH_WIDTH_PX: Final = 240
_SMALLEST: Final = 0.11  # of the picture's height; smaller ones are not looked for
_SCALE_STEP: Final = 1.12
_NEIGHBOURS: Final = 4
_DIM: Final = 70.0  # grey level

_SEARCH_S: Final = 2.0  # the whole picture is searched for more faces
_SEARCH_NOW_S: Final = 0.1  # it was lost from one picture to the next
_SEARCH_SOON_S: Final = 0.3  # as long as there is no face, or there may be several
_CONFIRM_S: Final = 0.5  # the followed face is looked for where it should be
_LOST_S: Final = 2.0  # the cascade does not see it any more
_MARGIN: Final = 0.3
_LARGEST_ERROR: Final = 0.8  # of the pattern's contrast
_PULL: Final = 0.15  # how much of the difference to what the cascade says is taken over
_JUMP: Final = 0.25  # of the face's size: further away, it is another place
_KNOWN_S: Final = 1.0
_KEEP_PATTERN_S: Final = 1.0


class Face(NamedTuple):
    """Where the face is, in pixels of the frame's colours. The square goes from the brows to the chin or so."""

    centre_x: float
    centre_y: float
    size: float


class FaceWatch:
    """Follows the face of the one person in front of the camera, and counts faces."""

    def __init__(self) -> None:
        self.face: Face | None = None
        self.count = 0
        """How many faces were in the picture when it was last searched."""
        self.place = 0
        """Rises when the face is not known to be the one that was followed before."""
        self.moved_x = self.moved_y = 0.0
        """How far the face has moved right and down, pixels, as its pattern tells: `face` is pulled along by the
        cascade's boxes, which jitter."""
        self._cascade = _load_cascade()
        self._pattern: PatchShift | None = None
        self._anchor: Face | None = None
        self._pattern_s = self._seen_s = self._searched_s = self._confirmed_s = float("-inf")
        self._suspect = False
        self._size = 0, 0
        self._last: tuple[Face, float] | None = None

    def look(self, frame: Frame, time_s: float) -> None:
        """Take a picture at a time; `face` and `count` tell what is known after it."""
        if (frame.width, frame.height) != self._size:  # another camera, or another mode of it
            self._size = frame.width, frame.height
            self.face, self._pattern, self._anchor, self._searched_s = None, None, None, float("-inf")
            self._last = None
        wait_s = _SEARCH_SOON_S if self.face is None or self._suspect else _SEARCH_S
        if self.face and not self._follow(frame):
            self.face, wait_s = None, _SEARCH_NOW_S  # it moved too fast: look everywhere
        if time_s - self._searched_s >= wait_s:
            self._searched_s = time_s
            self._search(frame, time_s)
        elif self.face and time_s - self._confirmed_s >= _CONFIRM_S:
            self._confirm(frame, time_s)
        if self.face and (self._pattern is None or time_s - self._pattern_s >= _KEEP_PATTERN_S):
            self._take_pattern(frame, time_s)
        if self.face:
            self._last = self.face, time_s

    def _follow(self, frame: Frame) -> bool:
        assert self.face
        if self._pattern is None or self._anchor is None:
            return True
        guess_x = (self.face.centre_x - self._anchor.centre_x) / frame.scale
        guess_y = (self.face.centre_y - self._anchor.centre_y) / frame.scale
        shift = self._pattern.measure(frame.gray, guess_x, guess_y)
        if shift is None or shift.error > _LARGEST_ERROR:
            return False
        x = self._anchor.centre_x + shift.x * frame.scale
        y = self._anchor.centre_y + shift.y * frame.scale
        self._move(x - self.face.centre_x, y - self.face.centre_y)
        self.face = Face(x, y, self.face.size)
        return 0 <= x < frame.width and 0 <= y < frame.height

    def _take_pattern(self, frame: Frame, time_s: float) -> None:
        assert self.face
        side = max(8, round(self.face.size / frame.scale))
        region = Region(self.face.centre_x / frame.scale, self.face.centre_y / frame.scale, side, side)
        self._pattern, self._anchor, self._pattern_s = PatchShift(frame.gray, region), self.face, time_s

    def _search(self, frame: Frame, time_s: float) -> None:
        found = self._detect(frame, (0, 0, frame.width, frame.height), _SMALLEST * frame.height, frame.height)
        several = len(found) > 1
        # One search that sees two faces may be wrong: the next one, very soon, decides.
        self.count = len(found) if several and self._suspect else min(len(found), 1) or (1 if self.face else 0)
        self._suspect = several
        if found:
            self._seen(found, time_s)
        else:
            self._unseen(time_s)

    def _confirm(self, frame: Frame, time_s: float) -> None:
        assert self.face
        self._confirmed_s = time_s
        x, y, size = self.face
        reach = size * (0.5 + _MARGIN)
        box = (x - reach, y - reach, x + reach, y + reach)
        found = self._detect(frame, box, 0.75 * size, 1.35 * size)
        if found:
            self._seen(found, time_s)
        else:
            self._unseen(time_s)

    def _seen(self, found: list[Face], time_s: float) -> None:
        self._seen_s = self._confirmed_s = time_s
        old = self.face
        new = max(found, key=lambda face: face.size) if old is None else min(found, key=lambda face: _apart(face, old))
        if old is None or _apart(new, old) > _JUMP * old.size or abs(new.size - old.size) > _JUMP * old.size:
            self.face, self._pattern = new, None
            if self._last and self._is_known(new, time_s):
                self._move(new.centre_x - self._last[0].centre_x, new.centre_y - self._last[0].centre_y)
            else:
                self.place += 1
            return
        # The cascade's boxes jitter by some percent; the pattern does not.
        pulled = Face(*(was + _PULL * (now - was) for was, now in zip(old, new, strict=True)))
        self.face = pulled
        if self._anchor:
            self._anchor = Face(
                self._anchor.centre_x + pulled.centre_x - old.centre_x,
                self._anchor.centre_y + pulled.centre_y - old.centre_y,
                pulled.size,
            )

    def _move(self, right: float, down: float) -> None:
        self.moved_x, self.moved_y = self.moved_x + right, self.moved_y + down

    def _is_known(self, face: Face, time_s: float) -> bool:
        """Tell whether a face may be the one that was followed a moment ago and moved fast."""
        if self._last is None or time_s - self._last[1] > _KNOWN_S:
            return False
        last = self._last[0]
        return _apart(face, last) < last.size and abs(face.size - last.size) < _JUMP * last.size

    def _unseen(self, time_s: float) -> None:
        if time_s - self._seen_s >= _LOST_S:
            self.face, self._pattern, self.count = None, None, 0

    def _detect(
        self, frame: Frame, box: tuple[float, float, float, float], smallest: float, largest: float
    ) -> list[Face]:
        gray, unit = frame.gray, frame.scale
        left, top = max(0, int(box[0] / unit)), max(0, int(box[1] / unit))
        part: Pixels = gray[top : max(0, int(box[3] / unit)), left : max(0, int(box[2] / unit))]
        if min(part.shape) < 24:
            return []
        factor = min(1.0, _SEARCH_WIDTH_PX / gray.shape[1])
        shown = cv2.resize(part, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        level = float(shown.mean())
        if level < _DIM:  # the cascade was taught by daylight
            shown = cv2.convertScaleAbs(shown, alpha=_DIM / max(level, 4.0))
        per_px = unit / factor
        least, most = max(20, int(smallest / per_px)), max(24, int(largest / per_px))
        found = self._cascade.detectMultiScale(
            shown, _SCALE_STEP, _NEIGHBOURS, minSize=(least, least), maxSize=(most, most)
        )
        return [
            Face(left * unit + (x + w / 2) * per_px, top * unit + (y + h / 2) * per_px, float(h) * per_px)
            for x, y, w, h in found
        ]


def _apart(one: Face, other: Face) -> float:
    return max(abs(one.centre_x - other.centre_x), abs(one.centre_y - other.centre_y))


def _load_cascade() -> cv2.CascadeClassifier:
    path = Path(cv2.__file__).parent / "data" / _CASCADE
    cascade = cv2.CascadeClassifier(str(path)) if hasattr(cv2, "CascadeClassifier") else None
    if cascade is None or cascade.empty():
        raise DeviceError(
            f"OpenCV {cv2.__version__} carries no face cascade ({path}): install opencv-python-headless below 5",
            path=str(path),
        )
    return cascade
