"""A browser for tests: a WebSocket that reads live frames."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Generator
from typing import Any

from websockets.sync.client import ClientConnection, connect

from labwire.web.live_frame import LiveFrame, Tag, decode_frame

LIMIT_S = 20.0


class Browser:
    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def wish(self, **wish: Any) -> None:
        self.socket.send(json.dumps({"wish": wish}))

    def shown(self, topic: str) -> None:
        self.socket.send(json.dumps({"shown": topic}))

    def frame(self, tag: Tag, fits: Callable[[LiveFrame], bool] = lambda frame: True) -> LiveFrame:
        """Return the next frame of a kind."""
        deadline = time.monotonic() + LIMIT_S
        while True:
            data = self.socket.recv(max(0.0, deadline - time.monotonic()))
            assert isinstance(data, bytes)
            frame = decode_frame(data)
            if frame.tag is tag and fits(frame):
                return frame


@contextlib.contextmanager
def browser(url: str, **headers: str) -> Generator[Browser]:
    address = url.replace("http", "ws", 1) + "/live"
    sent = {key.replace("_", "-"): value for key, value in headers.items()}
    with connect(
        address,
        additional_headers=sent,
        compression=None,
        max_size=None,
        open_timeout=LIMIT_S,
        close_timeout=1,
        ping_interval=None,  # one that never reads would wait for its answer beyond the end of the connection
    ) as socket:
        yield Browser(socket)
