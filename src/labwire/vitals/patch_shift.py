"""How far a patch of a picture has moved, to a small fraction of a pixel.

Baker and Matthews, "Lucas-Kanade 20 years on: a unifying framework" (IJCV 2004): the inverse compositional form, in
which everything but one product is computed once for the reference. Brightness and contrast are fitted along, so that
light that drifts does not look like motion. A row of blocks is measured with one product.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from labwire.errors import needs_extra

with needs_extra("camera"):
    import cv2
    import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from labwire.picture import Pixels

    Floats = NDArray[np.float32]

_ITERATIONS: Final = 4
_ENOUGH_PX: Final = 0.02
_REACH_PX: Final = 2.0  # a step of more than this says that the patch is not what it was
_RIDGE: Final = 1e-3


class Region(NamedTuple):
    """A rectangle, in pixels of the small grey picture; the centre may stand between pixels."""

    centre_x: float
    centre_y: float
    width: int
    height: int


class Shift(NamedTuple):
    """How far a patch has moved from where it was at the reference."""

    x: float
    """To the right, pixels."""
    y: float
    """Down, pixels."""
    error: float
    """What remains unlike the reference: 0 = nothing, 1 = as much as the patch has contrast."""


class PatchShift:
    """Measures how far a patch has moved since a reference picture.

    Args:
        gray: The reference picture, (height, width), uint8.
        region: Where the patch is in it.
        blocks: The patch is cut into this many blocks side by side, each measured on its own.
    """

    def __init__(self, gray: Pixels, region: Region, blocks: int = 1) -> None:
        width = max(4, region.width // blocks) * blocks
        self.region = Region(region.centre_x, region.centre_y, width, max(4, region.height))
        self._blocks = blocks
        wide = self._crop(gray, 0.0, 0.0, margin=1)
        right, down = (wide[1:-1, 2:] - wide[1:-1, :-2]) / 2, (wide[2:, 1:-1] - wide[:-2, 1:-1]) / 2
        self._reference = self._cut(wide[1:-1, 1:-1])
        contrast = self._reference - self._reference.mean(axis=1, keepdims=True)
        columns = np.stack([self._cut(right), self._cut(down), contrast, np.ones_like(contrast)], axis=2)
        normal = columns.transpose(0, 2, 1) @ columns
        # A block without structure in one direction moves little in it, instead of anywhere.
        normal += _RIDGE * contrast.shape[1] * np.diag([1.0, 1.0, 1.0, 0.0]).astype(np.float32)
        solved = cast("NDArray[Any]", np.linalg.solve(normal, columns.transpose(0, 2, 1)))
        self._solve: Floats = solved.astype(np.float32)
        self._contrast = np.sqrt((contrast**2).mean(axis=1)) + 1.0
        energy = (columns[:, :, 1] ** 2).sum(axis=1)
        self.weights: Floats = energy / max(float(energy.sum()), 1e-6)
        """How much each block has to tell about motion up and down; they add up to 1."""

    def measure(self, gray: Pixels, guess_x: float = 0.0, guess_y: float = 0.0) -> Shift | None:
        """Return how far the patch as a whole has moved; None if it cannot be found near the guess."""
        x, y = guess_x, guess_y
        error = 1.0
        for _ in range(_ITERATIONS):
            step, left = self._step(gray, x, y)
            error = float((left / self._contrast) @ self.weights)
            step_x, step_y = float(step[:, 0] @ self.weights), float(step[:, 1] @ self.weights)
            if not abs(step_x) + abs(step_y) < 2 * _REACH_PX:
                return None
            x, y = x + step_x, y + step_y
            if abs(step_x) + abs(step_y) < _ENOUGH_PX:
                break
        return Shift(x, y, error)

    def measure_blocks(self, gray: Pixels, guess_x: float, guess_y: float) -> Floats:
        """Return how far down each block has moved, (blocks,), pixels; good within about a pixel of the guess."""
        step, _ = self._step(gray, guess_x, guess_y)
        return guess_y + step[:, 1]

    def _step(self, gray: Pixels, x: float, y: float) -> tuple[Floats, Floats]:
        now = self._cut(self._crop(gray, x, y))
        difference = now - self._reference
        found = np.einsum("bpn,bn->bp", self._solve, difference)
        # Without the motion: brightness, contrast and what is left.
        left = np.sqrt(np.maximum((difference**2).mean(axis=1) - found[:, 3] ** 2, 0.0))
        return -found[:, :2], left

    def _crop(self, gray: Pixels, x: float, y: float, margin: int = 0) -> Floats:
        size = self.region.width + 2 * margin, self.region.height + 2 * margin
        centre = self.region.centre_x + x, self.region.centre_y + y
        return cast("Floats", cv2.getRectSubPix(gray, size, centre, patchType=cv2.CV_32F))

    def _cut(self, patch: NDArray[Any]) -> Floats:
        height, width = patch.shape
        blocks = patch.reshape(height, self._blocks, width // self._blocks).transpose(1, 0, 2)
        return np.ascontiguousarray(blocks, np.float32).reshape(self._blocks, -1)
