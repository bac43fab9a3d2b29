"""A session opened in Python."""

from __future__ import annotations

import html.parser
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import labwire
from labwire.errors import NotFoundError
from labwire.sessions.pictures.video_reader import RecordedPictures
from labwire.sessions.reading.session_reader import Session
from tests.sessions.lab import Lab
from tests.sessions.making import datum, jpeg, picture_parts, wait_for
from tests.sessions.recorded import STEP_S, record_session

Recorded = tuple[Path, list[tuple[bytes, ...]]]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return record_session(tmp_path_factory.mktemp("recordings"), jump_at=30)


@pytest.fixture
def session(recorded: Recorded) -> Iterator[Session]:
    with labwire.open_session(recorded[0]) as session:
        yield session


def test_a_table_is_on_one_axis_whatever_the_clock_did(session: Session) -> None:
    table = session["pupil.0"]
    rows = list(table.rows())
    assert len(table) == len(rows) == 60
    assert table.units == {"time_s": "s", "arrival_s": "s", "timestamp": "s", "norm_pos": "1", "confidence": "1"}
    steps = np.diff([row["time_s"] for row in rows])
    assert np.allclose(steps, STEP_S, atol=1e-4)
    assert rows[31]["timestamp"] < rows[30]["timestamp"], "the clock jumped"
    assert session["scale"].units["weight_kg"] == "kg"


def test_tables_become_arrow_pandas_and_xarray(session: Session) -> None:
    for name in ("pyarrow", "pandas", "xarray"):
        pytest.importorskip(name)
    table = session["pupil.0"]
    arrow = table.to_arrow()
    assert arrow.num_rows == 60
    assert arrow.schema.field("norm_pos").metadata == {b"unit": b"1"}
    frame = table.to_pandas()
    assert list(frame["number"]) == list(range(60))
    assert frame.index.name == "time_s"
    assert frame.attrs["units"]["timestamp"] == "s"
    data = table.to_xarray()
    assert data["norm_pos"].dims == ("time_s", "norm_pos_axis")
    assert data["norm_pos"].shape == (60, 2)
    assert data["confidence"].attrs == {"units": "1"}
    assert float(data["number"].sel(time_s=float(data["time_s"][7]))) == 7


def test_pictures_by_number_and_by_time(session: Session) -> None:
    pictures = session.pictures["frame.world"]
    assert len(pictures) == 20
    assert pictures[4].jpeg == jpeg(12)
    assert pictures[-1].number == 19
    assert pictures[2].size == (64, 48)
    assert pictures[2].pixels().shape == (48, 64, 3)
    middle = pictures[7].time_s
    assert pictures.at(middle + 0.4 * 3 * STEP_S).number == 7
    assert pictures.at(middle + 0.6 * 3 * STEP_S).number == 8
    assert pictures.at(-5.0).number == 0
    assert pictures.at(1e9).number == 19
    assert [picture.number for picture in pictures.between(pictures[3].time_s, pictures[6].time_s)] == [3, 4, 5]
    assert [picture.number for picture in pictures[::5]] == [0, 5, 10, 15]
    with pytest.raises(IndexError):
        pictures[20]


def test_messages_bring_their_pictures_back(session: Session, recorded: Recorded) -> None:
    sent = [parts for parts in recorded[1] if parts[0].startswith(b"frame.")]
    got = list(session.messages("frame.", pictures=True))
    assert [message.raw for message in got] == [parts[2:] for parts in sent]
    late = list(session.messages("frame.", from_s=got[10].arrival_s - 1e-6, pictures=True))
    assert [message.raw for message in late] == [parts[2:] for parts in sent[10:]]
    assert list(session.messages("frame.", to_s=got[0].arrival_s)) == []
    assert all(message.raw == () for message in session.messages("frame."))


