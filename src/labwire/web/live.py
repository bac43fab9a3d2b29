"""The live WebSocket: one per browser, a task that sends and a task that listens."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from labwire.errors import LabwireError, StateError, UsageError
from labwire.web.feed import Feed
from labwire.web.live_frame import Tag, encode_frame
from labwire.web.mailbox import FromBrowser, Item, Mailbox
from labwire.web.on_thread import on_thread

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

BATCH_S = 0.05
"""Messages and points are sent together so often."""
STATUS_S = 1.0
MAX_FROM_BROWSER_BYTES = 1 << 16
_TRY_AGAIN_LATER = 1013
_POLICY = 1008


class Live:
    """Serves the browsers.

    Args:
        feed: The bus.
        about: Returns what a browser is told first.
        now: Returns rig time.
    """

    def __init__(self, feed: Feed, about: Callable[[], dict[str, Any]], now: Callable[[], float]) -> None:
        self._feed, self._about, self._now = feed, about, now
        self.sent_frames = self.sent_bytes = 0
        self.dropped = 0

    async def serve(self, socket: WebSocket) -> None:
        """Serve one browser until it goes."""
        loop, event = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the server has ended
                loop.call_soon_threadsafe(event.set)

        box = Mailbox(wake)
        try:
            self._feed.add(box)
        except StateError as error:
            await socket.close(_TRY_AGAIN_LATER, error.message)
            return
        sender = asyncio.create_task(self._send(socket, box, event))
        try:
            await self._listen(socket, box, event)
        finally:
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):  # the connection broke while it sent
                await sender
            self.dropped += sum(box.dropped.values())
            await on_thread(self._feed.remove, box)

    async def _listen(self, socket: WebSocket, box: Mailbox, event: asyncio.Event) -> None:
        while True:
            message = await socket.receive()
            if message["type"] != "websocket.receive":
                return
            text = message.get("text") or message.get("bytes") or ""
            try:
                if len(text) > MAX_FROM_BROWSER_BYTES:
                    raise UsageError(f"a message has at most {MAX_FROM_BROWSER_BYTES} bytes")
                said = msgspec.json.decode(text, type=FromBrowser)
                if said.wish is not None:
                    await on_thread(self._feed.set_wish, box, said.wish)
            except (LabwireError, msgspec.DecodeError, ValueError, RecursionError) as error:
                await socket.close(_POLICY, str(error)[:100])
                return
            if said.shown and box.shown(said.shown):
                event.set()

    async def _send(self, socket: WebSocket, box: Mailbox, event: asyncio.Event) -> None:
        await self._out(socket, encode_frame(Tag.HELLO, self._about()))
        batch_s = status_s = time.monotonic()
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), max(0.0, batch_s - time.monotonic()))
            event.clear()
            while item := box.take_picture():
                await self._out(socket, _picture(item, box.dropped.get(item.topic, 0)))
            now_s = time.monotonic()
            if now_s >= batch_s:
                batch_s = now_s + BATCH_S
                for frame in _batch(box):
                    await self._out(socket, frame)
            if now_s >= status_s:
                status_s = now_s + STATUS_S
                await self._out(socket, encode_frame(Tag.STATUS, self._status(box)))

    async def _out(self, socket: WebSocket, frame: bytes) -> None:
        # Waits while the system's buffer for this browser is full; meanwhile its mailbox conflates and drops.
        await socket.send_bytes(frame)
        self.sent_frames += 1
        self.sent_bytes += len(frame)

    def _status(self, box: Mailbox) -> dict[str, Any]:
        return {
            "rig_time_s": self._now(),
            "rig": self._feed.connected,
            "dropped": box.dropped,
            "server_dropped": self._feed.dropped,
            "malformed": self._feed.malformed,
            "browsers": self._feed.browsers,
        }


def _picture(item: Item, dropped: int) -> bytes:
    return encode_frame(Tag.PICTURE, {"topic": item.topic, "payload": item.payload, "dropped": dropped}, item.raw[:1])


def _batch(box: Mailbox) -> list[bytes]:
    frames: list[bytes] = []
    newest, tail = box.take_messages()
    if newest or tail:
        header = {"newest": [_row(item) for item in newest], "all": [_row(item) for item in tail]}
        frames.append(encode_frame(Tag.MESSAGES, {**header, "dropped": box.dropped}))
    rows, columns = box.take_series()
    if rows:
        frames.append(encode_frame(Tag.SERIES, {"series": rows}, columns))
    return frames


def _row(item: Item) -> list[Any]:
    return [item.topic, item.payload, item.time_s, item.raw_bytes]
