"""What a scrape finds."""

from __future__ import annotations

from labwire.web.metrics import Figures, metrics_text

NOTHING = Figures(
    kept={},
    actors=(),
    instruments=(),
    parts={"camera": ["world"], "detector": ["det1"], "writer": ["disk1"]},
    up=True,
    browsers=0,
    live_frames=0,
    live_bytes=0,
    live_dropped=0,
)


def lines(figures: Figures) -> set[str]:
    return set(metrics_text(figures)[0].decode().splitlines())


def test_parts_of_the_rig_file_stand_there_from_the_start() -> None:
    assert lines(NOTHING) >= {
        'labwire_camera_read_total{camera="world"} 0.0',
        'labwire_detector_runs_total{detector="det1"} 0.0',
        'labwire_detector_run_waiting{detector="det1"} 0.0',
        'labwire_writer_stored_bytes_total{writer="disk1"} 0.0',
        "# TYPE labwire_writer_waiting gauge",
    }


def test_what_they_told_last() -> None:
    kept = {
        "detector.det1.state": {"runs": 3, "done_images": 40, "waiting": None},
        "writer.disk1.state": {"images": 70, "missing": 2},
    }
    assert lines(NOTHING._replace(kept=kept)) >= {
        'labwire_detector_runs_total{detector="det1"} 3.0',
        'labwire_detector_run_images{detector="det1"} 40.0',
        'labwire_detector_run_waiting{detector="det1"} 0.0',
        'labwire_writer_images_total{writer="disk1"} 70.0',
        'labwire_writer_missing_total{writer="disk1"} 2.0',
    }
