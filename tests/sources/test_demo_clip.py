"""The demo's clip: made of a real photograph, once, whole, and without a seam."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from labwire.errors import DeviceError, MissingExtraError
from labwire.picture import decode_jpeg
from labwire.sources import demo_clip as demo
from labwire.sources.demo_clip import COUNT, HEIGHT, WIDTH, cache_folder, demo_clip, is_whole, view_at
from labwire.sources.video_file import VideoFile

PHOTO_WIDTH, PHOTO_HEIGHT = 512, 600
SRC = Path(__file__).parents[2] / "src"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demo_clip(folder=tmp_path_factory.mktemp("clip"))


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clips be ten pictures long."""
    monkeypatch.setattr(demo, "COUNT", 10)


def test_clip_is_what_it_says(clip: Path) -> None:
    with VideoFile(clip) as file:
        assert (file.description.width, file.description.height) == (WIDTH, HEIGHT)
        assert file.description.fps == pytest.approx(30)
        assert file.description.as_it_came
        times = [picture.media_s for picture in file]
    assert times == pytest.approx([n / 30 for n in range(COUNT)])
    assert clip.stat().st_size < 60e6
    assert os.listdir(clip.parent) == [clip.name]


def test_clip_moves_slowly_and_has_no_seam(clip: Path) -> None:
    with VideoFile(clip) as file:
        pictures = [
            decode_jpeg(picture.data, gray=True) for n, picture in enumerate(file) if n in {0, 1, 300, COUNT - 1}
        ]
    first, second, middle, last = (picture.astype(int) for picture in pictures)
    step = np.abs(second - first).mean()
    assert 0 < np.abs(last - first).mean() < 2 * step + 1
    assert np.abs(middle - first).mean() > 5 * step


def test_a_face_is_seen_all_the_time(clip: Path) -> None:
    detector = cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_alt2.xml"))
    with VideoFile(clip) as file:
        for n, picture in enumerate(file):
            if n % 120 == 0:
                small = cv2.resize(decode_jpeg(picture.data, gray=True), (320, 240))
                assert len(detector.detectMultiScale(small, 1.1, 5)) == 1


def test_view_never_leaves_the_photograph_or_the_face() -> None:
    for n in range(1000):
        x, y, width = view_at(n / 1000)
        height = width * HEIGHT / WIDTH
        assert x - width / 2 >= 0
        assert x + width / 2 <= PHOTO_WIDTH
        assert y - height / 2 >= 0
        assert y + height / 2 <= PHOTO_HEIGHT
        assert x - width / 2 < 145
        assert x + width / 2 > 384
        assert y - height / 2 < 99
        assert y + height / 2 > 338
    assert view_at(0) == pytest.approx(view_at(1))


@pytest.mark.usefixtures("short")
def test_clip_is_made_once_with_progress(tmp_path: Path) -> None:
    told: list[float] = []
    path = demo_clip(told.append, tmp_path / "new" / "folder")
    assert told == sorted(told)
    assert told[-1] == 1.0
    stamp = path.stat().st_mtime_ns
    assert demo_clip(told.append, tmp_path / "new" / "folder") == path
    assert path.stat().st_mtime_ns == stamp
    assert told[-1] == 1.0
    assert told.count(1.0) == 1


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2000])


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    at = data.index(b"\xff\xd8", len(data) // 3)
    data[at : at + 8] = bytes(8)
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("spoil", [cut, damage, empty])
def test_spoilt_clip_is_made_again(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    path = demo_clip(folder=tmp_path)
    whole = path.read_bytes()
    spoil(path)
    assert not is_whole(path)
    assert demo_clip(folder=tmp_path).read_bytes() == whole


@pytest.mark.usefixtures("short")
def test_leftover_of_a_killed_process_is_removed(tmp_path: Path) -> None:
    old, new = tmp_path / ".demo-world-old.mp4", tmp_path / ".demo-world-new.mp4"
    for path in (old, new):
        path.touch()
    os.utime(old, (0, 0))
    demo_clip(folder=tmp_path)
    assert not old.exists()
    assert new.exists()


def test_without_the_photograph_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_PHOTO", Path("no", "such", "photo.jpg"))
    with pytest.raises(MissingExtraError, match=r"pip install 'labwire\[demo\]'"):
        demo_clip(folder=tmp_path)
    assert os.listdir(tmp_path) == []


def test_matplotlib_itself_is_not_imported() -> None:
    code = "import sys; from labwire.sources import demo_clip as d; d._photo(); print('matplotlib' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@contextmanager
def files_up_to(size_bytes: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("short")
def test_disk_that_takes_no_more_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    with files_up_to(100_000), pytest.raises(DeviceError, match="cannot be written to"):
        demo_clip(folder=tmp_path)
    assert os.listdir(tmp_path) == []


def test_folder_is_the_users_cache_or_the_next_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_folder() == tmp_path / "cache" / "labwire"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "labwire"
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cache_folder() == tmp_path / f"labwire-{os.getuid()}"
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    with pytest.raises(DeviceError, match="XDG_CACHE_HOME"):
        cache_folder()


def test_folder_of_somebody_else_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    uid = os.getuid()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    with pytest.raises(DeviceError):
        cache_folder()
