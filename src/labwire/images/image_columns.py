"""What comes with each image, kept by column and written once, when the file is closed.

A data set that grows with each image costs more than the image. What no image brought is not written.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from labwire.images.hdf5_tree import is_link_name
from labwire.wire.image_array import Array, as_numpy
from labwire.wire.image_fields import Rational, RoiIntegral, Spot, UnitCell
from labwire.wire.image_message import ImageMessage

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_ROIS: Final = 64
"""Regions of interest that are kept; more names than these are ignored."""
MAX_BINS: Final = 65_536
STORED: Final = "detector/image_stored"
"""1 for each image that is in the file, 0 for each that is missing."""
_NAN: Final = float("nan")


class Filled(NamedTuple):
    """One column, ready to be written."""

    path: str
    """In ``/entry``."""
    values: NDArray[Any]
    """First dimension: images of the file."""
    units: str
    fill: float
    """What stands where an image is missing, or did not bring it."""


class _Rule(NamedTuple):
    field: str
    """Of `ImageMessage`."""
    path: str
    code: str
    """Of `array.array`: ``d`` float64, ``f`` float32, ``q`` int64, ``Q`` uint64, ``B`` uint8."""
    fill: float
    """What stands where an image did not bring it, or is missing."""
    units: str = ""


_F, _D = "f", "d"
_SCALARS: Final = (
    _Rule("real_time", "detector/real_time", _D, _NAN, "s"),
    _Rule("start_time", "detector/start_time", _D, _NAN, "s"),
    _Rule("stop_time", "detector/stop_time", _D, _NAN, "s"),
    _Rule("original_image_id", "detector/number", "q", -1),
    _Rule("storage_cell", "detector/storage_cell", "q", -1),
    _Rule("jf_info", "detector/jf_info", "Q", 0),
    _Rule("receiver_aq_dev_delay", "detector/rcv_delay", "q", -1),
    _Rule("receiver_free_send_buf", "detector/rcv_free_send_buffers", "q", -1),
    _Rule("image_collection_efficiency", "detector/data_collection_efficiency_image", _F, _NAN),
    _Rule("packets_expected", "detector/packets_expected", "q", -1),
    _Rule("packets_received", "detector/packets_received", "q", -1),
    _Rule("saturated_pixels", "image/saturated_pixels", "q", -1),
    _Rule("saturated_pixel_count", "image/saturated_pixel_count", "q", -1),
    _Rule("error_pixel_count", "image/error_pixel_count", "q", -1),
    _Rule("min_viable_pixel_value", "image/min_value", "q", 0),
    _Rule("max_viable_pixel_value", "image/max_value", "q", 0),
    _Rule("pixel_sum", "image/sum", "q", 0),
    _Rule("strong_pixel_count", "MX/strongPixels", "q", -1),
    _Rule("spot_count", "MX/spotCount", "q", -1),
    _Rule("spot_count_low_res", "MX/spotCountLowRes", "q", -1),
    _Rule("spot_count_indexed", "MX/spotCountIndexed", "q", -1),
    _Rule("spot_count_ice_rings", "MX/spotCountIceRing", "q", -1),
    _Rule("indexing_result", "MX/imageIndexed", "B", 0),
    _Rule("bkg_estimate", "MX/bkgEstimate", _F, _NAN),
    _Rule("profile_radius", "MX/profileRadius", _F, _NAN, "Angstrom^-1"),
    _Rule("b_factor", "MX/bFactor", _F, _NAN, "Angstrom^2"),
    _Rule("mosaicity", "MX/mosaicity", _F, _NAN, "deg"),
    _Rule("resolution_estimate", "MX/resolutionEstimate", _F, _NAN, "Angstrom"),
    _Rule("beam_corr_x", "MX/beamCorrectionX", _F, _NAN, "pixel"),
    _Rule("beam_corr_y", "MX/beamCorrectionY", _F, _NAN, "pixel"),
    _Rule("xfel_pulse_id", "xfel/pulseID", "Q", 0),
    _Rule("xfel_event_code", "xfel/eventCode", "Q", 0),
)
_OF_ROI: Final = (
    _Rule("sum", "sum", _D, _NAN),
    _Rule("sum_square", "sum_sq", _D, _NAN),
    _Rule("max", "max", _D, _NAN),
    _Rule("pixels", "npixel", "q", -1),
    _Rule("x_weighted", "x", _D, _NAN),
    _Rule("y_weighted", "y", _D, _NAN),
)
_CELL: Final = ("a", "b", "c", "alpha", "beta", "gamma")
_SPOTS: Final = (
    # CXI, version 1.4, as crystallography's programs read it
    ("MX/peakXPosRaw", "pixel"),
    ("MX/peakYPosRaw", "pixel"),
    ("MX/peakTotalIntensity", ""),
    ("MX/peakIndexed", ""),
)


def fill_of(path: str, dtype: str) -> float:
    """Return what stands in a column where an image is missing.

    Args:
        path: Of the column, in ``/entry``.
        dtype: Of its values, as numpy writes it.
    """
    known = {rule.path: rule.fill for rule in _SCALARS} | {f"roi {rule.path}": rule.fill for rule in _OF_ROI}
    key = f"roi {path.rpartition('/')[2]}" if path.startswith("roi/") else path
    peaks = path.startswith("MX/peak")
    return known.get(key, _NAN if dtype[1] == "f" and not peaks else 0)


class _Column:
    """Values in the order in which they came, each with its image's place; `width` of them belong to one image."""

    def __init__(self, code: str, fill: float, width: int = 1) -> None:
        self._values: array[Any] = array(code)
        self._indices = array("I")
        self._fill = fill
        self._width = width

    def put(self, index: int, values: Sequence[Any]) -> None:
        self._values.extend(values)
        self._indices.append(index)

    def take(self, rows: int) -> NDArray[Any]:
        import numpy as np

        shape = (rows,) if self._width == 1 else (rows, self._width)
        result = np.full(shape, self._fill, self._values.typecode)
        values = np.frombuffer(self._values, self._values.typecode)
        result[np.frombuffer(self._indices, np.uint32)] = values.reshape(-1, *shape[1:])
        return result


