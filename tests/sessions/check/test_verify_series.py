"""Sessions that go on from another one: what neither of them has is told by the check of the later one."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from labwire.clock import monotonic_s
from labwire.operations.session_check import Gap, Verified
from labwire.sessions.check.verify import verify_session
from labwire.sessions.manifest import read_manifest, uuid_of
from labwire.sessions.record.recording import SessionRecorder
from tests.sessions.lab import Lab
from tests.sessions.making import datum, jpeg, picture_parts


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.close()


def record(lab: Lab, numbers: range, *, follows: str = "", emitters: tuple[str, ...] = ("scales",)) -> Path:
    recorder = lab.recorder()
    folder = Path(recorder.start("pilot", follows=follows).rec_path)
    put(recorder, numbers, emitters)
    recorder.stop()
    return folder


def put(recorder: SessionRecorder, numbers: range, emitters: tuple[str, ...]) -> None:
    for number in numbers:
        for emitter in emitters:
            recorder.put(datum("scale", 1000.0, seq=number, emitter=emitter), monotonic_s())


def gap_of(found: Verified) -> Gap:
    (gap,) = found.gaps
    return gap


def test_what_came_between_two_sessions_is_a_gap_of_the_later_one(lab: Lab) -> None:
    first = record(lab, range(10))
    second = record(lab, range(14, 20), follows=uuid_of(first))
    found, gap = verify_session(second), gap_of(verify_session(second))
    assert (gap.emitter, gap.topic, gap.first, gap.last, gap.messages) == ("scales", "scale", 10, 13, 4)
    assert gap.from_s < 0 < gap.to_s
    assert (found.missing_before, found.missing, found.whole, found.lossless) == (4, 0, True, False)
    assert found.problems == [
        "this session goes on from pilot/000: 4 numbered messages came behind its end and before the start of this one"
    ]
    assert (read_manifest(second).follows, read_manifest(second).segment) == (uuid_of(first), 0)
    assert verify_session(first).lossless


def test_how_long_nothing_was_recorded_is_remarked(lab: Lab) -> None:
    first = record(lab, range(10))
    second = record(lab, range(10, 20), follows=uuid_of(first))
    (remark,) = verify_session(second).remarks
    assert re.fullmatch(r"the last message of pilot/000 came \d+\.\d{3} s before the first one of this session", remark)
    assert verify_session(first).remarks == []


def test_pictures_between_two_sessions_are_missing(lab: Lab) -> None:
    def record_pictures(indexes: range, follows: str = "") -> Path:
        recorder = lab.recorder()
        folder = Path(recorder.start("pilot", follows=follows).rec_path)
        for index in indexes:
            recorder.put(picture_parts("frame.world", 1000.0, jpeg(), index=index), monotonic_s())
        recorder.stop()
        return folder

    first = record_pictures(range(5))
    found = verify_session(record_pictures(range(8, 12), uuid_of(first)))
    gap = gap_of(found)
    assert (gap.topic, gap.first, gap.last, found.missing_before, found.pictures_missing) == ("frame.world", 5, 7, 0, 0)
    assert found.problems == ["this session goes on from pilot/000: 3 pictures of frame.world came in between"]


def test_nothing_is_missing_where_one_begins_as_the_other_ends(lab: Lab) -> None:
    first = record(lab, range(10))
    assert verify_session(record(lab, range(10, 20), follows=uuid_of(first))).lossless
    assert verify_session(record(lab, range(20, 30), follows=uuid_of(first).upper())).lossless, "another session"


def test_of_who_began_to_count_anew_the_first_numbers_are_missing(lab: Lab) -> None:
    first = record(lab, range(10, 20), emitters=("scales", "other"))
    second = record(lab, range(3, 12), follows=uuid_of(first))
    found, gap = verify_session(second), gap_of(verify_session(second))
    assert (gap.emitter, gap.first, gap.last, gap.messages) == ("scales", 0, 2, 3)
    assert (found.missing_before, found.lossless) == (3, False)
    (problem,) = found.problems
    assert "how far scales had counted there nobody knows" in problem


def test_who_began_to_count_anew_may_have_said_more_before(lab: Lab) -> None:
    first = record(lab, range(10, 20))
    found = verify_session(record(lab, range(12), follows=uuid_of(first)))
    assert (found.missing_before, found.gaps, found.lossless, found.whole) == (0, [], False, True)


def test_a_session_before_that_is_gone_or_damaged_is_no_problem_of_this_one(lab: Lab) -> None:
    first = record(lab, range(10))
    second = record(lab, range(14, 20), follows=uuid_of(first))
    (first / "bus.mcap").write_bytes(b"no log")
    assert verify_session(second).lossless
    shutil.rmtree(first)
    assert verify_session(second).lossless
