"""What the fields of image messages are made of.

The name of an attribute is the name on the wire; where the two differ, ``field(name=...)`` says so. So each name stands
in one place, and one that turns out different is corrected in one line.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, NamedTuple, TypeAlias, TypeVar

import msgspec
from msgspec import field

from labwire.errors import UsageError
from labwire.wire.cbor_values import Date

DEFAULT_CHANNEL: Final = "default"
"""What Jungfraujoch calls its only channel; DECTRIS' are ``threshold_1`` and so on."""

TIME_BASE_HZ: Final = 1_000_000_000
"""Denominator of the times that we send; DECTRIS sends 50 MHz, and receivers take any."""

_T = TypeVar("_T")

Uint: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
Uncertain: TypeAlias = Annotated[_T | None, msgspec.Meta(extra={"uncertain": True})]
"""A field whose name or type no published source confirms: never needed, never relied upon."""

Vector3: TypeAlias = tuple[float, float, float]
Extra: TypeAlias = dict[Any, Any]
"""What came under other names, or under these with values of another type; it is sent on as it came."""


class Rational(NamedTuple):
    """A time in seconds as a fraction of two unsigned integers, not in lowest terms."""

    numerator: Uint
    denominator: Uint

    @property
    def seconds(self) -> float:
        """The fraction's value; NaN if the denominator is 0."""
        return self.numerator / self.denominator if self.denominator else float("nan")


def rational_of_ns(time_ns: int) -> Rational:
    """Return a time of whole nanoseconds as seconds.

    Raises:
        UsageError: It is negative.
    """
    if time_ns < 0:
        raise UsageError(f"a time in an image message is not negative: {time_ns} ns")
    return Rational(time_ns * TIME_BASE_HZ // 1_000_000_000, TIME_BASE_HZ)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def date_of_epoch_us(epoch_us: int) -> Date:
    """Return a moment, in microseconds since 1970-01-01 UTC, as a date.

    >>> date_of_epoch_us(1_700_000_000_250_000)
    '2023-11-14T22:13:20.250000+00:00'
    """
    return Date((_EPOCH + timedelta(microseconds=epoch_us)).isoformat(timespec="microseconds"))


class GoniometerAxis(msgspec.Struct, frozen=True, kw_only=True):
    """One axis of the goniometer."""

    start: float | None = None
    """Angle of the first image, degrees."""
    increment: float | None = None
    """Rotation during each image, degrees."""
    axis: Uncertain[Vector3] = None
    """Direction of the axis."""
    helical_step: Uncertain[Vector3] = None
    """Translation per image, m."""
    screening_wedge: Uncertain[float] = None
    """Degrees between the images of a screening."""
    extra: Extra = {}


class GridScan(msgspec.Struct, frozen=True, kw_only=True):
    """A raster scan."""

    n_fast: Uncertain[Uint] = None
    n_slow: Uncertain[Uint] = None
    step_x_axis: Uncertain[float] = None
    """m"""
    step_y_axis: Uncertain[float] = None
    """m"""
    vertical_scan: Uncertain[bool] = None
    snake_scan: Uncertain[bool] = None
    extra: Extra = {}


class UnitCell(msgspec.Struct, frozen=True, kw_only=True):
    """A crystal's unit cell: lengths in Å, angles in degrees."""

    a: float
    b: float
    c: float
    alpha: float
    beta: float
    gamma: float
    extra: Extra = {}


class Spot(msgspec.Struct, frozen=True, kw_only=True):
    """A spot that the detector found."""

    x: float
    """Pixel."""
    y: float
    """Pixel."""
    intensity: float | None = field(default=None, name="I")
    """Photons."""
    indexed: bool | None = None
    extra: Extra = {}
    """Jungfraujoch may add ``maxc``, ``ice_ring``, ``h``, ``k``, ``l`` and others."""


class RoiIntegral(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over a region of interest."""

    sum: int | float
    """Photons."""
    sum_square: Uncertain[int | float] = None
    max: Uncertain[int | float] = None
    pixels: Uncertain[Uint] = None
    x_weighted: Uncertain[int | float] = None
    y_weighted: Uncertain[int | float] = None
    extra: Extra = {}
