"""Browsers for the benchmark: ``python -m benchmarks.web.viewer live|echo URL COUNT SECONDS``, one process for all.

Prints one line of JSON: the latencies of all pictures in seconds, and how many of them each browser got.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
import time

from websockets.asyncio.client import connect

from labwire.web.live_frame import Tag, decode_frame

POINTS = "points"
FIELDS = [f"f{n}" for n in range(10)]
PICTURES = "frame.benchmark"
PICTURE_HZ = 30
_SENT = struct.Struct("<d")


async def look(url: str, seconds: float, latencies: list[float]) -> int:
    """Watch the live path as the page does."""
    wish = {
        "newest": ["bus.stats", "recorder."],
        "pictures": [PICTURES],
        "series": [{"id": name, "topic": POINTS, "field": name, "bucket_s": 0.01} for name in FIELDS],
    }
    count, deadline = 0, time.monotonic() + seconds
    async with connect(url, compression=None, max_size=None) as socket:
        await socket.send(json.dumps({"wish": wish}))
        while (left_s := deadline - time.monotonic()) > 0:
            try:
                data = await asyncio.wait_for(socket.recv(), left_s)
            except TimeoutError:
                break
            now_s = time.monotonic()
            assert isinstance(data, bytes)
            if data[0] != Tag.PICTURE:
                continue
            latencies.append(now_s - float(decode_frame(data).header["payload"]["sent_s"]))
            count += 1
            await socket.send(json.dumps({"shown": PICTURES}))
    return count


async def echo(url: str, seconds: float, latencies: list[float], size: int) -> int:
    """Send the same bytes at the same rate to a bare echo, and take them back."""
    count, begun = 0, time.monotonic()
    async with connect(url, compression=None, max_size=None) as socket:
        while (now_s := time.monotonic()) < begun + seconds:
            await socket.send(_SENT.pack(now_s) + bytes(size))
            data = await socket.recv()
            assert isinstance(data, bytes)
            latencies.append(time.monotonic() - _SENT.unpack_from(data)[0])
            count += 1
            await asyncio.sleep(max(0.0, begun + count / PICTURE_HZ - time.monotonic()))
    return count


async def main(arguments: list[str]) -> None:
    """Watch with as many browsers as were asked for."""
    kind, url, number, seconds, size = arguments
    latencies: list[float] = []
    watching = [
        look(url, float(seconds), latencies) if kind == "live" else echo(url, float(seconds), latencies, int(size))
        for _ in range(int(number))
    ]
    counts = await asyncio.gather(*watching)
    print(json.dumps({"latencies_s": latencies, "counts": counts}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
