"""A session, looked into over HTTP."""

from __future__ import annotations

import contextlib
import json
import shutil
from urllib.parse import urlencode

import pytest

from labwire.errors import LabwireError, NotFoundError
from labwire.testing import wait_until
from labwire.testing.rig import RunningRig
from labwire.web.session_files import SessionFiles
from tests.web.http_kit import Reply, get, post

PICTURE = b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x30\x00\x40\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01\xff\xd9"


@pytest.fixture(scope="module")
def session(web_rig: RunningRig) -> str:
    """Name of a session with eyes and a mark."""
    url = web_rig.ready.web
    assert post(url, "/api/record/start", {"name": "to look at"}).status == 200
    assert post(url, "/api/record/mark", {"label": "here"}).status == 200
    wait_until(
        lambda: any(row["payload"]["written"] > 200 for row in get(url, "/api/bus/last?prefix=recorder.state").json)
    )
    assert post(url, "/api/record/stop").status == 200
    return get(url, "/api/record/list").json[0]["name"]


def ask(url: str, what: str, session: str, **query: str) -> Reply:
    return get(url, f"/api/session/{what}?{urlencode({'session': session, **query})}")


def test_overview_and_activity(url: str, session: str) -> None:
    view = ask(url, "overview", session).json
    assert view["overview"]["state"] == "complete"
    assert [mark["label"] for mark in view["overview"]["marks"]] == ["here"]
    assert view["size_bytes"]["bus.mcap"] > 0
    activity = ask(url, "activity", session).json
    counts = {row["topic"]: row["messages"] for row in view["overview"]["topics"]}
    assert sum(activity["topics"]["pupil.0.2d"]) == counts["pupil.0.2d"]


def test_a_field_over_time(url: str, session: str) -> None:
    trace = ask(url, "series", session, topic="pupil.0.2d", field="diameter").json
    assert len(trace["times_s"]) == len(trace["values"]) > 20
    assert trace["times_s"] == sorted(trace["times_s"])
    assert all(value > 0 for value in trace["values"])


def test_which_fields_a_topic_has(url: str, session: str) -> None:
    fields = ask(url, "fields", session, topic="pupil.0.2d").json["fields"]
    assert {"diameter", "confidence", "norm_pos.0", "norm_pos.1", "ellipse.center.0"} <= set(fields)
    assert not {"topic", "method", "norm_pos"} & set(fields), "only numbers can be drawn"
    for field in fields:
        assert ask(url, "series", session, topic="pupil.0.2d", field=field).status == 200


def test_a_long_session_is_looked_through_by_a_process_of_its_own(web_rig: RunningRig, url: str, session: str) -> None:
    with web_rig.connect() as rig:
        files = SessionFiles(rig, long_messages=0)
        for what, query in (
            ("activity", {}),
            ("fields", {"topic": "pupil.0.2d"}),
            ("series", {"topic": "pupil.0.2d", "field": "diameter"}),
        ):
            found = files.handle(what, {"session": session, **query})
            assert json.loads(found.body) == ask(url, what, session, **query).json
        with pytest.raises(NotFoundError, match="no topic 'nothing'"):
            files.handle("series", {"session": session, "topic": "nothing", "field": "a"})
        files.close()


def test_one_that_cannot_be_opened_closes_no_other(web_rig: RunningRig, url: str, session: str) -> None:
    folder = web_rig.folder / "recordings" / session
    broken = folder.with_name("999")
    broken.mkdir()
    shutil.copy(folder / "session.json", broken)
    (broken / "bus.mcap").write_bytes(b"nothing of the kind")
    with web_rig.connect() as rig, contextlib.closing(SessionFiles(rig)) as files:
        before = files.handle("overview", {"session": session})
        with pytest.raises(LabwireError):
            files.handle("overview", {"session": f"{folder.parent.name}/999"})
        assert files.handle("overview", {"session": session}).body == before.body
        assert files.handle("file", {"session": session, "name": "bus.mcap"}).status == 200
    shutil.rmtree(broken)


def test_a_file_as_it_is(web_rig: RunningRig, url: str, session: str) -> None:
    reply = ask(url, "file", session, name="bus.mcap")
    assert reply.status == 200
    assert reply.body == (web_rig.folder / "recordings" / session / "bus.mcap").read_bytes()
    assert 'filename="bus.mcap"' in reply.headers["content-disposition"]
    assert reply.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("what", "query", "status"),
    [
        ("overview", {"session": "nothing/000"}, 404),
        ("overview", {"session": "../../etc"}, 404),
        ("file", {"name": "../session.json"}, 404),
        ("file", {"name": "/etc/passwd"}, 404),
        ("series", {"topic": "nothing", "field": "a"}, 404),
        ("series", {"topic": "", "field": "a"}, 404),
        ("fields", {"topic": "nothing"}, 404),
        ("fields", {"topic": "pupil.0.2d", "field": "a"}, 400),
        ("series", {"topic": "pupil.0.2d", "field": ""}, 400),
        ("picture", {"topic": "pupil.0.2d", "time_s": "1"}, 404),
        ("overview", {"more": "1"}, 400),
        ("nothing", {}, 404),
    ],
)
def test_what_is_not_there(url: str, session: str, what: str, query: dict[str, str], status: int) -> None:
    reply = ask(url, what, **{"session": session, **query})
    assert reply.status == status, reply.body
    assert reply.headers["content-type"] == "application/problem+json"
