"""A reader of DECTRIS' Stream V2 that knows nothing of labwire: PULL, a CBOR library, the tags of the format.

What the published clients need: the self-describing tag first, ``type`` first in the map, definite lengths, floats as
floats, a channel by its name, compression as a tag around the bytes.
"""

from __future__ import annotations

import struct
import threading
from typing import Any

import numpy as np
import pytest
import zmq

from labwire.images.acquisition import Acquisition, RunRequest
from labwire.images.compression_libraries import expander
from labwire.images.pushers.zeromq import ZeroMqPusher
from labwire.images.stream import ImageStream
from labwire.images.stream_config import MessageConfig, ZeroMqStreamConfig
from labwire.sources.detector import SimulatedDetector
from labwire.sources.detector_config import SimulatedDetectorConfig
from labwire.wire.image_array import Array, as_numpy

cbor2 = pytest.importorskip("cbor2", reason="the foreign CBOR library: pip install cbor2")

DETECTOR = SimulatedDetectorConfig(width_px=90, height_px=70, seed=2, frames=2)
TYPES = {64: "|u1", 69: "<u2", 70: "<u4"}


def understand(_decoder: Any, tag: Any) -> Any:
    """Turn the tags of the format into numpy's arrays."""
    tag = tag if hasattr(tag, "tag") else _decoder  # the order of the arguments depends on the library's version
    match tag.tag:
        case 40:
            shape, values = tag.value
            return np.asarray(values).reshape(shape)
        case 56500:
            algorithm, elem_size, data = tag.value
            total, _ = struct.unpack_from(">QI", data)
            packed = Array((total // elem_size,), f"<u{elem_size}", data, algorithm, elem_size)
            return bytes(expander(algorithm)(packed))
        case number if number in TYPES:
            return np.frombuffer(tag.value, TYPES[number])
        case _:
            return tag.value


def test_a_run_as_such_a_reader_sees_it() -> None:
    stream = ImageStream(ZeroMqPusher(ZeroMqStreamConfig(image_socket=("tcp://127.0.0.1:*",))))
    source = SimulatedDetector(DETECTOR, "threshold_1")
    context: zmq.Context[Any] = zmq.Context()
    with context.socket(zmq.PULL) as pull:
        pull.connect(stream.pusher.addresses[0].removeprefix("zmq+"))
        stream.pusher.wait_for_writers(1, 20)
        request = RunRequest(run_number=5, images=4, file_prefix="a", rate_hz=1000)
        acquisition = Acquisition(source, stream, request, MessageConfig(channel="threshold_1"))
        thread = threading.Thread(target=acquisition.run)
        thread.start()
        raw = [pull.recv() for _ in range(6)]
        thread.join()
    context.term()
    stream.close()
    assert all(message.startswith(b"\xd9\xd9\xf7") for message in raw)
    assert all(message[4:9] == b"\x64type" or message[5:10] == b"\x64type" for message in raw)
    start, *images, end = (cbor2.loads(message, tag_hook=understand) for message in raw)
    assert (start["type"], end["type"]) == ("start", "end")
    assert {message["series_id"] for message in (start, *images, end)} == {5}
    assert list(start["channels"]) == ["threshold_1"]
    assert start["image_dtype"] == "uint16"
    assert all(type(start[name]) is float for name in ("beam_center_x", "incident_energy", "count_time"))
    assert start["pixel_mask"]["threshold_1"].shape == (70, 90)
    for number, message in enumerate(images):
        assert message["image_id"] == number
        assert np.array_equal(message["data"]["threshold_1"], as_numpy(source.read(number).pixels))
        assert len(message["start_time"]) == len(message["real_time"]) == 2
