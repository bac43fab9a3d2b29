"""The EIGER simulator of tickit-devices, with messages that a real EIGER2 sent, through our writer."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import pytest

from labwire.images.compression import decompress
from labwire.wire.image_codec import decode_message
from labwire.wire.image_message import ImageMessage, StartMessage
from tests.images.test_writer_zeromq import writing
from tests.images.told import Told
from tests.images.zeromq_detector import ZeroMqDetector

IMAGES = 5


def messages_of(header_detail: str, series_id: int) -> list[bytes]:
    """What the simulator streams for one series."""
    pytest.importorskip("tickit_devices", exc_type=ImportError)
    if int(version("cbor2").partition(".")[0]) >= 6:
        pytest.skip(
            "the simulator changes the messages that it has read, which cbor2 6 gives it as frozen: needs cbor2 5"
        )
    stream = importlib.import_module("tickit_devices.eiger.stream.eiger_stream_2")
    settings: Any = importlib.import_module("tickit_devices.eiger.eiger_settings")
    dummy: Any = importlib.import_module("tickit_devices.eiger.data.dummy_image")
    eiger: Any = stream.EigerStream2()
    eiger.begin_series(settings.EigerSettings(nimages=IMAGES, ntrigger=1), series_id, header_detail)
    for number in range(IMAGES):
        eiger.insert_image(dummy.Image.create_dummy_image(number, (10, 10)), series_id)
    eiger.end_series(series_id)
    return list(eiger.consume_data())


@pytest.mark.parametrize("header_detail", ["basic", "all"])
def test_a_series_is_stored(tmp_path: Path, header_detail: str) -> None:
    messages = messages_of(header_detail, 42)
    start, first = decode_message(messages[0]), decode_message(messages[1])
    assert isinstance(start, StartMessage)
    assert isinstance(first, ImageMessage)
    told = Told()
    with ZeroMqDetector() as detector, writing(detector.addresses, tmp_path, told):
        for message in messages:
            detector.send([message])
        (finished,) = told.wait("run_finished")
    assert finished["ok"], finished
    assert finished["run_number"] == 42
    with h5py.File(finished["master_file"]) as file:
        read: Any = file.get
        data = read("entry/data/data")
        assert data.shape == (IMAGES, start.image_size_y, start.image_size_x)
        (channel,) = first.data
        assert data.attrs["channel"] == channel
        assert (data[IMAGES - 1] == decompress(first.data[channel])).all()
        assert read("entry/instrument/detector/description")[()].decode() == start.detector_description
        assert read("entry/detector/start_time").shape == (IMAGES,)
