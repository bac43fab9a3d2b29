"""A TCP image stream on loopback with writers of its own, for tests."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import msgspec

from labwire.images.pushers.tcp import TcpPusher
from labwire.images.stream import ImageStream, StreamResult
from labwire.wire.tcp_timeouts import SenderTimeouts
from tests.images.loopback_writer import WAIT_S, LoopbackWriter
from tests.images.stream_runs import LOCAL, PATIENT, image, start_message


class TcpBench:
    """A stream over TCP, its writers, and what it reported."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.pusher: TcpPusher
        self.stream: ImageStream
        self.open()

    def open(self, timeouts: SenderTimeouts = PATIENT, max_unacknowledged: int = 8192, **config: Any) -> None:
        if hasattr(self, "stream"):
            self.stream.close()
        self.pusher = TcpPusher(
            msgspec.structs.replace(LOCAL, **config),
            timeouts=timeouts,
            max_unacknowledged=max_unacknowledged,
            on_event=lambda kind, data: self.events.append((kind, data)),
        )
        self.stream = ImageStream(self.pusher)
        self._stack.callback(self.stream.close)

    def writer(self, **options: Any) -> LoopbackWriter:
        before = self.pusher.waiting_writers
        writer = self._stack.enter_context(LoopbackWriter(self.pusher.address, **options))
        self.pusher.wait_for_writers(before + 1, WAIT_S)
        return writer

    def run(self, run_number: int = 1, images: int = 10, **options: Any) -> StreamResult:
        self.stream.start(start_message(run_number, images, **options))
        for number in range(images):
            self.stream.put(image(number))
        return self.stream.end()

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.events]
