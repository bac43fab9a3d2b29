"""What DECTRIS' and Jungfraujoch's detectors send, encoded by somebody else's encoder, through our writers."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import cbor2
import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from labwire.images.compression import Compression, compress
from tests.images.runs import pixels_of, read_images
from tests.images.tcp_detector import TcpDetector
from tests.images.test_writer_tcp import writing as writing_tcp
from tests.images.test_writer_zeromq import writing
from tests.images.told import Told
from tests.images.zeromq_detector import ZeroMqDetector

WIDTH, HEIGHT = 50, 40
_TAGS = {"|u1": 64, ">u2": 65, "<u2": 69, "<u4": 70, "<i2": 77, "<i4": 78, "<f4": 85}


def lz4_chunk(pixels: NDArray[Any]) -> bytes:
    """As HDF5's LZ4 filter has it; blocks that LZ4 did not make smaller stand as they are, and here none is."""
    data, block = pixels.tobytes(), 8192
    blocks = [data[at : at + block] for at in range(0, len(data), block)]
    return struct.pack(">QI", len(data), block) + b"".join(struct.pack(">I", len(one)) + one for one in blocks)


def tagged(pixels: NDArray[Any], compression: str = "none") -> cbor2.CBORTag:
    """An image as cbor2 writes it: tag 40 around a typed array, perhaps with tag 56500 in it."""
    data: Any = pixels.tobytes()
    if compression == "lz4":
        data = cbor2.CBORTag(56500, ["lz4", 0, lz4_chunk(pixels)])
    elif compression != "none":
        packed = compress(pixels, "bszstd" if compression == "bszstd" else "bslz4")
        data = cbor2.CBORTag(56500, [packed.compression, packed.elem_size, bytes(packed.data)])
    return cbor2.CBORTag(40, [list(pixels.shape), cbor2.CBORTag(_TAGS[pixels.dtype.str], data)])


def described(message: dict[str, Any]) -> list[bytes]:
    """As DECTRIS has it: behind tag 55799, with a definite length."""
    return [cbor2.dumps(cbor2.CBORTag(55799, message))]


def indefinite(message: dict[str, Any]) -> list[bytes]:
    """As tinycbor writes a map whose length it was not told."""
    items = b"".join(cbor2.dumps(key) + cbor2.dumps(value) for key, value in message.items())
    return [b"\xbf" + items + b"\xff"]


DECTRIS_START: dict[str, Any] = {
    "type": "start",
    "arm_date": cbor2.CBORTag(0, "2023-10-03T17:47:48.329+02:00"),
    "beam_center_x": 25.0,
    "beam_center_y": 20.0,
    "channels": ["threshold_1", "threshold_2"],
    "count_time": 0.00999,
    "countrate_correction_enabled": True,
    "detector_description": "EIGER2 Si 500K",
    "detector_serial_number": "E-01-0001",
    "detector_translation": [0.0, 0.0, 0.2],
    "flatfield_enabled": True,
    "frame_time": 0.01,
    "goniometer": {name: {"increment": 0.0, "start": 0.0} for name in ("chi", "kappa", "omega", "phi", "two_theta")},
    "image_size_x": WIDTH,
    "image_size_y": HEIGHT,
    "incident_energy": 12398.4198,
    "incident_wavelength": 1.0,
    "number_of_images": 4,
    "pixel_mask": {"threshold_1": tagged(np.zeros((HEIGHT, WIDTH), "<u4"))},
    "pixel_mask_enabled": True,
    "pixel_size_x": 75e-6,
    "pixel_size_y": 75e-6,
    "saturation_value": 65534,
    "sensor_material": "Si",
    "sensor_thickness": 0.00045,
    "series_id": 12,
    "series_unique_id": "01HBV3JPF9T4ZDPADX9EMK6XMZ",
    "threshold_energy": {"threshold_1": 6199.2, "threshold_2": 9000.0},
    "user_data": {},
    "virtual_pixel_interpolation_enabled": True,
}


def dectris_image(number: int, compression: str) -> dict[str, Any]:
    return {
        "type": "image",
        "image_id": number,
        "series_id": 12,
        "series_unique_id": "01HBV3JPF9T4ZDPADX9EMK6XMZ",
        "real_time": [499500, 50_000_000],
        "series_date": cbor2.CBORTag(0, "2023-10-03T17:47:49.434+02:00"),
        "start_time": [number * 500_000, 50_000_000],
        "stop_time": [number * 500_000 + 499_500, 50_000_000],
        "user_data": None,
        "data": {
            "threshold_1": tagged(pixels_of(number), compression),
            "threshold_2": tagged(pixels_of(number + 100, "<u4"), compression),
        },
    }


@pytest.mark.parametrize("compression", ["bslz4", "lz4", "none"])
def test_a_dectris_detector_with_two_thresholds(tmp_path: Path, compression: str) -> None:
    told = Told()
    with ZeroMqDetector() as detector, writing(detector.addresses, tmp_path, told):
        detector.send(described(DECTRIS_START))
        for number in range(4):
            detector.send(described(dectris_image(number, compression)))
        detector.send(described({"type": "end", "series_id": 12, "series_unique_id": "01H"}))
        told.wait("run_finished")
    (finished,) = told.of("run_finished")
    assert finished["ok"], finished
    assert Path(finished["master_file"]).name == "run_000012_master.h5"  # no file_prefix: of its own
    with h5py.File(finished["master_file"]) as file:
        low: Any = file["entry/data/data"]
        high: Any = file["entry/data/data_threshold_2"]
        assert (low[()] == np.stack([pixels_of(number) for number in range(4)])).all()
        assert (high[()] == np.stack([pixels_of(number + 100, "<u4") for number in range(4)])).all()
        assert (low.attrs["channel"], high.attrs["channel"]) == ("threshold_1", "threshold_2")
        start_time: Any = file["entry/detector/start_time"]
        assert start_time[()].tolist() == pytest.approx([0.0, 0.01, 0.02, 0.03])
        energy: Any = file["entry/instrument/detector/threshold_energy"]
        assert energy[()] == pytest.approx(6199.2)


