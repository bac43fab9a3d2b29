"""Network cameras, on the loopback: Motion JPEG over HTTP, RTSP."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from labwire.errors import DeviceError, StateError
from labwire.picture import Picture
from labwire.sources import stream as stream_module
from labwire.sources.feed import PictureFeed
from labwire.sources.stream import StreamSource, without_password
from labwire.testing.processes import running_process
from tests.ports import lasting_port
from tests.sources.clips import FPS, HEIGHT, WIDTH, jpegs

LIMIT_S = 30


class MotionJpegServer(ThreadingHTTPServer):
    """A camera that sends Motion JPEG to each that connects, until it is told to break off."""

    daemon_threads = True

    def __init__(self, frames: list[bytes], port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.frames = frames
        self.breaking, self.pausing = threading.Event(), threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/stream"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = cast("MotionJpegServer", self.server)
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            while not server.breaking.is_set():
                for frame in server.frames:
                    if server.pausing.is_set():
                        server.breaking.wait()
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(frame)}\r\n\r\n"
                    self.wfile.write(head.encode() + frame + b"\r\n")
                    if server.breaking.wait(1 / FPS):
                        break
        except OSError:
            pass  # it has seen enough

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def motion_jpeg_server(frames: list[bytes], port: int = 0) -> Iterator[MotionJpegServer]:
    server = MotionJpegServer(frames, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.breaking.set()
        server.shutdown()
        thread.join()
        server.server_close()


def take(source: StreamSource, count: int) -> list[Picture]:
    pictures = [source.read() for _ in range(count)]
    return [picture for picture in pictures if picture is not None]


def test_motion_jpeg_over_http_is_passed_as_it_came() -> None:
    frames = jpegs(5)
    with motion_jpeg_server(frames) as server:
        source = StreamSource(server.url)
        source.open()
        pictures = take(source, 10)
        description = source.describe()
        source.close()
    assert len(pictures) == 10
    start = frames.index(bytes(pictures[0].data))
    assert [bytes(picture.data) for picture in pictures] == [frames[(start + n) % 5] for n in range(10)]
    assert [picture.index for picture in pictures] == list(range(10))
    stamps = [picture.epoch_us for picture in pictures]
    assert stamps == sorted(set(stamps))
    assert (description.kind, description.codec, description.as_it_came) == ("stream", "mjpeg", True)
    assert (description.width, description.height) == (WIDTH, HEIGHT)


def test_a_camera_that_breaks_off_is_opened_again() -> None:
    events: list[str] = []
    port = lasting_port()
    with motion_jpeg_server(jpegs(3), port) as server:
        source = StreamSource(server.url)
        feed = PictureFeed(source, on_event=lambda kind, _: events.append(kind), first_retry_s=0.02).start()
        first = feed.get(LIMIT_S)
        server.breaking.set()
    with motion_jpeg_server(jpegs(3), port):
        while (picture := feed.get(LIMIT_S)).monotonic_s < first.monotonic_s or "failed" not in events:
            pass
        while events.count("opened") < 2:
            picture = feed.get(LIMIT_S)
        feed.close()
    assert picture.index > first.index
    assert events[0] == "opened"
    assert "ended" not in events


def test_nobody_there_is_told_without_the_password() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        source = StreamSource(f"http://me:secret@127.0.0.1:{taken.getsockname()[1]}/x")
        with pytest.raises(DeviceError, match="cannot be opened") as caught:
            source.open()
    assert "secret" not in caught.value.message
    assert "secret" not in source.describe().name
    assert without_password("rtsp://a:b@h:1/x?y=1") == "rtsp://h:1/x?y=1"


def test_a_camera_that_does_not_answer_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "_OPEN_S", 0.3)
    with (
        socket.create_server(("127.0.0.1", 0)) as mute,
        pytest.raises(DeviceError, match="did not answer within"),
    ):
        StreamSource(f"RTSP://127.0.0.1:{mute.getsockname()[1]}/x").open()


def test_a_camera_that_falls_silent_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "_SILENT_S", 2.0)
    with motion_jpeg_server(jpegs(3)) as server:
        source = StreamSource(server.url)
        source.open()
        server.pausing.set()
        with pytest.raises(DeviceError, match="sent nothing for 2 s"):
            take(source, 10_000)
        source.close()
        server.breaking.set()


def test_reading_before_opening_is_told_and_closing_twice_does_no_harm() -> None:
    source = StreamSource("http://127.0.0.1:1/x")
    with pytest.raises(StateError, match="open"):
        source.read()
    source.close()
    source.close()


def test_rtsp_is_decoded() -> None:
    url = f"rtsp://127.0.0.1:{lasting_port()}/live"
    source = StreamSource(url, options={"rtsp_flags": "listen", "listen_timeout": "40"})
    pusher = [sys.executable, str(Path(__file__).with_name("rtsp_pusher.py")), url]
    # A process of its own: both ends wait for each other inside of FFmpeg.
    with running_process(pusher, stderr=subprocess.DEVNULL):
        source.open()
        [picture] = take(source, 1)
        while abs(int(np.frombuffer(picture.data, np.uint8).mean()) - 100) >= 5:  # until one came that stands alone
            [picture] = take(source, 1)
        source.close()
    assert (picture.format, picture.width, picture.height) == ("bgr", WIDTH, HEIGHT)
