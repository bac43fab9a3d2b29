from __future__ import annotations

from labwire.sessions.pictures.picture_times import PictureTimes


def test_pts_are_exact() -> None:
    times = PictureTimes(1000.0, 50.0)
    last = -1
    for number in range(200):
        stamp = 1000.0 + number * 0.0333
        last = times.pts_of(stamp, 50.1 + number * 0.0333, last)
        assert last == round((stamp - 1000.0) * 65535)


def test_pts_grow_even_if_timestamps_do_not() -> None:
    times = PictureTimes(1000.0, 50.0)
    stamps = [1001.0, 1001.0, 1000.5, 1001.00001, 1001.1]
    pts: list[int] = []
    for stamp in stamps:
        pts.append(times.pts_of(stamp, 51.0, pts[-1] if pts else -1))
    assert pts == [65535, 65536, 65537, 65538, round((1001.1 - 1000.0) * 65535)]


def test_a_picture_taken_just_before_the_start_stands_at_its_beginning() -> None:
    assert PictureTimes(1000.0, 50.0).pts_of(999.98, 50.01, -1) == 0


def test_a_jump_of_rig_time_does_not_move_the_axis() -> None:
    times = PictureTimes(1000.0, 50.0)
    assert times.pts_of(1002.0, 52.0, -1) == 2 * 65535
    times.add_shift(-995.0)  # T 8.0 at second 3
    assert times.pts_of(1002.5, 52.5, 2 * 65535) == round(2.5 * 65535)  # stamped before, arrived after
    assert times.pts_of(8.0, 53.0, 0) == 3 * 65535
    assert times.pts_of(9.0, 54.0, 0) == 4 * 65535


def test_a_sender_with_another_clock_is_brought_onto_the_axis_once() -> None:
    times = PictureTimes(1000.0, 50.0)
    first = times.pts_of(1_700_000_000.0, 50.5, -1)
    assert first == round(0.5 * 65535)
    # From then on its own timestamps count, not the jitter of arrival.
    assert abs(times.pts_of(1_700_000_001.0, 51.7, first) - round(1.5 * 65535)) <= 1
    assert times.pts_of(1002.0, 52.0, -1) == 2 * 65535


def test_a_wild_sender_does_not_fill_the_memory() -> None:
    times = PictureTimes(1000.0, 50.0)
    last = -1
    for number in range(200):
        last = times.pts_of(number * 1e6, 50.0 + number, last)
    assert len(times._shifts_s) <= 16
    assert last <= 200 * 65535
