"""The HTTP API of a real rig."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from labwire.testing import wait_until
from labwire.testing.rig import RunningRig, run_labwire, running_rig
from tests.web.http_kit import ask, get, post


def test_operations_that_look(url: str) -> None:
    actors = get(url, "/api/actors/list")
    assert actors.status == 200
    assert {"steward", "eyes", "recorder", "web"} <= {actor["name"] for actor in actors.json}
    assert get(url, "/api/rig/status").json["name"] == "test-rig"
    wait_until(lambda: get(url, "/api/bus/last?prefix=bus.stats").json)
    assert get(url, "/api/instruments/describe?name=web_DMM1").json["verbs"]


def test_a_command_and_its_value(url: str) -> None:
    done = post(url, "/api/instruments/call", {"name": "web_DMM1", "verb": "MEASURE_VOLTAGE"})
    assert done.status == 200, done.body
    assert isinstance(done.json["value"], float)


def test_a_whole_number_may_have_a_point(url: str) -> None:
    assert post(url, "/api/instruments/grant", b'{"acquisition": 1.0, "blocks": 47.0}').status == 200


def test_changes_are_logged_with_who_and_from_where(web_rig: RunningRig, url: str) -> None:
    with web_rig.connect() as rig, rig.subscribe("logging.info") as log:
        post(url, "/api/actors/restart", {"name": "nobody"}, X_Labwire_User="Anna\x7f <b>")
        text = next(str(message.payload["msg"]) for message in log if "nobody" in str(message.payload["msg"]))
    assert re.search(r"^actors.restart .*nobody.* by .*Anna\? \?b\? from 127\.0\.0\.1:\d+$", text), text


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/api/nothing/here", None, 404, "NotFoundError"),
        ("GET", "/api/rig", None, 404, "NotFoundError"),
        ("GET", "/nowhere", None, 404, "NotFoundError"),
        ("GET", "/static/../app.py", None, 404, "NotFoundError"),
        ("GET", "/static/%2e%2e/app.py", None, 404, "NotFoundError"),
        ("GET", "/api/record/stop", None, 405, "UsageError"),
        ("DELETE", "/", None, 405, "UsageError"),
        ("GET", "/api/bus/last?prefx=a", None, 400, "UsageError"),
        ("GET", "/api/bus/last?prefix=a&prefix=b", None, 400, "UsageError"),
        ("POST", "/api/record/start?name=a", {}, 400, "UsageError"),
        ("POST", "/api/record/start", {"nam": "a"}, 400, "UsageError"),
        ("POST", "/api/record/start", {"name": 7}, 400, "UsageError"),
        ("POST", "/api/record/start", b"{", 400, "UsageError"),
        ("POST", "/api/record/start", b"[" * 100_000, 400, "UsageError"),
        ("POST", "/api/record/start", {"name": "../up"}, 422, "InvalidNameError"),
        ("POST", "/api/record/start", b" " * (1 << 20) + b"{}", 413, "TooLargeError"),
        ("POST", "/api/actors/stop", {"name": "nobody"}, 404, "NotFoundError"),
        ("POST", "/api/instruments/call", {"name": "web_DMM1", "verb": "FLY"}, 404, "NotFoundError"),
        ("POST", "/api/instruments/call", {"name": "web_DMM1", "verb": "X", "timeout_ms": 0}, 400, "UsageError"),
        ("POST", "/api/notify", {"subject": ""}, 400, "UsageError"),
        ("POST", "/api/notify", {"subject": "a", "fields": {"topic": 1}}, 400, "UsageError"),
        ("POST", "/api/publish", {"topic": "\x00"}, 400, "UsageError"),
        ("GET", "/api/jobs/none", None, 404, "NotFoundError"),
        ("POST", "/api/jobs/none/cancel", None, 404, "NotFoundError"),
        ("POST", "/api/instruments/grant", {"acquisition": 1.5, "blocks": 1}, 400, "UsageError"),
    ],
)
def test_problems(url: str, method: str, path: str, body: object, status: int, code: str) -> None:
    reply = ask(url, method, path, body)
    assert (reply.status, reply.json["code"]) == (status, code), reply.body
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json["status"] == status
    assert reply.json["detail"]
    assert reply.json["title"].endswith(".")
    assert reply.json["type"].startswith("/docs#")


def test_a_form_of_another_site_is_not_json(url: str) -> None:
    reply = ask(url, "POST", "/api/record/start", b'{"name": "x"}', {"Content-Type": "text/plain"})
    assert reply.status == 400
    assert "application/json" in reply.json["detail"]


def test_strangers_are_kept_out(url: str) -> None:
    assert get(url, "/", Host="evil.example").status == 403
    assert post(url, "/api/record/stop", Origin="http://evil.example").status == 403
    assert post(url, "/api/record/stop", Sec_Fetch_Site="cross-site").status == 403


def test_every_answer_keeps_browsers_in_bounds(url: str) -> None:
    for path in ("/", "/docs", "/api/rig/status", "/nowhere", "/metrics"):
        headers = get(url, path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers


def test_long_work_is_a_job(url: str) -> None:
    begun = post(url, "/api/record/start", {"name": "job"})
    assert begun.status == 200, begun.body
    assert post(url, "/api/record/stop").status == 200
    session = get(url, "/api/record/list").json[0]["name"]
    started = post(url, "/api/record/repair", {"session": session})
    assert started.status == 202, started.body
    path = started.headers["location"]
    assert path == f"/api/jobs/{started.json['id']}"
    wait_until(lambda: get(url, path).json["state"] != "running")
    assert get(url, path).json["state"] == "done"
    assert any(job["id"] == started.json["id"] for job in get(url, "/api/jobs").json)


def test_a_job_is_cancelled(url: str) -> None:
    commands = [{"name": "web_SLOW1", "verb": "SLEEP", "params": {"seconds": 0.1}}] * 200
    started = post(url, "/api/instruments/run", {"commands": commands, "stop_on_error": False})
    assert started.status == 202, started.body
    path = started.headers["location"]
    assert post(url, f"{path}/cancel").status == 200
    wait_until(lambda: get(url, path).json["state"] != "running")
    assert get(url, path).json["state"] == "cancelled"


def test_notify_and_publish_reach_the_bus(web_rig: RunningRig, url: str) -> None:
    with web_rig.connect() as rig, rig.subscribe("notify.hello", "greeting") as bus:
        assert post(url, "/api/notify", {"subject": "hello", "fields": {"n": 1}}).json["reply"]
        assert bus.recv(10).payload["n"] == 1
        assert post(url, "/api/publish", {"topic": "greeting", "payload": {"n": 2}}).json["reply"]
        assert bus.recv(10).payload["n"] == 2


def test_for_machines(url: str) -> None:
    assert get(url, "/health").json == {"status": "ok"}
    wait_until(lambda: get(url, "/ready").status == 200)
    wait_until(lambda: re.search(rb"^labwire_bus_messages_total \d", get(url, "/metrics").body, re.MULTILINE))
    text = get(url, "/metrics").body.decode()
    assert "labwire_up 1.0" in text
    assert 'labwire_actor_running{actor="eyes"} 1.0' in text
    assert 'labwire_instrument_failed_total{instrument="web_DMM1"} 0.0' in text
    assert "labwire_recording_dropped_total 0.0" in text, "zero from the start"
    assert "# TYPE labwire_bus_messages_total counter" in text


def test_the_page_is_not_sent_twice(url: str) -> None:
    first = get(url, "/")
    assert first.status == 200
    again = get(url, "/", If_None_Match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    assert ask(url, "HEAD", "/").status == 200


def test_docs_page_needs_nothing_from_outside(url: str) -> None:
    page = get(url, "/docs").body.decode()
    assert "<script" not in page
    assert not re.search(r"""(src|href)=["']?https?:""", page)
    assert "POST</b> /api/record/start" in page


