"""What a master file says besides the images: NeXus NXmx, from the messages of a run.

Source: the NXmx definition; its coordinates are McStas': z along the beam, y up. What nobody measured is left out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from labwire.errors import LabwireError
from labwire.images.hdf5_tree import Node, group, is_link_name, put, put_array
from labwire.images.run_plan import RunPlan
from labwire.version import __version__
from labwire.wire.image_array import Array
from labwire.wire.image_fields import GoniometerAxis
from labwire.wire.image_message import CalibrationMessage, EndMessage, StartMessage
from labwire.wire.image_user_data import UserData

NXMX_VERSION: Final = "1.5"
UNKNOWN: Final = "unknown"
"""NXmx demands names of source and instrument; a sender may not know them."""
_ROOT: Final = "."
_DETECTOR: Final = "/entry/instrument/detector"
_TRANSLATION: Final = f"{_DETECTOR}/transformations/translation"
_MODULE_OFFSET: Final = f"{_DETECTOR}/module/module_offset"
_SAMPLE_AXES: Final = "/entry/sample/transformations"
_MAX_TEXT: Final = 1 << 20

AXIS_VECTORS: Final[Mapping[str, tuple[float, float, float]]] = {
    "omega": (-1.0, 0.0, 0.0),
    "chi": (0.0, 0.0, 1.0),
    "phi": (-1.0, 0.0, 0.0),
}
"""Directions of axes of which START names none: those of DECTRIS' own files."""
_FROM_THE_FLOOR: Final = ("omega", "kappa", "chi", "phi")


def write_start(file: Node, plan: RunPlan, start: StartMessage, received: datetime) -> None:
    """Write all that START says.

    Args:
        file: The master file, empty.
        plan: The run.
        start: The message, with its arrays.
        received: When it came.
    """
    file.attrs.update(
        NX_class="NXroot", default="entry", creator="labwire", creator_version=__version__, file_time=_iso(received)
    )
    entry = group(file, "entry", "NXentry")
    entry.attrs["default"] = "data"
    put(entry, "definition", "NXmx", version=NXMX_VERSION)
    put(entry, "title", plan.run_name[:_MAX_TEXT])
    put(entry, "start_time", _utc(start.arm_date) or _iso(received))
    put(entry, "experiment_identifier", plan.run_name[:_MAX_TEXT])
    user = plan.user_data
    source = group(entry, "source", "NXsource")
    put(source, "name", user.source_name or UNKNOWN)
    put(source, "type", user.source_type)
    put(source, "current", user.ring_current_mA, "mA")
    _write_instrument(entry, start, user)
    _write_detector(entry, plan, start)
    _write_sample(entry, start, user)
    _write_user(entry, user.user)
    _write_azint(entry, start)


def _write_instrument(entry: Node, start: StartMessage, user: UserData) -> None:
    instrument = group(entry, "instrument", "NXinstrument")
    put(instrument, "name", user.instrument_name or UNKNOWN)
    beam = group(instrument, "beam", "NXbeam")
    wavelength = start.incident_wavelength
    if wavelength is None and start.incident_energy:
        wavelength = 12398.4198 / start.incident_energy
    put(beam, "incident_wavelength", wavelength, "angstrom")
    put(beam, "incident_energy", start.incident_energy, "eV")
    put(beam, "total_flux", user.total_flux, "Hz")
    if user.beam_size_x is not None and user.beam_size_y is not None:
        put(beam, "incident_beam_size", [user.beam_size_x, user.beam_size_y], "m")
    if user.attenuator_transmission is not None:
        attenuator = group(instrument, "attenuator", "NXattenuator")
        put(attenuator, "attenuator_transmission", user.attenuator_transmission)


