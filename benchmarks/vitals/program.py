"""What ``physiology_server`` costs as a whole: a camera's Motion JPEG in, frames, metrics and statuses out."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import NamedTuple, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.common import LoadWatch, cpu_s
from benchmarks.vitals.film import Film
from benchmarks.vitals.scenario import Scenario
from labwire.picture import encode_jpeg, picture_pixels

QUALITY = 85
_LOOP = 60  # different pictures
_WARM_S = 2.0
_LIMIT_S = 60.0
_PROGRAM = "from labwire.cli.physiology_server import main; main()"
_LAST_LINE = re.compile(r"physiology_server: (\d+) pictures, .*")


class Camera(NamedTuple):
    """What sends the pictures."""

    width: int
    height: int
    fps: int
    seconds: float


class Ran(NamedTuple):
    """What came of one camera."""

    camera: Camera
    sent: int
    taken: int
    lost: str
    """What the program says was lost, in its own words; empty if nothing was."""
    cpu_ms: float
    """Per picture, all threads of the program, once it runs."""
    other_cores: float
    """Used by other processes meanwhile, the camera's own among them."""


CAMERAS = (Camera(640, 480, 30, 60.0), Camera(1920, 1080, 60, 60.0))


def run_program(camera: Camera, photo: str) -> Ran:
    """Let the program look at a camera for a while."""
    with tempfile.TemporaryDirectory() as folder, _sending(_jpegs(camera, photo), camera.fps) as server:
        command = [sys.executable, "-c", _PROGRAM, "--streaming_backend=file", f"--input_video_path={server.url}"]
        options = [f"--file_ipc_base_directory={folder}/out", "--file_ipc_max_frame_count=300", "--headless"]
        with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True) as process:
            if not _is_there(Path(folder, "out", "latest.jpg"), process):
                process.kill()
                raise RuntimeError(f"physiology_server took no picture: {process.communicate()[1]}")
            time.sleep(min(_WARM_S, camera.seconds))
            watch, used_s, sent = LoadWatch(), cpu_s(process.pid), server.sent
            time.sleep(camera.seconds)
            used_s, sent = cpu_s(process.pid) - used_s, server.sent - sent
            others = watch.other_cores()
            process.terminate()
            told = cast("re.Match[str]", _LAST_LINE.search(process.communicate()[1]))
    return Ran(camera, server.sent, int(told[1]), told[0].partition("; ")[2], used_s / max(1, sent) * 1e3, others)


def _is_there(path: Path, process: subprocess.Popen[str]) -> bool:
    """Wait until a program has written a file; tell whether it did."""
    end_s = time.monotonic() + _LIMIT_S
    while not path.exists() and process.poll() is None and time.monotonic() < end_s:
        time.sleep(0.05)
    return path.exists()


class _Server(ThreadingHTTPServer):
    """A network camera that never waits for whoever looks, as far as the system's buffers go."""

    daemon_threads = True

    def __init__(self, jpegs: list[bytes], fps: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.jpegs, self.fps = jpegs, fps
        self.ending = threading.Event()
        self.sent = 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = cast("_Server", self.server)
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        start_s = time.monotonic()
        try:
            while not server.ending.wait(max(0.0, start_s + server.sent / server.fps - time.monotonic())):
                jpeg = server.jpegs[server.sent % len(server.jpegs)]
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
                server.sent += 1
        except OSError:
            pass  # it has seen enough

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def _sending(jpegs: list[bytes], fps: int) -> Iterator[_Server]:
    with _Server(jpegs, fps) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.ending.set()
            server.shutdown()
            thread.join()


def _jpegs(camera: Camera, photo: str) -> list[bytes]:
    film = Film(Scenario(name="camera", photo=photo, seconds=_LOOP / 30, fps=30))
    return [encode_jpeg(_sized(picture_pixels(one), camera), QUALITY) for one in islice(film.pictures(), _LOOP)]


def _sized(pixels: NDArray[np.uint8], camera: Camera) -> NDArray[np.uint8]:
    scale = camera.height / pixels.shape[0]
    scaled = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    over = camera.width - scaled.shape[1]
    return cast("NDArray[np.uint8]", np.pad(scaled, ((0, 0), (over // 2, over - over // 2), (0, 0)), mode="edge"))