def test_beyond_loopback_a_token_is_asked_for(tmp_path: Path) -> None:
    toml = 'name = "open"\n[web]\nlisten = "0.0.0.0"\nread_only = true\n'
    with running_rig(tmp_path, toml, web=True) as rig:
        url = rig.ready.web
        token_file = tmp_path / "state" / "labwire" / "token" / "open"
        assert token_file.stat().st_mode & 0o777 == 0o600
        token = token_file.read_text().strip()
        assert get(url, "/").status == 200, "the page itself, which asks for the token"
        for path in ("/api/rig/status", "/metrics", "/openapi.json", "/ready", "/docs"):
            refused = get(url, path)
            assert refused.status == 401
            assert refused.headers["www-authenticate"] == "Bearer"
            assert get(url, path, Authorization=f"Bearer {token}").status == 200
        assert get(url, "/health").status == 200
        wrong = post(url, "/api/login", {"token": "wrong-wrong-wrong-wrong"})
        assert wrong.status == 403
        assert "set-cookie" not in wrong.headers
        right = post(url, "/api/login", {"token": token})
        assert right.status == 204
        cookie = right.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert get(url, "/api/rig/status", Cookie=cookie.partition(";")[0]).status == 200
        change = post(url, "/api/notify", {"subject": "x"}, Authorization=f"Bearer {token}")
        assert change.status == 403
        assert "read-only" in change.json["detail"]


def test_a_taken_port_that_was_asked_for_is_named(web_rig: RunningRig) -> None:
    port = web_rig.ready.web.rpartition(":")[2]
    arguments = ["run", "--remote-port", "0", "--web-port", port, "--json"]
    second = run_labwire(*arguments, env=web_rig.env, cwd=web_rig.folder)
    assert second.returncode == 14
    error = json.loads(second.stderr)
    assert f"port {port} is taken by" in error["message"]
    assert "--no-web" in error["message"]
    assert error["data"]["owner_pid"] == web_rig.process.pid


def test_the_page_comes_back_on_the_same_port(tmp_path: Path) -> None:
    with running_rig(tmp_path, 'name = "bare"', web=True) as rig, rig.connect() as client:

        def pid() -> int | None:
            states = {actor.name: actor for actor in client.actors.list()}
            return states["web"].pid if states["web"].state == "running" else None

        before = pid()
        client.actors.restart("web")
        assert get(rig.ready.web, "/health").status == 200, "who comes meanwhile waits"
        wait_until(lambda: pid() not in {None, before})