def _write_detector(entry: Node, plan: RunPlan, start: StartMessage) -> None:
    detector = group(entry, "instrument/detector", "NXdetector")
    put(detector, "description", start.detector_description)
    put(detector, "serial_number", start.detector_serial_number)
    put(detector, "sensor_material", start.sensor_material)
    put(detector, "sensor_thickness", start.sensor_thickness, "m")
    put(detector, "x_pixel_size", start.pixel_size_x, "m")
    put(detector, "y_pixel_size", start.pixel_size_y, "m")
    put(detector, "beam_center_x", start.beam_center_x, "pixel")
    put(detector, "beam_center_y", start.beam_center_y, "pixel")
    put(detector, "distance", distance_of(start), "m")
    put(detector, "detector_distance", distance_of(start), "m")
    put(detector, "count_time", start.count_time, "s")
    put(detector, "frame_time", start.frame_time, "s")
    put(detector, "saturation_value", _int64(start.saturation_value))
    put(detector, "error_value", _int64(start.error_value))
    put(detector, "bit_depth_readout", start.bit_depth_readout)
    put(detector, "countrate_correction_applied", start.countrate_correction_enabled)
    put(detector, "flatfield_applied", start.flatfield_enabled)
    put(detector, "pixel_mask_applied", start.pixel_mask_enabled)
    put(detector, "virtual_pixel_interpolation_applied", start.virtual_pixel_interpolation_enabled)
    put(detector, "acquisition_type", "triggered")
    put(detector, "number_of_cycles", start.summation)
    for channel, energy in sorted((start.threshold_energy or {}).items()):
        first = "threshold_energy" not in detector
        if first or is_link_name(channel):
            put(detector, "threshold_energy" if first else f"threshold_energy_{channel}", energy, "eV")
    _write_specific(detector, plan, start)
    _write_arrays(detector, start)
    _write_geometry(detector, start)


def _write_specific(detector: Node, plan: RunPlan, start: StartMessage) -> None:
    specific = group(detector, "detectorSpecific")
    put(specific, "x_pixels_in_detector", start.image_size_x)
    put(specific, "y_pixels_in_detector", start.image_size_y)
    put(specific, "nimages", plan.announced)
    put(specific, "ntrigger", 1)
    put(specific, "series_id", plan.run_number)
    put(specific, "storage_cell_number", start.storage_cell_number)
    if isinstance(start.user_data, str):
        put(specific, "user_data", start.user_data[:_MAX_TEXT])


def _write_arrays(detector: Node, start: StartMessage) -> None:
    specific = detector["detectorSpecific"]
    for name, arrays in (("pixel_mask", start.pixel_mask), ("flatfield", start.flatfield)):
        for channel, array in (arrays or {}).items():
            first = name not in specific
            if not first and not is_link_name(channel):
                continue
            wanted = name if first else f"{name}_{channel}"
            _keep(specific, wanted, array)
            if wanted in specific:
                detector[wanted] = specific[wanted]  # a second name of the same
    if start.countrate_correction_lookup_table is not None:
        _keep(specific, "countrate_correction_lookup_table", start.countrate_correction_lookup_table)


def _keep(parent: Node, name: str, array: Array) -> None:
    # An array that cannot be stored is no reason to lose the images.
    try:
        put_array(parent, name, array)
    except LabwireError as error:
        parent.attrs[f"{name}_not_stored"] = error.message[:1000]


def distance_of(start: StartMessage) -> float | None:
    """Return the detector's distance in m: as such, or as the last part of its translation."""
    if start.detector_distance is not None or start.detector_translation is None:
        return start.detector_distance
    return start.detector_translation[2]


