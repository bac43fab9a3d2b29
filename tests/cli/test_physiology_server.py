"""physiology_server as its users start it: with a video, with a camera, with what is wrong."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from labwire.cli.physiology_server import serve
from labwire.errors import DeviceError, ResourceError, StateError, UsageError
from labwire.file_backend.backend import FileBackend
from labwire.file_backend.config import FileIpcOptions
from labwire.file_backend.reader import latest_frame, read
from labwire.picture import check_jpeg, encode_jpeg
from labwire.sources import camera
from labwire.testing.processes import running_process
from labwire.testing.waiting import wait_until
from tests.ports import lasting_port
from tests.sources.clips import jpegs, motion_jpeg
from tests.sources.test_stream import motion_jpeg_server

HERE = Path(__file__).parent
SRC = HERE.parents[1] / "src"
LIMIT_S = 40.0


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return motion_jpeg(tmp_path / "clip.avi", jpegs(60))


def start(*more: str) -> list[str]:
    return ["--streaming_backend=file", "--use_camera", *more]


def test_a_video_is_processed_to_its_end(tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert serve(start(f"--input_video_path={clip}", "--file_ipc_max_frame_count=10")) == 0
    folder = tmp_path / "file_ipc_output"
    names = sorted(os.listdir(folder))
    assert [name for name in names if not name.startswith("frame")] == [
        "core_metrics.jsonl",
        "edge_metrics.jsonl",
        "latest.jpg",
        "status.jsonl",
    ]
    assert len([name for name in names if re.fullmatch(r"frame\d{16}\.jpg", name)]) == 10
    assert (folder / "latest.jpg").read_bytes() == jpegs(60)[-1]
    assert 1 in [record.payload["code"] for record in read(folder)]  # nobody is in the picture
    started, ended = capsys.readouterr().err.splitlines()
    assert str(clip) in started
    log = Path(started.rpartition("log: ")[2])
    assert log.parent == tmp_path / "state" / "labwire" / "log"
    assert "64 x 48 at 30/s, mjpeg" in log.read_text()
    assert "60 pictures" in ended
    assert "dropped" not in ended


def test_what_is_implied_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # file-ipc, "Batch Processing" and "Debugging and Development": without --use_camera.
    monkeypatch.setattr(camera, "DEVICES", tmp_path)
    with pytest.raises(DeviceError, match="no camera"):
        serve(["--streaming_backend=file", "--file_ipc_base_directory=out"])
    assert capsys.readouterr().err.splitlines() == ["physiology_server: --use_camera is implied"]


def test_a_video_needs_no_word_about_a_camera(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert serve(["--streaming_backend=file", f"--input_video_path={clip}"]) == 0
    assert "use_camera" not in capsys.readouterr().err


def test_the_folder_that_is_read_is_never_cleared(clip: Path) -> None:
    serve(start(f"--input_video_path={clip}", "--file_ipc_base_directory=first"))
    before = sorted(os.listdir("first"))
    with pytest.raises(UsageError, match="first is read from"):
        serve(start("--input_video_path=first", "--file_ipc_base_directory=./first/"))
    assert sorted(os.listdir("first")) == before


def test_a_log_that_cannot_be_written_is_told(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "state").write_text("no folder")
    with pytest.raises(ResourceError, match="XDG_STATE_HOME"):
        serve(start(f"--input_video_path={clip}"))


def test_the_client_of_the_spec_reads_what_was_written(clip: Path) -> None:
    serve(start(f"--input_video_path={clip}"))
    # file-ipc, "Python Client Example": each line of both files is an object of its own.
    for name in ("core_metrics.jsonl", "edge_metrics.jsonl"):
        with (Path("file_ipc_output") / name).open() as file:
            for line in file:
                assert list(json.loads(line)) == ["type", "timestamp", "payload"]


def test_times_of_the_video_are_those_of_its_file(clip: Path, tmp_path: Path) -> None:
    times = tmp_path / "times.txt"
    times.write_text("".join(f"{1_700_000_000_000 + n * 40}\n" for n in range(60)))
    serve(start(f"--input_video_path={clip}", f"--input_video_time_path={times}"))
    frames = sorted(path.name for path in Path("file_ipc_output").glob("frame*.jpg"))
    assert frames == [f"frame{1_700_000_000_000_000 + n * 40_000}.jpg" for n in range(60)]
    for record in read("file_ipc_output"):
        assert 1_700_000_000_000_000 <= record.timestamp <= 1_700_000_003_000_000


def test_a_video_at_its_own_pace_keeps_its_own_times(clip: Path, tmp_path: Path) -> None:
    motion_jpeg(clip, jpegs(10))
    times = tmp_path / "times.txt"
    times.write_text("".join(f"{1_700_000_000_000 + n * 40}\n" for n in range(10)))
    serve(start(f"--input_video_path={clip}", f"--input_video_time_path={times}", "--realtime"))
    moments = [record.timestamp for record in read("file_ipc_output")]
    assert moments
    assert 1_700_000_000_000_000 <= min(moments) <= max(moments) <= 1_700_000_001_000_000


def test_a_video_with_too_few_times_ends_there_and_says_so(clip: Path, tmp_path: Path) -> None:
    times = tmp_path / "times.txt"
    times.write_text("0\n40\n80\n")
    with pytest.raises(DeviceError, match="has 3 lines, and the video has more pictures"):
        serve(start(f"--input_video_path={clip}", f"--input_video_time_path={times}"))
    assert len(list(Path("file_ipc_output").glob("frame*.jpg"))) == 3
    assert [record.payload["code"] for record in read("file_ipc_output")][-1] == 101


def test_a_folder_of_frames_is_a_video_too(clip: Path) -> None:
    serve(start(f"--input_video_path={clip}", "--file_ipc_base_directory=first"))
    serve(start("--input_video_path=first", "--file_ipc_base_directory=second"))
    names = [sorted(path.name for path in Path(folder).glob("frame*.jpg")) for folder in ("first", "second")]
    assert names[0] == names[1]


def test_what_is_lost_is_told_at_the_end(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    serve(start(f"--input_video_path={clip}", "--file_ipc_base_directory=first"))
    assert "broken" not in capsys.readouterr().err
    torn = sorted(Path("first").glob("frame*.jpg"))[7]
    torn.write_bytes(torn.read_bytes()[:50])
    serve(start("--input_video_path=first", "--file_ipc_base_directory=second"))
    assert capsys.readouterr().err.endswith("; pictures broken: 1\n")


def test_logs_go_to_standard_error_too_if_asked(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    debug = [
        "--also_log_to_stderr",
        "--file_ipc_enable_debug_logging=true",
        "--file_ipc_base_directory=./debug_session",
    ]
    serve(start(f"--input_video_path={clip}", *debug))
    told = capsys.readouterr().err
    assert "INFO labwire.cli.physiology_server: " in told
    assert "DEBUG labwire.file_backend.pictures: wrote frame" in told


def test_a_person_at_the_terminal_hears_of_what_a_camera_cannot_show(
    clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    motion_jpeg(clip, jpegs(90))
    serve(start(f"--input_video_path={clip}", "--file_ipc_compress_frames=false"))
    told = capsys.readouterr().err.splitlines()
    assert any(line.startswith("physiology_server: compress_frames is false") for line in told)
    assert any(
        re.match(r"physiology_server: frames are kept without a limit: \d+\.\d GB per hour", line) for line in told
    )
    assert not any("No face" in line for line in told)


def test_what_is_wrong_ends_it_at_once(tmp_path: Path, clip: Path) -> None:
    with pytest.raises(DeviceError, match="no file"):
        serve(start("--input_video_path=gone.mp4"))
    with pytest.raises(DeviceError, match="Failed to create directory"):
        serve(start(f"--input_video_path={clip}", f"--file_ipc_base_directory={clip}/out"))
    with FileBackend(FileIpcOptions(base_directory="mine")), pytest.raises(StateError, match="this process"):
        serve(start(f"--input_video_path={clip}", "--file_ipc_base_directory=mine"))


def test_only_the_newest_log_files_are_kept(clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "state" / "labwire" / "log"
    folder.mkdir(parents=True)
    for n in range(30):
        (folder / f"physiology_server-2020010{n:02d}.log").touch()
    (folder / "rig.log").touch()
    serve(start(f"--input_video_path={clip}"))
    assert len(list(folder.glob("physiology_server-*.log"))) == 20
    assert (folder / "rig.log").exists()


# --- as a program


def program(*more: str, script: Path | None = None) -> list[str]:
    code = ["-c", "from labwire.cli.physiology_server import main; main()"]
    return [sys.executable, *([str(script)] if script else code), *start(*more)]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SRC), **more}


def test_an_unknown_flag_is_told_with_the_right_spelling() -> None:
    done = subprocess.run(
        program("--max_frame_count=3"), env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "did you mean --file_ipc_max_frame_count?" in done.stderr
    assert "physiology_server --help" in done.stderr


def test_ctrl_c_ends_it_cleanly(clip: Path) -> None:
    motion_jpeg(clip, jpegs(600))  # longer than a busy machine takes to see a frame of it
    command = program(f"--input_video_path={clip}", "--realtime")
    with running_process(command, env=environment(), stderr=subprocess.PIPE) as process:
        wait_until(lambda: Path("file_ipc_output/latest.jpg").exists(), "a frame", limit_s=LIMIT_S)
        process.send_signal(signal.SIGINT)
        assert process.stderr
        told = process.stderr.read().decode()
        assert process.wait(LIMIT_S) == 0, told
    assert "pictures" in told.splitlines()[-1]


def test_a_network_camera_that_breaks_off_and_comes_back() -> None:
    folder, frames = Path("file_ipc_output"), jpegs(3)

    def codes() -> list[int]:
        return [record.payload["code"] for record in read(folder) if record.type == "status"]

    with ExitStack() as camera:
        server = camera.enter_context(motion_jpeg_server(frames, port := lasting_port()))
        command = program(f"--input_video_path={server.url}", "--file_ipc_max_frame_count=5")
        with running_process(command, env=environment(), stderr=subprocess.PIPE) as process:
            wait_until(lambda: latest_frame(folder) in frames, "a frame, byte for byte", limit_s=LIMIT_S)
            camera.close()
            wait_until(lambda: 101 in codes(), "a status that says the camera is lost", limit_s=LIMIT_S)
            with motion_jpeg_server(frames, port):
                wait_until(lambda: codes()[-1] != 101, "the camera to come back", limit_s=LIMIT_S)
                process.send_signal(signal.SIGINT)
                assert process.wait(LIMIT_S) == 0


def test_a_terminal_shows_a_live_line(clip: Path) -> None:
    motion_jpeg(clip, jpegs(600))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    shown = b""
    with running_process(program(f"--input_video_path={clip}", "--realtime"), env=environment(), stderr=theirs):
        os.close(theirs)
        while b"sit in front" not in shown:
            shown += os.read(ours, 4096)
    os.close(ours)
    line = shown.decode().rpartition("\x1b[K")[2]
    assert re.search("pulse — │ breathing — │ \\d+ fps │ disk \\d+ GB │ No face found: sit in front", line)


# --- with a camera that a small library in front of the kernel makes up


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    made = tmp_path_factory.mktemp("fake_v4l2") / "fake_v4l2.so"
    source = HERE.parent / "sources" / "fake_v4l2.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", made, source], check=True, timeout=60)
    return made


def test_a_camera_that_is_unplugged_and_comes_back(tmp_path: Path, library: Path) -> None:
    device, frames = tmp_path / "video3", tmp_path / "frames"
    device.touch()
    made = [encode_jpeg(np.full((48, 64, 3), value, np.uint8)) for value in (20, 90, 160, 230)]
    frames.write_bytes(b"".join(struct.pack("I", len(frame)) + frame for frame in made))
    env = environment(
        FAKE_V4L2_DEVICE=str(device), FAKE_V4L2_FRAMES=str(frames), FAKE_V4L2_FORMAT="MJPG", LD_PRELOAD=str(library)
    )
    command = program("--camera_device_index=3", "--file_ipc_max_frame_count=5", script=HERE / "camera_server.py")
    folder = Path("file_ipc_output")

    def codes() -> list[int]:
        return [record.payload["code"] for record in read(folder) if record.type == "status"]

    with running_process(command, env=env, stderr=subprocess.PIPE) as process:
        wait_until(lambda: latest_frame(folder) in made, "a frame of the camera, byte for byte", limit_s=LIMIT_S)
        device.unlink()
        wait_until(lambda: 101 in codes(), "a status that says the camera is lost", limit_s=LIMIT_S)
        device.touch()
        wait_until(lambda: codes()[-1] != 101, "the camera to come back", limit_s=LIMIT_S)
        (folder / "latest.jpg").unlink()
        wait_until(lambda: latest_frame(folder) in made, "another frame", limit_s=LIMIT_S)
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == 0
    assert codes()[0] == 8
    lost = next(record for record in read(folder) if record.payload.get("code") == 101)
    assert "video3 was unplugged" in lost.payload["message"]
    assert check_jpeg((folder / "latest.jpg").read_bytes()) == (64, 48)
