"""The preview streams of detectors, for browsers: expanded, made no larger than a screen, bad pixels marked."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any

from labwire.client.rig import Rig
from labwire.errors import DeadlineError, LabwireError, UsageError, needs_extra
from labwire.images.compression import decompress
from labwire.images.preview_reader import Previewed, PreviewReader
from labwire.images.rendering import bad_pixels, shrink
from labwire.operations.detectors import Detectors
from labwire.web.mailbox import Item

PREVIEW = "preview."
"""Topic of a detector's preview, for browsers only: ``preview.<detector>``. It is not on the bus."""
MAX_SIDE = 2048
MAX_SPOTS = 500
MAX_PREVIEWS = 8
_SLICE_S = 0.5
_RETRY_S = 2.0
_ASK_S = 2.0

_log = logging.getLogger(__name__)


class Previews:
    """Reads the previews that somebody looks at, each on a thread of its own.

    Args:
        rig: The rig; it knows where the previews are.
        deliver: Takes each image, on those threads.
        now: Returns rig time.
    """

    def __init__(self, rig: Rig, deliver: Callable[[Item], None], now: Callable[[], float]) -> None:
        self._rig, self._deliver, self._now = rig, deliver, now
        self._running: dict[str, threading.Event] = {}
        self._threads: list[threading.Thread] = []

    def want(self, topics: Iterable[str]) -> None:
        """Read these from now on, and no others; does not wait."""
        wanted = [topic for topic in topics if topic.startswith(PREVIEW)][:MAX_PREVIEWS]
        for topic in self._running.keys() - set(wanted):
            self._running.pop(topic).set()
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        for topic in wanted:
            if topic not in self._running:
                end = self._running[topic] = threading.Event()
                thread = threading.Thread(target=self._follow, args=(topic, end), name=f"web {topic}", daemon=True)
                self._threads.append(thread)
                thread.start()

    def close(self) -> None:
        """End all threads."""
        self.want(())
        for thread in self._threads:
            thread.join(_SLICE_S + _ASK_S)

    def _follow(self, topic: str, end: threading.Event) -> None:
        while not end.is_set():
            try:
                status = self._rig.service(Detectors, timeout_s=_ASK_S).status(topic.removeprefix(PREVIEW))
                if status.preview_address:
                    with PreviewReader(status.preview_address) as reader:
                        self._read(reader, topic, end)
            except LabwireError as error:
                _log.debug("%s: %s", topic, error)
            except Exception:
                _log.exception("%s cannot be shown", topic)
            end.wait(_RETRY_S)

    def _read(self, reader: PreviewReader, topic: str, end: threading.Event) -> None:
        silent_s = 0.0
        # After a long silence the detector is asked anew where its preview is.
        while not end.is_set() and silent_s < 10 * _RETRY_S:
            with contextlib.suppress(DeadlineError):
                shown = reader.read(_SLICE_S)
                silent_s = 0.0
                self._deliver(item_of(topic, shown, self._now()))
                continue
            silent_s += _SLICE_S


def item_of(topic: str, shown: Previewed, time_s: float) -> Item:
    """Return a preview image as a picture for a browser: unsigned integers, the largest one marks a bad pixel.

    Raises:
        UsageError: It has no pixels.
        ProtocolError: They are damaged.
        MissingExtraError: The extra ``images`` is not installed.
    """
    with needs_extra("images"):
        import numpy as np
    image, start = shown.image, shown.start
    if not image.data:
        raise UsageError("these messages have no pixels: is this the address of a metadata stream?")
    channel, array = next(iter(image.data.items()))
    pixels, mask = decompress(array), None
    if start is not None and start.pixel_mask:
        mask = decompress(start.pixel_mask.get(channel) or next(iter(start.pixel_mask.values())))
    bad = bad_pixels(pixels, mask=mask, error_value=start.error_value if start else None)
    factor = -(-max(pixels.shape) // MAX_SIDE)
    pixels, bad = shrink(pixels, bad, MAX_SIDE)
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize <= np.dtype(np.uint32).itemsize:
        made = pixels.astype(pixels.dtype.newbyteorder("<"))
        made[bad] = np.iinfo(made.dtype).max
    else:
        made = pixels.astype("<f4")
        made[bad] = np.nan
    payload: dict[str, Any] = {
        "format": "raw",
        "dtype": made.dtype.str,
        "shape": list(made.shape),
        "index": image.image_id,
        "run_number": image.series_id,
        "shrunk": factor,
        "timestamp": time_s,
        "spots": [[spot.x / factor, spot.y / factor] for spot in (image.spots or ())[:MAX_SPOTS]],
    }
    return Item(topic, payload, [made.tobytes()], time_s)
