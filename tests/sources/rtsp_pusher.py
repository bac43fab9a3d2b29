"""Run by test_stream.py in a process of its own: push grey pictures to whoever listens at a URL, until it is ended."""

from __future__ import annotations

import sys
import time
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream

WIDTH, HEIGHT, FPS = 64, 48, 30


def push(url: str) -> None:
    """Push pictures until the other side goes away."""
    with av.open(url, "w", format="rtsp", options={"rtsp_transport": "tcp"}) as container:
        stream = cast("VideoStream", container.add_stream("mpeg4", rate=FPS))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        pixels = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
        for n in range(100_000):
            frame = av.VideoFrame.from_ndarray(pixels, "bgr24")
            frame.pts, frame.time_base = n, Fraction(1, FPS)
            container.mux(stream.encode(frame))
            time.sleep(1 / FPS)


if __name__ == "__main__":
    while True:
        try:
            push(sys.argv[1])
        except OSError:
            time.sleep(0.05)  # nobody listens yet