class ImageColumns:
    """The columns of one file.

    Args:
        spots: Room for the spots of an image; grows if an image has more.
    """

    def __init__(self, spots: int) -> None:
        self._spots = spots
        self._scalars: dict[str, _Column] = {}
        self._rois: dict[str, dict[str, _Column]] = {}
        self._peaks: dict[int, array[float]] = {}
        self._vectors: dict[str, tuple[_Column, int, str]] = {}
        self._stored = _Column("B", 0)

    def put(self, index: int, message: ImageMessage) -> None:
        """Keep what comes with an image; nothing of the message is referred to afterwards.

        Values that do not fit their column are left out: a number above 64 bits, a profile of another length.

        Args:
            index: Place of the image in the file.
            message: The image.
        """
        self._stored.put(index, (1,))
        scalars = _scalars_of(message)
        if not _all_none(scalars):
            for rule, value in zip(_SCALARS, scalars, strict=True):
                if value is not None:
                    _put(self._scalars, rule, index, value.seconds if type(value) is Rational else value)
        if message.roi_integrals:
            self._put_rois(index, message.roi_integrals)
        if message.spots is not None:
            self._peaks[index] = _peaks_of(message.spots)
        if message.indexing_unit_cell is not None:
            self._put_vector(index, "MX/unitCell", _cell_of(message.indexing_unit_cell), "")
        if message.indexing_lattice is not None:
            self._put_array(index, "MX/latticeIndexed", message.indexing_lattice, "Angstrom")
        if message.az_int_profile is not None:
            self._put_array(index, "azint/image", message.az_int_profile, "")

    def _put_rois(self, index: int, rois: dict[str, RoiIntegral]) -> None:
        for name, roi in rois.items():
            if name not in self._rois and (len(self._rois) >= MAX_ROIS or not is_link_name(name)):
                continue
            columns = self._rois.setdefault(name, {})
            for rule in _OF_ROI:
                value = getattr(roi, rule.field)
                if value is not None:
                    _put(columns, rule, index, value)

    def _put_array(self, index: int, path: str, values: Array, units: str) -> None:
        if not values.compression and values.item_bytes <= 8 and len(values.shape) == 1:
            self._put_vector(index, path, as_numpy(values).tolist(), units)

    def _put_vector(self, index: int, path: str, values: Sequence[float], units: str) -> None:
        if path not in self._vectors:
            if not 0 < len(values) <= MAX_BINS:
                return
            self._vectors[path] = (_Column(_F, _NAN, len(values)), len(values), units)
        column, width, _ = self._vectors[path]
        if len(values) == width:
            column.put(index, values)

    # --- when the file is closed

    def take(self, rows: int, *, stored_only: bool = False) -> Iterator[Filled]:
        """Yield what is to be written, for so many images.

        Args:
            rows: Images that the file has room for.
            stored_only: Only which images are in the file.
        """
        yield Filled(STORED, self._stored.take(rows), "", 0)
        if stored_only:
            return
        for rule in _SCALARS:
            if rule.path in self._scalars:
                yield Filled(rule.path, self._scalars[rule.path].take(rows), rule.units, rule.fill)
        for name, columns in self._rois.items():
            for rule in _OF_ROI:
                if rule.path in columns:
                    path = f"roi/{name}/{rule.path}"
                    yield Filled(path, columns[rule.path].take(rows), rule.units, rule.fill)
        for path, (column, _, units) in self._vectors.items():
            yield Filled(path, column.take(rows), units, _NAN)
        if self._peaks:
            yield from self._take_peaks(rows)

    def _take_peaks(self, rows: int) -> Iterator[Filled]:
        import numpy as np

        kinds = len(_SPOTS)
        counts = np.zeros(rows, np.int32)
        width = max(self._spots, *(len(peaks) // kinds for peaks in self._peaks.values()))
        values = np.zeros((kinds, rows, width), np.float32)
        for index, peaks in self._peaks.items():
            count = len(peaks) // kinds
            counts[index] = count
            values[:, index, :count] = np.frombuffer(peaks, np.float32).reshape(count, kinds).T
        yield Filled("MX/nPeaks", counts, "", 0)
        for kind, (path, units) in enumerate(_SPOTS):
            yield Filled(path, values[kind], units, 0)


_scalars_of: Callable[[ImageMessage], tuple[Any, ...]] = attrgetter(*(rule.field for rule in _SCALARS))


def _all_none(values: tuple[Any, ...]) -> bool:
    try:
        return values.count(None) == len(values)  # the quickest look at them
    except ValueError:  # an array of numpy's, which does not compare
        return False


def _put(columns: dict[str, _Column], rule: _Rule, index: int, value: Any) -> None:
    column = columns.get(rule.path)
    if column is None:
        column = columns[rule.path] = _Column(rule.code, rule.fill)
    try:
        column.put(index, (value,))
    except (OverflowError, TypeError):
        column.put(index, (rule.fill,))


def _cell_of(cell: UnitCell) -> list[float]:
    return [getattr(cell, name) for name in _CELL]


def _peaks_of(spots: tuple[Spot, ...]) -> array[float]:
    values = array("f")
    for spot in spots:
        values.extend((_f32(spot.x), _f32(spot.y), _f32(spot.intensity or 0.0), float(bool(spot.indexed))))
    return values


def _f32(value: float) -> float:
    return value if -3.4e38 < value < 3.4e38 else _NAN
