"""What is said of the disk before a session is what the session then takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from labwire.clock import monotonic_s
from labwire.sessions.record.growth import DiskTime, ImageWriters
from tests.sessions.lab import Lab
from tests.sessions.making import datum, jpeg, picture_parts

MESSAGES = [datum("pupil.0", 1000.0 + number / 100, confidence=0.9, norm_pos=[0.5, 0.5]) for number in range(2000)]
PICTURES = [picture_parts("frame.world", 1000.0 + number / 30, jpeg(number, 640, 480)) for number in range(60)]


def test_the_forecast_is_what_a_session_then_grows_by(lab: Lab) -> None:
    recorder = lab.recorder(exclude=("noise.",))
    for parts in [*MESSAGES, *PICTURES, [b"noise.much", bytes(10_000_000)], []]:
        assert not recorder.put(parts, monotonic_s())
    expected = recorder.forecast.grown_bytes
    recorder.start("pilot")
    for parts in [*MESSAGES, *PICTURES]:
        assert recorder.put(parts, monotonic_s())
    stopped = recorder.stop()
    written = sum(stream.written_bytes for stream in stopped.counters.values())
    assert abs(expected - written) < 0.15 * written
    assert recorder.forecast.grown_bytes == expected, "nothing is counted twice"
    assert recorder.forecast.not_known == 0


def test_without_the_players_files_it_takes_half(lab: Lab) -> None:
    both, one = lab.recorder(), lab.recorder(player_folder=False)
    for recorder in (both, one):
        recorder.put(MESSAGES[0], monotonic_s())
    assert both.forecast.grown_bytes == 2 * one.forecast.grown_bytes


def test_what_pictures_take_that_are_no_jpeg_nobody_knows(lab: Lab) -> None:
    recorder = lab.recorder()
    recorder.put(picture_parts("frame.world", 1000.0, bytes(64 * 48 * 3), format="bgr"), monotonic_s())
    assert recorder.forecast.not_known == 1


def test_what_a_detector_will_send_nobody_knows(lab: Lab) -> None:
    recorder = lab.recorder()
    recorder.put(datum("detector.det1.state", 1000.0, state="idle"), monotonic_s())
    assert recorder.forecast.not_known == 1


def test_writers_of_images_fill_the_disk_as_well(tmp_path: Path) -> None:
    writers = ImageWriters(tmp_path)
    for name, stored in (("disk1", 100), ("disk2", 20), ("disk1", 150)):
        writers.note(datum(f"writer.{name}.state", 1000.0, stored_bytes=stored, folder=str(tmp_path)))
    assert writers.stored_bytes == 170
    elsewhere = "/proc" if Path("/proc/self").exists() else "/nowhere"
    for parts in (
        datum("writer.disk3.state", 1000.0, stored_bytes=5, folder=elsewhere),
        datum("writer.disk3.state", 1000.0, stored_bytes=5, folder="/no/such\0folder"),
        datum("writer.disk3.state", 1000.0, stored_bytes="many", folder=str(tmp_path)),
        [b"writer.disk3.state", b"\xc1"],
        [b"writer.disk3.state"],
        datum("camera.world", 1000.0, stored_bytes=5, folder=str(tmp_path)),
    ):
        writers.note(parts)
    assert writers.stored_bytes == 170


def test_a_flood_of_writers_takes_no_memory_and_reading_the_bus_looks_at_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Path] = []
    stat = Path.stat
    monkeypatch.setattr(Path, "stat", lambda path: looked.append(path) or stat(path))
    writers = ImageWriters(tmp_path)
    for number in range(300):
        folder = str(tmp_path) + "/." * number
        writers.note(datum(f"writer.disk{number}.state", 1000.0, stored_bytes=1, folder=folder))
    assert looked == []
    assert writers.stored_bytes == 100
    writers.note(datum("writer.disk7.state", 1000.0, stored_bytes=11, folder=str(tmp_path)))
    assert writers.stored_bytes == 110, "one that is known is heard all the same"


def test_the_disk_lasts_as_long_as_the_rate_of_the_last_seconds_says() -> None:
    disk = DiskTime()
    assert disk.hours("a", 0, 3600, now_s=0.0) is None
    assert disk.hours("a", 100, 3600, now_s=1.0) is None, "it had not begun to grow"
    assert disk.hours("a", 200, 360_000, now_s=11.0) == 10.0, "10 bytes a second"
    assert disk.hours("a", 400, 360_000, now_s=16.0) is not None
    assert disk.hours("a", 500, -5, now_s=21.0) == 0.0
    assert disk.hours("a", 500, 3600, now_s=40.0) is None, "nothing grew"
    assert disk.hours("a", 100, 3600, now_s=41.0) is None, "somebody began anew"
    assert disk.hours("a", 200, 3600, now_s=42.0) == 0.01
    assert disk.hours("b", 900, 3600, now_s=43.0) is None, "something else grew before"
    assert disk.hours("b", 1000, 3600, now_s=43.0) is None, "no time has passed"
