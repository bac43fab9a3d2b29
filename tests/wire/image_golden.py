"""Golden bytes of image messages, and what each of them means."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from labwire.wire.cbor_values import Date, Tag
from labwire.wire.image_array import Array
from labwire.wire.image_fields import GoniometerAxis, GridScan, Rational, RoiIntegral, Spot, UnitCell
from labwire.wire.image_message import (
    CalibrationMessage,
    EndMessage,
    ImageMessage,
    Message,
    MetadataMessage,
    StartMessage,
)

# Made with an encoder that is not ours, in the order of the keys that real senders use.
VECTORS: list[dict[str, Any]] = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "vectors" / "image_message.jsonl").read_text().splitlines()
]
BYTES = {vector["name"]: bytes.fromhex(vector["hex"]) for vector in VECTORS}

CELL = UnitCell(a=78.0, b=78.0, c=38.0, alpha=90.0, beta=90.0, gamma=90.0)
RUN: dict[str, Any] = {"series_id": 135, "series_unique_id": "135:lysozyme_1"}
DECTRIS_RUN: dict[str, Any] = {"series_id": 7, "series_unique_id": "01H"}
TIMES: dict[str, Any] = {
    "real_time": Rational(215873, 50_000_000),
    "series_date": Date("2023-10-03T17:47:49.434+02:00"),
    "start_time": Rational(0, 50_000_000),
    "stop_time": Rational(215873, 50_000_000),
}
BSLZ4 = bytes.fromhex("0000000000000020 00002000 00000012 9eaaaaccccf0f000ff000100500000000000".replace(" ", ""))
BSZSTD = bytes.fromhex("000000000000002000002000 00000018 28b52ffd20207d000048aaaaccccf0f000ff000100353802")
LZ4 = struct.pack(">QII", 16, 8192, 16) + bytes(range(16))
COUNT8 = struct.pack("<8H", *range(8))


def f4(*numbers: float) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)


MEANINGS: dict[str, Message] = {
    "start, DECTRIS": StartMessage(
        **DECTRIS_RUN,
        number_of_images=10,
        image_size_x=4,
        image_size_y=2,
        arm_date=Date("2023-10-03T17:47:48.329000+02:00"),
        channels=("threshold_1",),
        image_dtype="uint16",
        beam_center_x=515.0,
        beam_center_y=257.5,
        detector_translation=(0.0, 0.0, -0.25),
        detector_description="EIGER2",
        detector_serial_number="E-1",
        incident_energy=12400.0,
        incident_wavelength=1.0,
        frame_time=0.01,
        count_time=0.0099,
        saturation_value=65534,
        pixel_size_x=7.5e-5,
        pixel_size_y=7.5e-5,
        sensor_thickness=0.00045,
        sensor_material="Si",
        countrate_correction_enabled=True,
        flatfield_enabled=False,
        pixel_mask_enabled=True,
        virtual_pixel_interpolation_enabled=False,
        threshold_energy={"threshold_1": 6200.0},
        goniometer={"omega": GoniometerAxis(start=0.0, increment=0.1)},
        user_data={"a": [1, "b"]},
        countrate_correction_lookup_table=Array((3,), "<u4", struct.pack("<3I", 0, 1, 2)),
        flatfield={"threshold_1": Array((2, 4), "<f4", f4(*[1.0] * 8))},
        pixel_mask={"threshold_1": Array((2, 4), "<u4", struct.pack("<8I", *range(8)))},
    ),
    "start, Jungfraujoch": StartMessage(
        **RUN,
        number_of_images=250,
        image_size_x=8,
        image_size_y=2,
        magic_number=2,
        channels=("default",),
        detector_distance=0.1,
        error_value=-32768,
        az_int_bin_to_q=Array((2,), "<f4", f4(0.5, 1.0)),
        socket_number=0,
        write_master_file=True,
        writer_notification_zmq_addr="tcp://192.168.0.1:5000",
        grid_scan=GridScan(n_fast=10, step_x_axis=1e-5),
        unit_cell=CELL,
        user_data='{"file_prefix":"lyso"}',
    ),
    "image, uncompressed": ImageMessage(
        **DECTRIS_RUN, image_id=0, **TIMES, data={"threshold_1": Array((2, 4), "<u2", COUNT8)}
    ),
    "image, bslz4": ImageMessage(
        **DECTRIS_RUN, image_id=300, data={"default": Array((2, 8), "<u2", BSLZ4, "bslz4", 2)}
    ),
    "image, bszstd, int16": ImageMessage(image_id=1, data={"default": Array((2, 8), "<i2", BSZSTD, "bszstd", 2)}),
    "image, lz4 of DECTRIS": ImageMessage(image_id=1, data={"default": Array((1, 16), "|u1", LZ4, "lz4", 0)}),
    "image, two channels": ImageMessage(
        image_id=1,
        data={"threshold_1": Array((1, 2), "|u1", b"\1\2"), "threshold_2": Array((1, 2), "|u1", b"\3\4")},
    ),
    "image, results": ImageMessage(
        **RUN,
        image_id=2,
        spots=(
            Spot(x=1.5, y=0.5, intensity=100.0, indexed=True),
            Spot(x=2.0, y=1.0, intensity=7.0, indexed=False, extra={"maxc": 12}),
        ),
        indexing_result=True,
        indexing_unit_cell=CELL,
        lattice_type={"centering": "P"},
        bkg_estimate=2.5,
        az_int_profile=Array((2,), "<f4", f4(1.0, 2.0)),
        xfel_pulse_id=2**40,
        xfel_event_code=1,
        roi_integrals={"roi_a": RoiIntegral(sum=5, max=3, pixels=2)},
        user_data="x",
        data={"default": Array((1, 1), "<f4", f4(0.5))},
    ),
    "image, plain list for a vector": ImageMessage(
        image_id=1, az_int_profile=Array((2,), "<f8", struct.pack("<2d", 1.0, 2.0))
    ),
    "image, column-major": ImageMessage(
        image_id=1, data={"default": Array((2, 3), ">u2", struct.pack(">6H", *range(6)), column_major=True)}
    ),
    "image, unknown keys": ImageMessage(image_id=1, extra={"new_key": {"x": [None, True, Tag(1000, b"z")]}}),
    "image, all of indefinite length, type last": ImageMessage(
        image_id=5, data={"default": Array((1, 2), "<u2", b"\1\0\2\0")}
    ),
    "calibration": CalibrationMessage(
        **RUN,
        data={
            "pedestal_g0": Array((1, 2), "<f4", f4(1.0, 2.0)),
            "pedestal_rms_g0": Array((1, 2), "<f4", f4(0.5, 0.5)),
        },
    ),
    "end, DECTRIS": EndMessage(series_id=15614, series_unique_id="01H"),
    "end, Jungfraujoch": EndMessage(
        **RUN,
        end_date=Date("2026-05-01T12:00:00Z"),
        max_image_number=250,
        images_collected_count=250,
        data_collection_efficiency=1.0,
    ),
    "end, without prefix": EndMessage(series_id=1),
    "metadata": MetadataMessage(
        **RUN, images=(ImageMessage(image_id=0, bkg_estimate=1.0), ImageMessage(image_id=2, indexing_result=False))
    ),
}
CANONICAL = [vector["name"] for vector in VECTORS if vector["canonical"]]
