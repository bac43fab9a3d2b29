"""What a writer does with an image once it has arrived, without a stream: beside `write()` of the same bytes."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.images.limits import Measured
from benchmarks.images.streams import start_of
from labwire.images.config import WriterOptions
from labwire.images.run_taker import RunTaker
from labwire.wire.image_array import Array
from labwire.wire.image_message import EndMessage, ImageMessage

_PREFIX = "stored"


def store(folder: Path, images: int, array: Array, *, sync: bool) -> Measured:
    """Store a run of one image over and over, from its START until its files have their names."""
    taker = RunTaker(folder, WriterOptions(sync=sync), source="benchmark", on_event=lambda _kind, _data: None)
    data = {"default": array}
    began_s, used_s = time.perf_counter(), time.process_time()
    taker.start(start_of(1, images, array, prefix=_PREFIX), 0)
    for number in range(images):
        taker.image(ImageMessage(series_id=1, series_unique_id="run", image_id=number, data=data), number)
    written, fault = taker.end(EndMessage())
    measured = Measured(time.perf_counter() - began_s, time.process_time() - used_s)
    if fault or not written.ok:
        raise RuntimeError(str(fault or written.error))
    for path in folder.glob(f"{_PREFIX}_*"):
        path.unlink()
    return measured
