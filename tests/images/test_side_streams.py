"""The preview and the metadata stream, as their readers see them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import zmq

from labwire.errors import ConfigError, PortTakenError
from labwire.images.metadata import Metadata
from labwire.images.preview import Preview
from labwire.images.pushers.none import NonePusher
from labwire.images.stream import ImageStream
from labwire.images.stream_config import MetadataConfig, PreviewConfig
from labwire.testing.waiting import wait_until
from labwire.wire.image_codec import decode_message
from labwire.wire.image_message import EndMessage, ImageMessage, Message, MetadataMessage, StartMessage
from tests.images.stream_runs import image, is_image, start_message

ANY = "tcp://127.0.0.1:*"
LIMIT_MS = 20_000


class Bench:
    """A stream with a preview and metadata, and readers of both."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._context: zmq.Context[Any] = zmq.Context()
        stack.callback(self._context.term)
        self.preview: Preview
        self.metadata: Metadata
        self.stream: ImageStream

    def open(self, period_ms: int = 0, start_again_s: float = 30.0, metadata_ms: int = 20) -> None:
        self.preview = Preview(PreviewConfig(address=ANY, period_ms=period_ms), start_again_s=start_again_s)
        self.metadata = Metadata(MetadataConfig(address=ANY, period_ms=metadata_ms))
        self.stream = ImageStream(NonePusher(), preview=self.preview, metadata=self.metadata)
        self._stack.callback(self.stream.close)

    def reader(self, address: str, *, conflate: bool = False) -> zmq.Socket[Any]:
        """Connect a reader that is known to be subscribed."""
        socket = self._context.socket(zmq.SUB)
        self._stack.callback(socket.close)
        socket.linger = 0
        socket.rcvtimeo = LIMIT_MS
        if conflate:
            socket.setsockopt(zmq.CONFLATE, 1)
        socket.subscribe(b"")
        socket.connect(address)
        return socket

    def preview_reader(self, *, conflate: bool = False) -> zmq.Socket[Any]:
        """Connect a reader of the preview that is known to be subscribed."""
        socket = self.reader(self.preview.address, conflate=conflate)
        wait_until(lambda: self._hears(socket), "the reader is subscribed")
        return socket

    def _hears(self, socket: zmq.Socket[Any]) -> bool:
        """Send runs until one is heard; some of it may come later, see `start_of_run_1`."""
        self.stream.start(start_message(0))
        self.stream.end()
        heard = False
        while socket.poll(50):
            heard = True
            socket.recv()
        return heard

    def metadata_reader(self) -> zmq.Socket[Any]:
        """Connect a reader of the metadata that is known to be subscribed."""
        socket = self.reader(self.metadata.address)
        wait_until(lambda: self._hears(socket), "the reader is subscribed")
        return socket


def receive(socket: zmq.Socket[Any]) -> Message:
    return decode_message(socket.recv())


def start_of_run_1(socket: zmq.Socket[Any]) -> None:
    """Wait for START of run 1, behind what is still to come of runs by which the subscription was known."""
    while (message := receive(socket)).series_id == 0:
        assert isinstance(message, StartMessage | EndMessage)
    assert isinstance(message, StartMessage)
    assert message.series_id == 1


@pytest.fixture
def bench() -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(stack)


def test_the_preview_shows_start_and_images_and_no_end(bench: Bench) -> None:
    bench.open()
    socket = bench.preview_reader()
    bench.stream.start(start_message(1))
    start_of_run_1(socket)
    for number in range(20):
        before = bench.preview.sent
        bench.stream.put(image(number))
        wait_until(lambda before=before: bench.preview.sent > before, "the image goes out")
    bench.stream.end()
    last = -1
    while last < 19:
        message = receive(socket)
        assert isinstance(message, ImageMessage)
        assert last < message.image_id
        assert is_image(message, message.image_id)
        last = message.image_id
    assert not socket.poll(100)  # no END


def test_whoever_joins_late_gets_start_again(bench: Bench) -> None:
    bench.open(start_again_s=0.05)
    bench.stream.start(start_message(1))
    bench.stream.put(image(0))
    late = bench.reader(bench.preview.address)
    while not isinstance(receive(late), StartMessage):
        pass
    bench.stream.end()

    def is_silent() -> bool:
        silent = not late.poll(200)
        return silent or late.recv() is None  # what was under way

    wait_until(is_silent, "after the run nothing is sent again")


def test_the_period_thins_the_images_out(bench: Bench) -> None:
    bench.open(period_ms=60_000)
    bench.preview_reader()
    bench.stream.start(start_message(1))
    for number in range(50):
        bench.stream.put(image(number))
    wait_until(lambda: bench.preview.skipped >= 48, "images are skipped")
    bench.stream.end()
    assert bench.preview.skipped <= 50


def test_a_reader_that_is_behind_gets_the_newest_and_holds_nobody_up(bench: Bench) -> None:
    bench.open()
    slow = bench.preview_reader(conflate=True)
    bench.stream.start(start_message(1))
    start_of_run_1(slow)
    for number in range(300):
        bench.stream.put(image(number, pixels=1 << 18))
    wait_until(lambda: slow.poll(0) != 0, "something is there")
    bench.stream.end()
    last = -1
    while last < 299:
        message = receive(slow)
        assert isinstance(message, ImageMessage)
        assert message.image_id > last
        last = message.image_id


def test_the_metadata_stream_tells_of_every_image_without_pixels_and_spots(bench: Bench) -> None:
    bench.open()
    socket = bench.metadata_reader()
    bench.stream.start(start_message(1))
    start_of_run_1(socket)
    for number in range(2500):
        bench.stream.put(image(number))
    bench.stream.end()
    numbers: list[int] = []
    while not isinstance(message := receive(socket), EndMessage):
        assert isinstance(message, MetadataMessage)
        assert message.series_id == 1
        assert not any(one.data or one.spots for one in message.images)
        numbers += [one.image_id for one in message.images]
    assert sorted(numbers) == list(range(2500))
    assert bench.metadata.dropped == 0


def test_a_run_without_readers_costs_nobody_anything(bench: Bench) -> None:
    bench.open()
    for run in range(3):
        bench.stream.start(start_message(run, prefix=None))
        for number in range(10):
            assert bench.stream.put(image(number))
        assert bench.stream.end().ok


def make_preview(address: str) -> Preview:
    return Preview(PreviewConfig(address=address))


def make_metadata(address: str) -> Metadata:
    return Metadata(MetadataConfig(address=address))


@pytest.mark.parametrize("make", [make_preview, make_metadata])
def test_addresses_are_checked(make: Callable[[str], Preview | Metadata]) -> None:
    with pytest.raises(ConfigError):
        make("nowhere")
    first = make(ANY)
    with pytest.raises(PortTakenError):
        make(first.address)
    first.close()
    first.close()