def _write_geometry(detector: Node, start: StartMessage) -> None:
    distance = distance_of(start)
    if distance is None or start.pixel_size_x is None or start.pixel_size_y is None:
        return
    transformations = group(detector, "transformations", "NXtransformations")
    axis = {"transformation_type": "translation", "offset": _ZERO, "offset_units": "m"}
    put(transformations, "translation", distance, "m", depends_on=_ROOT, vector=(0.0, 0.0, 1.0), **axis)
    put(detector, "depends_on", _TRANSLATION)
    module = group(detector, "module", "NXdetector_module")
    put(module, "data_origin", [0, 0])
    put(module, "data_size", [start.image_size_y, start.image_size_x])
    # Seen along the beam, y up, x is to the left; a row of pixels goes to the right, and rows go down.
    center = (start.beam_center_x or 0.0, start.beam_center_y or 0.0)
    corner = (center[0] * start.pixel_size_x, center[1] * start.pixel_size_y, 0.0)
    put(
        module,
        "module_offset",
        0.0,
        "m",
        depends_on=_TRANSLATION,
        vector=(1.0, 0.0, 0.0),
        offset=corner,
        offset_units="m",
        transformation_type="translation",
    )
    for name, size, vector in (
        ("fast_pixel_direction", start.pixel_size_x, (-1.0, 0.0, 0.0)),
        ("slow_pixel_direction", start.pixel_size_y, (0.0, -1.0, 0.0)),
    ):
        put(module, name, size, "m", depends_on=_MODULE_OFFSET, vector=vector, **axis)


_ZERO: Final = (0.0, 0.0, 0.0)


def _write_sample(entry: Node, start: StartMessage, user: UserData) -> None:
    sample = group(entry, "sample", "NXsample")
    put(sample, "name", user.sample_name or start.series_unique_id)
    put(sample, "temperature", user.sample_temperature_K, "K")
    put(sample, "space_group_number", user.space_group_number)
    if (cell := start.unit_cell) is not None:
        values = [cell.a, cell.b, cell.c, cell.alpha, cell.beta, cell.gamma]
        put(sample, "unit_cell", values)
    rotating = [name for name, _, _ in sample_axes(start)]
    put(sample, "depends_on", f"{_SAMPLE_AXES}/{rotating[-1]}" if rotating else _ROOT)


def sample_axes(start: StartMessage) -> Iterator[tuple[str, GoniometerAxis, tuple[float, float, float]]]:
    """Yield the axes that carry the sample, from the floor to the sample: name, axis, direction.

    An axis without a known direction, or without an angle, cannot stand in this chain.
    """
    goniometer = start.goniometer or {}
    order = [name for name in _FROM_THE_FLOOR if name in goniometer]
    order += [name for name in sorted(goniometer) if name not in {*_FROM_THE_FLOOR, "two_theta"}]
    for name in order:
        axis = goniometer[name]
        vector = axis.axis or AXIS_VECTORS.get(name)
        if vector is not None and axis.start is not None and is_link_name(name):
            yield name, axis, vector


def write_axes(entry: Node, start: StartMessage, images: int) -> None:
    """Write the angles of the goniometer for each image.

    Args:
        entry: ``/entry`` of the master file.
        start: The message.
        images: Images of the run.
    """
    import numpy as np

    sample = group(entry, "sample", "NXsample")
    below = _ROOT
    for name, axis, vector in sample_axes(start):
        transformations = group(sample, "transformations", "NXtransformations")
        step = axis.increment or 0.0
        angles = (axis.start or 0.0) + step * np.arange(images if step else 1, dtype=np.float64)
        put(
            transformations,
            name,
            angles,
            "deg",
            depends_on=below,
            vector=vector,
            transformation_type="rotation",
            offset=_ZERO,
            offset_units="m",
        )
        if step:
            put(transformations, f"{name}_end", angles + step, "deg")
            put(transformations, f"{name}_increment_set", step, "deg")
        below = f"{_SAMPLE_AXES}/{name}"
    for name, axis in (start.goniometer or {}).items():
        if is_link_name(name):
            _write_goniometer(group(sample, "goniometer", "NXcollection"), name, axis)


def _write_goniometer(goniometer: Node, name: str, axis: GoniometerAxis) -> None:
    put(goniometer, f"{name}_start", axis.start, "deg")
    put(goniometer, f"{name}_increment", axis.increment, "deg")
    put(goniometer, f"{name}_screening_wedge", axis.screening_wedge, "deg")
    put(goniometer, f"{name}_helical_step", axis.helical_step, "m")


