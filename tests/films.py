"""A short film of a person with known pulse and breathing, for tests of what is built around the measuring."""

from __future__ import annotations

import io
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import pytest

from benchmarks.vitals.film import Film
from benchmarks.vitals.scenario import Scenario
from benchmarks.vitals.subject import NoPhotoError
from labwire.picture import to_format

BPM = 72.0
SECONDS, FPS = 15, 20


def write_film(path: Path) -> Path:
    """Write the film as Motion JPEG; skips the test where there is no photograph to make it of."""
    path.write_bytes(_film())
    return path


@cache
def _film() -> bytes:
    try:
        film = Film(Scenario(name="test", seconds=SECONDS, fps=FPS, bpm=BPM))
    except NoPhotoError as error:
        pytest.skip(str(error))
    file = io.BytesIO()
    with av.open(file, "w", format="avi") as container:
        stream = container.add_stream("mjpeg", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuvj420p"
        for n, picture in enumerate(film.pictures()):
            packet = av.Packet(bytes(to_format(picture, "jpeg").data))
            packet.stream = stream
            packet.pts = packet.dts = n
            packet.time_base = Fraction(1, FPS)
            container.mux(packet)
    return file.getvalue()