def test_only_what_every_start_has(tmp_path: Path) -> None:
    told = Told()
    bare = ("type", "series_id", "series_unique_id", "number_of_images", "image_size_x", "image_size_y")
    with ZeroMqDetector() as detector, writing(detector.addresses, tmp_path, told):
        detector.send(described({key: DECTRIS_START[key] for key in bare}))
        for number in (1, 0, 3, 2):
            image = {"type": "image", "image_id": number, "data": {"a": tagged(pixels_of(number, "|u1"))}}
            detector.send(described(image))
        detector.send(described({"type": "end"}))
        (finished,) = told.wait("run_finished")
    assert finished["ok"], finished
    assert (read_images(finished["master_file"]) == np.stack([pixels_of(n, "|u1") for n in range(4)])).all()


JUNGFRAUJOCH_START: dict[str, Any] = {
    **{key: value for key, value in DECTRIS_START.items() if key not in {"user_data", "threshold_energy"}},
    "magic_number": 0x52320000 + 7,
    "channels": ["default"],
    "image_dtype": "int32",
    "number_of_images": 5,
    "error_value": -(1 << 31),
    "detector_distance": 0.2,
    "series_id": 135,
    "series_unique_id": "135:lysozyme_1",
    "goniometer": {
        "omega": {"start": 0.0, "increment": 0.1, "axis": [-1.0, 0.0, 0.0], "helical_step": [0.0, 0.0, 0.0]}
    },
    "az_int_bin_to_q": cbor2.CBORTag(85, np.arange(8, dtype="<f4").tobytes()),
    "something_newer": {"a": [1, 2, None]},
    "user_data": json.dumps(
        {
            "file_prefix": "e12345/lysozyme_1",
            "images_per_file": 2,
            "socket_number": 0,
            "write_master_file": True,
            "source_name": "Swiss Light Source",
            "instrument_name": "X06SA",
            "roi": [{"name": "beam", "type": "box"}],
        }
    ),
}


def jungfraujoch_image(number: int, compression: str) -> dict[str, Any]:
    return {
        "type": "image",
        "image_id": number,
        "series_id": 135,
        "series_unique_id": "135:lysozyme_1",
        "real_time": [number, 1_000_000],
        "spots": [{"x": 1.5, "y": 2.5, "I": 100.0, "indexed": False, "maxc": 12, "ice_ring": False}],
        "indexing_result": False,
        "spot_count": 1,
        "az_int_profile": [float(number)] * 8,  # some senders write a plain list
        "bkg_estimate": 1.5,
        "roi_integrals": {"beam": {"sum": 10, "sum_square": 20, "max": 3, "pixels": 4}},
        "xfel_pulse_id": 2**40 + number,
        "something_newer": [1.0, "x"],
        "user_data": '{"x": 1}',
        "data": {"default": tagged(pixels_of(number, "<i4"), compression)},
    }


@pytest.mark.parametrize("compression", ["bszstd", "bslz4", "none"])
def test_a_jungfraujoch_over_tcp(tmp_path: Path, compression: Compression) -> None:
    told = Told()
    with TcpDetector() as detector, writing_tcp(detector, tmp_path, told):
        run = detector.begin(135, lambda _: indefinite(JUNGFRAUJOCH_START), images_per_file=2)
        pedestal = {"type": "calibration", "data": {"pedestal_g0": tagged(np.ones((HEIGHT, WIDTH), "<f4"))}}
        detector.send_calibration(run, indefinite(pedestal))
        for number in range(5):
            detector.send(run, number, indefinite(jungfraujoch_image(number, compression)))
        ended = {"type": "end", "max_image_number": 5, "images_collected_count": 5, "bkg_estimate": 2.5}
        result = detector.end(run, lambda _: indefinite(ended))
        assert result.ok, result
    (finished,) = told.of("run_finished")
    assert finished["ok"], finished
    assert [Path(path).name for path in finished["files"]] == [f"lysozyme_1_data_00000{n}.h5" for n in (1, 2, 3)]
    with h5py.File(tmp_path / "e12345" / "lysozyme_1_master.h5") as file:
        read: Any = file.get
        assert (read("entry/data/data")[()] == np.stack([pixels_of(n, "<i4") for n in range(5)])).all()
        assert read("entry/xfel/pulseID")[()].tolist() == [2**40 + n for n in range(5)]
        assert read("entry/roi/beam/sum")[()].tolist() == [10.0] * 5
        assert read("entry/MX/nPeaks")[()].tolist() == [1] * 5
        assert read("entry/instrument/detector/calibration/pedestal_g0")[0, 0] == 1.0
        assert read("entry/azint/bin_to_q")[()].tolist() == list(range(8))


def test_the_encodings_of_the_tests_are_those_of_cbor() -> None:
    message = {"type": "image", "image_id": 1}
    assert cbor2.load(io.BytesIO(indefinite(message)[0])) == message
    assert described(message)[0][:3] == b"\xd9\xd9\xf7"
