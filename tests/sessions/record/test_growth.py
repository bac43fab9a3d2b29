"""What is said of the disk before a session is what the session then takes."""

from __future__ import annotations

from labwire.clock import monotonic_s
from labwire.sessions.record.growth import DiskTime
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


def test_the_disk_lasts_as_long_as_the_rate_since_the_last_look_says() -> None:
    disk, hour = DiskTime(), 3600.0
    assert disk.hours("a", 0, 1000, now_s=0.0) is None
    assert disk.hours("a", 100, 1000, now_s=hour) is None, "it had not begun to grow"
    assert disk.hours("a", 200, 1000, now_s=2 * hour) == 10.0
    assert disk.hours("a", 300, -5, now_s=3 * hour) == 0.0
    assert disk.hours("a", 300, 1000, now_s=4 * hour) is None, "nothing grew"
    assert disk.hours("b", 900, 1000, now_s=5 * hour) is None, "something else grew before"
    assert disk.hours("b", 1000, 1000, now_s=5 * hour) is None, "no time has passed"