def test_marks_and_what_a_notebook_shows(session: Session) -> None:
    assert [mark.label for mark in session.marks] == ["mark 7", "mark 27", "mark 47"]
    shown = session._repr_html_()
    for words in ("pupil.0", "frame.world: 20 pictures", "mark 27", "complete", "data:image/jpeg;base64,"):
        assert words in shown
    open_tags: list[str] = []

    class Parser(html.parser.HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            while open_tags.pop() != tag:
                pass

    Parser().feed(shown)
    assert open_tags == []


def test_what_is_not_there_is_named(session: Session, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"pupil\.0"):
        session["pupil"]
    assert "pupil.0" in session
    assert set(session.tables("pupil.")) == {"pupil.0"}
    with pytest.raises(NotFoundError):
        labwire.open_session(tmp_path)


def test_a_session_that_was_cut_off_opens(recorded: Recorded, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(recorded[0], tmp_path / "cut"))
    for name in ("bus.mcap", "world.mp4"):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) * 2 // 3])
    with labwire.open_session(folder / "bus.mcap") as session:
        assert 20 < len(session["pupil.0"]) < 60
        assert 5 < len(session.pictures["frame.world"]) < 20


def test_a_session_that_is_being_recorded_opens(lab: Lab) -> None:
    recorder = lab.recorder()
    folder = Path(recorder.start().rec_path)
    for number in range(5):
        recorder.put(datum("a", 1000.0, number=number), 1.0 + number)
    wait_for(lambda: b"number\x04" in (folder / "bus.mcap").read_bytes())
    with labwire.open_session(folder) as session:
        assert [row["number"] for row in session["a"].rows()] == [0, 1, 2, 3, 4]
    recorder.stop()


def test_videos_of_several_sizes_are_one_row_of_pictures(lab: Lab) -> None:
    pytest.importorskip("av")
    recorder = lab.recorder()
    folder = Path(recorder.start().rec_path)
    now_s = recorder.session.start_monotonic_s if recorder.session else 0.0
    raw = np.arange(64 * 48, dtype=np.uint8).reshape(48, 64) // 2
    sent = [
        picture_parts("frame.world", lab.clock.at(now_s + 1), jpeg(1)),
        picture_parts("frame.world", lab.clock.at(now_s + 2), jpeg(2, 32, 16)),
        picture_parts("frame.eye.0", lab.clock.at(now_s + 3), raw.tobytes(), format="gray"),
    ]
    for number, parts in enumerate(sent):
        recorder.put(parts, now_s + 1 + number)
    recorder.stop()
    with labwire.open_session(folder) as session:
        assert {topic: len(pictures) for topic, pictures in session.pictures.items()} == {
            "frame.world": 2,
            "frame.eye.0": 1,
        }
        assert [picture.size for picture in session.pictures["frame.world"]] == [(64, 48), (32, 16)]
        *worlds, eye = session.messages(pictures=True)
        assert [message.raw[0] for message in worlds] == [parts[2] for parts in sent[:2]]
        back = np.frombuffer(eye.raw[0], np.uint8).reshape(48, 64)
        assert np.abs(back.astype(int) - raw).mean() < 8


def test_images_of_a_detector_are_read_one_by_one(recorded: Recorded, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    folder = Path(shutil.copytree(recorded[0], tmp_path / "with images"))
    stack = np.arange(24, dtype="u2").reshape(4, 3, 2)
    with h5py.File(folder / "run_master.h5", "w") as file:
        file["entry/data/data"] = stack
        file["entry/other"] = np.zeros(3)
    (folder / "broken.h5").write_bytes(b"no")
    with labwire.open_session(folder) as session:
        (images,) = session.images.values()
        assert list(session.images) == ["run_master.h5"]
        assert (len(images), images.shape, str(images.dtype)) == (4, (4, 3, 2), "uint16")
        assert (images[2] == stack[2]).all()
        assert sum(1 for _ in images) == 4


def test_pictures_whose_timestamps_are_lost_are_there(recorded: Recorded, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(recorded[0], tmp_path / "no npy"))
    (folder / "world_timestamps.npy").unlink()
    with RecordedPictures("frame.world", [folder / "world.mp4"]) as pictures:
        assert len(pictures) == 20
        assert np.isnan(pictures[0].timestamp)