def _write_user(entry: Node, user: Any) -> None:
    """Write numbers and texts that the person who started the run wants to be kept."""
    if not isinstance(user, dict):
        return
    appendix = cast("dict[str, Any]", user).get("hdf5")
    if not isinstance(appendix, dict):
        return
    kept = group(entry, "user")
    for name, value in cast("dict[str, Any]", appendix).items():
        if is_link_name(name) and isinstance(value, str | bool | int | float):
            put(kept, name, _int64(value) if isinstance(value, int) else value)


def _write_azint(entry: Node, start: StartMessage) -> None:
    for name, array, units in (
        ("bin_to_q", start.az_int_bin_to_q, "Angstrom^-1"),
        ("bin_to_two_theta", start.az_int_bin_to_two_theta, "deg"),
        ("bin_to_phi", start.az_int_bin_to_phi, "deg"),
    ):
        if array is not None:
            _keep(group(entry, "azint"), name, array)
            if name in entry["azint"]:
                entry["azint"][name].attrs["units"] = units


def write_calibration(file: Node, message: CalibrationMessage) -> None:
    """Write calibration arrays, each under its own name; a second one of the same name is left out."""
    calibration = group(file, f"{_DETECTOR}/calibration")
    for name, array in message.data.items():
        if is_link_name(name) and name not in calibration:
            _keep(calibration, name, array)


def write_end(file: Node, start: StartMessage, end: EndMessage | None, *, images: int, ended: datetime) -> None:
    """Write what is known at the end of a run.

    Args:
        file: The master file.
        start: The message that began it.
        end: The message that ended it; None if there was none.
        images: Images that the run has, missing ones included.
        ended: When it ended here.
    """
    entry = file["entry"]
    estimated = _iso(ended)
    began = _date(start.arm_date)
    if began is not None and start.frame_time is not None and 0 <= start.frame_time * images < 1e9:
        with contextlib.suppress(OverflowError):  # the year 10000
            estimated = _iso(began + timedelta(seconds=start.frame_time * images))
    put(entry, "end_time_estimated", estimated)
    if end is None:
        return
    put(entry, "end_time", _utc(end.end_date) or _iso(ended))
    specific = file[f"{_DETECTOR}/detectorSpecific"]
    put(specific, "nimages_collected", end.images_collected_count)
    put(specific, "nimages_sent", end.images_sent_to_write_count)
    put(specific, "data_collection_efficiency", end.data_collection_efficiency)
    put(specific, "max_receiver_delay", end.max_receiver_delay)
    if end.bkg_estimate is not None or end.indexing_rate is not None:
        put(group(entry, "MX"), "bkgEstimateMean", end.bkg_estimate)
        put(group(entry, "MX"), "indexingRate", end.indexing_rate)
    for folder, arrays in (("azint", end.az_int_result), ("adu_histogram", end.adu_histogram)):
        for name, array in (arrays or {}).items():
            if is_link_name(name) and name not in group(entry, folder):
                _keep(entry[folder], name, array)
    if end.adu_histogram is not None:
        put(group(entry, "adu_histogram"), "bin_width", end.adu_histogram_bin_width)


def _int64(value: int | None) -> int | None:
    return value if value is not None and -(1 << 63) <= value < 1 << 63 else None


def _date(text: str | None) -> datetime | None:
    try:
        date = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return date if date is None or date.tzinfo else date.replace(tzinfo=UTC)


def _utc(text: str | None) -> str | None:
    date = _date(text)
    return _iso(date) if date else None


def _iso(date: datetime) -> str:
    try:
        date = date.astimezone(UTC)
    except (OverflowError, ValueError):
        pass
    return date.isoformat().replace("+00:00", "Z")


__all__ = [
    "AXIS_VECTORS",
    "NXMX_VERSION",
    "distance_of",
    "sample_axes",
    "write_axes",
    "write_calibration",
    "write_end",
    "write_start",
]
