"""Small video files, made for a test."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream

from labwire.picture import encode_jpeg

WIDTH, HEIGHT, FPS = 64, 48, 30


def jpegs(count: int) -> list[bytes]:
    """Return JPEG files that all differ."""
    return [encode_jpeg(np.full((HEIGHT, WIDTH, 3), 8 * (n % 30) + n // 30, np.uint8)) for n in range(count)]


def motion_jpeg(path: Path, frames: list[bytes], pts: list[int] | None = None, rate: int = FPS) -> Path:
    """Write JPEG files as they are into a video file; `pts` count in frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=rate)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        for n, frame in enumerate(frames):
            packet = av.Packet(frame)
            packet.stream = stream
            packet.pts = packet.dts = pts[n] if pts else n
            packet.time_base = Fraction(1, rate)
            container.mux(packet)
    return path


def encoded(path: Path, codec: str, count: int) -> Path:
    """Write a video file whose pictures must be decoded; picture n is grey of 8 n."""
    with av.open(str(path), "w") as container:
        stream = cast("VideoStream", container.add_stream(codec, rate=FPS))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for n in range(count):
            frame = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), 8 * n, np.uint8), "bgr24")
            frame.pts, frame.time_base = n, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def sound(path: Path) -> Path:
    """Write a file that has sound and no pictures."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
