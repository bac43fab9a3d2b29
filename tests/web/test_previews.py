"""The previews of detectors on the live WebSocket."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from labwire.errors import UsageError
from labwire.images.preview_reader import Previewed
from labwire.testing.rig import running_rig
from labwire.web.live_frame import Tag
from labwire.web.previews import MAX_SIDE, item_of
from labwire.wire.image_array import array_of
from labwire.wire.image_message import ImageMessage, StartMessage
from tests.web.http_kit import get, post
from tests.web.live_kit import browser

TOML = """
name = "beamline"

[detectors.mini]
images = 100000
rate_hz = 50

[detectors.mini.source]
kind = "simulated"
width_px = 100
height_px = 80
seed = 7

[detectors.mini.stream]
kind = "none"

[detectors.mini.preview]
address = "tcp://127.0.0.1:*"
period_ms = 20
"""


def shown(pixels: np.ndarray, mask: np.ndarray | None = None) -> Previewed:
    image = ImageMessage(image_id=3, series_id=5, data={"default": array_of(pixels)})
    height, width = pixels.shape
    start = StartMessage(
        series_id=5,
        series_unique_id="x",
        number_of_images=10,
        image_size_x=width,
        image_size_y=height,
        pixel_mask=None if mask is None else {"default": array_of(mask)},
    )
    return Previewed(image=image, start=start)


def test_bad_pixels_are_marked_by_the_largest_value() -> None:
    pixels = np.arange(12, dtype="<u2").reshape(3, 4)
    mask = np.zeros((3, 4), "<u4")
    mask[1, 2] = 1
    item = item_of("preview.a", shown(pixels, mask), 1.5)
    made = np.frombuffer(item.raw[0], item.payload["dtype"]).reshape(item.payload["shape"])
    assert made[1, 2] == 65535
    assert (made[mask == 0] == pixels[mask == 0]).all()
    assert (item.payload["index"], item.payload["run_number"], item.payload["shrunk"]) == (3, 5, 1)


def test_a_large_image_keeps_its_brightest_pixels() -> None:
    pixels = np.zeros((10, 2 * MAX_SIDE), "<u4")
    pixels[5, 1001] = 99
    item = item_of("preview.a", shown(pixels), 1.5)
    made = np.frombuffer(item.raw[0], item.payload["dtype"]).reshape(item.payload["shape"])
    assert made.shape == (5, MAX_SIDE)
    assert made[2, 500] == 99


def test_signed_pixels_travel_as_numbers_with_gaps() -> None:
    item = item_of("preview.a", shown(np.full((2, 2), -3, "<i4")), 0.0)
    assert item.payload["dtype"] == "<f4"
    assert np.frombuffer(item.raw[0], "<f4").tolist() == [-3.0] * 4


def test_a_message_without_pixels_is_no_preview() -> None:
    with pytest.raises(UsageError, match="no pixels"):
        item_of("preview.a", Previewed(image=ImageMessage(image_id=1), start=None), 0.0)


def test_the_page_sees_what_the_detector_sees(tmp_path: Path) -> None:
    pytest.importorskip("bitshuffle", reason="the images extra is not installed")
    with running_rig(tmp_path, TOML, web=True) as rig, browser(rig.ready.web) as page:
        [detector] = get(rig.ready.web, "/api/detectors/list").json
        assert detector["preview_address"].startswith("tcp://127.0.0.1:")
        page.wish(pictures=["preview.mini"])
        started = post(rig.ready.web, "/api/detectors/start", {"name": "mini"})
        assert started.status == 200, started.body
        seen: list[int] = []
        while len(seen) < 5:
            frame = page.frame(Tag.PICTURE)
            payload = frame.header["payload"]
            assert payload["shape"] == [80, 100]
            assert len(frame.body) == 80 * 100 * np.dtype(payload["dtype"]).itemsize
            seen.append(payload["index"])
            page.shown("preview.mini")
        assert seen == sorted(set(seen))
        assert post(rig.ready.web, "/api/detectors/cancel", {"name": "mini"}).status == 200
