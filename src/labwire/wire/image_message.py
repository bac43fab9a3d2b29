"""The five messages of the image, preview and metadata streams.

Source: image-stream, "Data streams"; DECTRIS Stream V2 for what it shares; the rest as the Jungfraujoch and its readers
have it. Encode with `labwire.wire.image_codec.encode_message`, decode with `decode_message`.

None means absent. The order of the fields is the order on the wire: ``type`` first, ``data`` last.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from labwire.wire.cbor_values import Date
from labwire.wire.image_array import Array
from labwire.wire.image_fields import (
    Extra,
    GoniometerAxis,
    GridScan,
    Rational,
    RoiIntegral,
    Spot,
    Uint,
    Uncertain,
    UnitCell,
    Vector3,
)


class StartMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="start"):
    """Begins a run: what the detector is and does."""

    series_id: Uint
    """Run number."""
    series_unique_id: str
    """Run name."""
    number_of_images: Uint
    image_size_x: Uint
    """Width, pixels."""
    image_size_y: Uint
    """Height, pixels."""
    arm_date: Date | None = None
    magic_number: Uint | None = None
    """Version of Jungfraujoch's interface."""
    channels: tuple[str, ...] | None = None
    image_dtype: str | None = None
    """``uint8``, ``uint16``, ``uint32``, ``int8``, ``int16`` or ``int32``."""
    beam_center_x: float | None = None
    """Pixels."""
    beam_center_y: float | None = None
    """Pixels."""
    detector_distance: float | None = None
    """m"""
    detector_translation: Vector3 | None = None
    """m"""
    detector_description: str | None = None
    detector_serial_number: str | None = None
    incident_energy: float | None = None
    """eV"""
    incident_wavelength: float | None = None
    """Å"""
    frame_time: float | None = None
    """From the start of an image to the start of the next, s."""
    count_time: float | None = None
    """Exposure, s."""
    saturation_value: int | None = None
    """Largest valid pixel value."""
    error_value: int | None = None
    """Pixel value that marks bad and missing pixels."""
    pixel_size_x: float | None = None
    """m"""
    pixel_size_y: float | None = None
    """m"""
    sensor_thickness: float | None = None
    """m"""
    sensor_material: str | None = None
    """Such as ``Si``."""
    countrate_correction_enabled: bool | None = None
    flatfield_enabled: bool | None = None
    pixel_mask_enabled: bool | None = None
    """True: the mask has been applied to the images."""
    virtual_pixel_interpolation_enabled: bool | None = None
    threshold_energy: dict[str, float] | None = None
    """eV by channel."""
    goniometer: dict[str, GoniometerAxis] | None = None
    """By name of axis: ``omega``, ``chi``, ``phi``, ``kappa``, ``two_theta``."""
    az_int_bin_to_q: Array | None = None
    """Momentum transfer of each azimuthal bin, 1/Å."""

    # Where these three stand is not published; they are sent here and in `user_data`, and read from both.
    socket_number: Uint | None = None
    """Which of the stream's sockets or connections this is."""
    write_master_file: bool | None = None
    """True on the first socket: its writer writes the master file."""
    writer_notification_zmq_addr: str | None = None
    """Where a writer reports that it is done; with ZeroMQ only."""

    jungfrau_conversion_enabled: Uncertain[bool] = None
    jungfrau_conversion_factor: Uncertain[float] = None
    """eV"""
    geometry_transformation_enabled: Uncertain[bool] = None
    summation: Uncertain[Uint] = None
    storage_cell_number: Uncertain[Uint] = None
    storage_cell_delay: Uncertain[Rational] = None
    """s"""
    max_spot_count: Uncertain[Uint] = None
    bit_depth_readout: Uncertain[Uint] = None
    grid_scan: Uncertain[GridScan] = None
    unit_cell: Uncertain[UnitCell] = None
    """Reference cell."""
    az_int_bin_to_two_theta: Uncertain[Array] = None
    """Degrees."""
    az_int_bin_to_phi: Uncertain[Array] = None
    """Degrees."""
    az_int_q_bin_count: Uncertain[Uint] = None
    az_int_phi_bin_count: Uncertain[Uint] = None

    user_data: Any = None
    """Jungfraujoch: text that holds JSON, see `labwire.wire.image_user_data`. DECTRIS: anything."""
    extra: Extra = {}
    countrate_correction_lookup_table: Array | None = None
    flatfield: dict[str, Array] | None = None
    """By channel, float32."""
    pixel_mask: dict[str, Array] | None = None
    """By channel, uint32, bits as in NeXus; 0 is a good pixel."""


class ImageMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="image"):
    """One image. In a metadata message it has neither `data` nor `spots`."""

    series_id: Uint | None = None
    series_unique_id: str | None = None
    image_id: Uint
    """Counted from 0."""
    real_time: Rational | None = None
    """Exposure."""
    series_date: Date | None = None
    """When the run began."""
    start_time: Rational | None = None
    """From `series_date` to the start of the exposure."""
    stop_time: Rational | None = None
    """From `series_date` to the end of the exposure."""
    spots: tuple[Spot, ...] | None = None
    indexing_result: bool | None = None
    """True: the image was indexed."""
    indexing_unit_cell: UnitCell | None = None
    lattice_type: dict[str, Any] | None = None
    bkg_estimate: float | None = None
    """Background, photons."""
    az_int_profile: Array | None = None
    """Mean of each azimuthal bin; NaN where a bin has no pixels."""
    xfel_pulse_id: Uint | None = None
    xfel_event_code: Uint | None = None
    roi_integrals: dict[str, RoiIntegral] | None = None
    """By name of the region."""

    original_image_id: Uncertain[Uint] = None
    """Number before a filter took images out."""
    indexing_lattice: Uncertain[Array] = None
    """Three real-space vectors, 9 numbers, Å."""
    spot_count: Uncertain[Uint] = None
    spot_count_low_res: Uncertain[Uint] = None
    spot_count_indexed: Uncertain[Uint] = None
    spot_count_ice_rings: Uncertain[Uint] = None
    saturated_pixels: Uncertain[Uint] = None
    """An older name of the next."""
    saturated_pixel_count: Uncertain[Uint] = None
    error_pixel_count: Uncertain[Uint] = None
    strong_pixel_count: Uncertain[Uint] = None
    min_viable_pixel_value: Uncertain[int] = None
    max_viable_pixel_value: Uncertain[int] = None
    pixel_sum: Uncertain[int] = None
    profile_radius: Uncertain[float] = None
    b_factor: Uncertain[float] = None
    """Å²"""
    mosaicity: Uncertain[float] = None
    """Degrees."""
    resolution_estimate: Uncertain[float] = None
    """Å"""
    beam_corr_x: Uncertain[float] = None
    """Pixels."""
    beam_corr_y: Uncertain[float] = None
    """Pixels."""
    storage_cell: Uncertain[Uint] = None
    jf_info: Uncertain[Uint] = None
    receiver_aq_dev_delay: Uncertain[int] = None
    receiver_free_send_buf: Uncertain[Uint] = None
    image_collection_efficiency: Uncertain[float] = None
    """Part of the image's packets that arrived, 0 to 1."""
    packets_expected: Uncertain[Uint] = None
    packets_received: Uncertain[Uint] = None

    user_data: Any = None
    extra: Extra = {}
    data: dict[str, Array] = {}
    """Pixels by channel, (height, width)."""


class CalibrationMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="calibration"):
    """Calibration of the detector; on the first socket only, between START and the first image."""

    series_id: Uint | None = None
    series_unique_id: str | None = None
    extra: Extra = {}
    data: dict[str, Array] = {}
    """By name, such as ``pedestal_g0``, ``pedestal_rms_g0``."""


class EndMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="end"):
    """Ends a run."""

    series_id: Uint | None = None
    series_unique_id: str | None = None
    end_date: Uncertain[Date] = None
    max_image_number: Uncertain[Uint] = None
    """Counted from 1."""
    images_collected_count: Uncertain[Uint] = None
    images_sent_to_write_count: Uncertain[Uint] = None
    data_collection_efficiency: Uncertain[float] = None
    """0 to 1."""
    max_receiver_delay: Uncertain[Uint] = None
    bkg_estimate: Uncertain[float] = None
    """Mean of the run, photons."""
    indexing_rate: Uncertain[float] = None
    """0 to 1."""
    adu_histogram_bin_width: Uncertain[Uint] = None
    extra: Extra = {}
    az_int_result: Uncertain[dict[str, Array]] = None
    adu_histogram: Uncertain[dict[str, Array]] = None


class MetadataMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="metadata"):
    """A bundle of images without pixels and spots; of any size, in any order."""

    series_id: Uint | None = None
    series_unique_id: str | None = None
    extra: Extra = {}
    images: tuple[ImageMessage, ...] = ()


Message: TypeAlias = StartMessage | ImageMessage | CalibrationMessage | EndMessage | MetadataMessage
MESSAGES: tuple[type[Message], ...] = (StartMessage, ImageMessage, CalibrationMessage, EndMessage, MetadataMessage)
