"""A real rig with actors that a user wrote: they run, die, come back, and a rig ends whole."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from labwire.bus.actor_runner import ActorSpec
from labwire.bus.config import BusConfig, RemoteConfig
from labwire.errors import DeadlineError, NotFoundError, PeerGoneError, PortTakenError
from labwire.operations.actors import Actors
from labwire.rig.hub import Hub
from labwire.rig.rig_config import RigConfig
from labwire.testing.processes import left_behind, running_process
from tests.bus.fake_hub import LIMIT_S, wait_until
from tests.packing import pack
from tests.rig.rig_client import MY_LAB, Client, lab, wiring_of


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    alarm = '[actors.alarm]\nclass = "my_lab:Alarm"\nword = "clang"\n'
    with lab(tmp_path_factory.mktemp("lab"), alarm, "Noisy", "Refuses", "Leaves") as client:
        yield client


@pytest.fixture
def client(shared: Client) -> Client:
    return shared


# --- an actor of a user


def test_it_runs_with_its_options(client: Client) -> None:
    assert "alarm" in client.ready.actors
    client.notify("alarm.should_ring")
    rings = client.wait_for("notify.alarm.rings")
    assert rings == {"subject": "alarm.rings", "word": "clang", "incarnation": 0, "topic": "notify.alarm.rings"}


def test_it_emits_numbered_data_by_its_timer(client: Client) -> None:
    def five_are_not_early() -> bool:
        beats = [client.wait_for("alarm.beat") for _ in range(5)]
        assert [beat["seq"] for beat in beats] == list(range(beats[0]["seq"], beats[0]["seq"] + 5))
        assert {beat["emitter"] for beat in beats} == {"alarm"}
        assert {beat["topic"] for beat in beats} == {"alarm.beat"}
        return beats[4]["timestamp"] - beats[0]["timestamp"] > 4 * 0.05 - 0.04

    wait_until(five_are_not_early, "five beats of which the first was not late")


def test_every_actor_explains_itself_when_asked(client: Client) -> None:
    documents = client.documents()
    assert {"hub", "steward", "Pupil_Remote", "alarm", "noisy"} <= set(documents)
    alarm = documents["alarm"]
    assert set(alarm) == {"subject", "topic", "actor", "doc", "class"}
    assert (alarm["subject"], alarm["class"]) == ("meta.doc", "Alarm")
    assert alarm["doc"].startswith("Ring when it is asked to.\n\nReacts to notifications:\n    ``alarm.should_ring``")
    assert documents["noisy"]["doc"] == "Says too much.", "without on_notify it is the class that explains"
    for name in ("hub", "steward", "Pupil_Remote"):
        assert "Emits" in documents[name]["doc"]


def test_its_log_is_on_the_bus_and_in_the_file(client: Client) -> None:
    client.notify("alarm.should_fail")
    record = client.wait_for("logging.error", lambda record: record["name"] == "alarm")
    assert "ZeroDivisionError: as asked" in record["exc_text"]
    assert "alarm.should_fail" in record["msg"] % tuple(record["args"])
    client.notify("alarm.should_ring")
    assert client.wait_for("notify.alarm.rings"), "a mistake on one notification does not end it"
    log = Path(client.ready.log_file)
    wait_until(lambda: "ZeroDivisionError: as asked" in log.read_text(), "the log file")
    assert "alarm: armed, clang" in log.read_text(), "INFO is logged"


def test_what_it_prints_is_logged_and_not_lost(client: Client) -> None:
    client.notify("alarm.should_print")
    client.wait_for("logging.warning", lambda record: "printed by the alarm" in str(record["args"]))


def test_who_is_wrong_or_leaves_does_not_hold_up_the_rig(client: Client) -> None:
    assert "refuses" in client.ready.failed
    refuses = client.status_of("refuses")
    assert (refuses.state, refuses.restarts) == ("stopped", 0)
    assert refuses.last_error == "refuses: there is no such bell"
    leaves = client.wait_state("leaves", "stopped")
    assert (leaves.last_error, leaves.restarts) == ("", 0)


def test_too_many_notifications_are_named(client: Client) -> None:
    stats = client.wait_for("bus.stats", lambda stats: stats["noisy_notifiers"])
    assert stats["noisy_notifiers"] == ["noisy"]
    assert client.bus.stats().noisy_notifiers == ["noisy"]


def test_rates_peers_and_bytes_are_published_each_second(client: Client) -> None:
    stats = client.wait_for("bus.stats", lambda stats: any(row["topic"] == "alarm.beat" for row in stats["topics"]))
    beat = next(row for row in stats["topics"] if row["topic"] == "alarm.beat")
    assert 0 < beat["messages_hz"] < 100
    assert beat["bytes_hz"] > beat["messages_hz"]
    assert len(stats["readers"]) >= 4, "ours, and those of the actors"
    assert stats["seq"] >= 0
    hub = client.wait_for("bus.hub")
    assert hub["parts_in"] > 0
    assert hub["sub_port"] == client.ready.sub_port


# --- operations


def test_status_and_configuration(client: Client) -> None:
    status = client.rig_operations.status()
    assert (status.name, status.pid, status.remote) == ("lab", client.ready.pid, client.ready.remote)
    assert status.uptime_s > 0
    assert [actor.name for actor in status.actors] == ["steward", "alarm", "noisy", "refuses", "leaves"]
    config = client.rig_operations.config()
    assert config["actors"]["alarm"] == {"class": "my_lab:Alarm", "word": "clang"}
    assert config["bus"]["slow_subscriber_s"] == 2.0


def test_last_values(client: Client) -> None:
    client.ask(b"lamp.on", pack({"n": 1}))
    client.ask(b"lamp.on", pack({"n": 2}), b"raw")

    def last() -> list[tuple[str, dict[Any, Any]]]:
        return [(value.topic, value.payload) for value in client.bus.last("lamp.")]

    wait_until(lambda: last() == [("lamp.on", {"n": 2})], "the newest value")


def test_an_operation_on_nobody(client: Client) -> None:
    with pytest.raises(NotFoundError, match=r"nope.*alarm"):
        client.actors.restart("nope")
    with pytest.raises(NotFoundError):
        client.rpc.call(Actors.operations()["list"], Actors.operations()["list"].request(), target="nope")


def test_what_the_rig_cannot_do_is_answered_all_the_same(client: Client) -> None:
    assert client.ask(b"R x") == "OK"
    failed = client.wait_for("notify.recording.failed")
    assert "recorder" in failed["reason"]
    assert client.ask(b"C") == "OK"
    assert "calibrates" in client.wait_for("notify.calibration.failed")["reason"]
    client.notify("start_plugin", name="Annotation_Capture", args={})
    client.notify("start_plugin", name="No_Such_Plugin")
    client.notify("start_plugin")
    errors = [client.wait_for("logging.error", lambda record: record["name"] == "hub") for _ in range(2)]
    texts = [record["msg"] % tuple(record["args"]) for record in errors]
    assert "No_Such_Plugin" in texts[0]
    assert "without a 'name'" in texts[1]


# --- what kills the real thing: each row of the robustness table


GARBAGE: dict[str, list[list[bytes]]] = {
    "Remote: empty, not text": [[b""], [b"\xff"], [b"\xff", b"\x80"], [b"", b""]],
    "notify: not MessagePack, empty, a list, no subject, integer keys": [
        [b"notify.x", b"junk"],
        [b"notify.x", b""],
        [b"notify.x", pack([1, 2])],
        [b"notify.x", pack({"a": 1})],
        [b"notify.x", pack({1: 2, "subject": "x"})],
        [b"notify.x", pack({"subject": 5})],
        [b"notify.x", pack({"subject": ["x"]})],
        [b"notify.\xff", pack({"subject": "x"})],
    ],
    "one part": [[b"notify.x"], [b"notify."], [b"pupil.0"]],
    "pupil: garbage": [[b"pupil.0", b"junk"], [b"pupil.1.3d", b""], [b"gaze", pack([])]],
    "unknown frame format": [[b"notify.x", pack({"subject": "frame_publishing.set_format", "format": "png"})]],
    "delayed: no topic, no delay, garbage": [
        [b"delayed_notify.x", pack({"subject": "x"})],
        [b"delayed_notify.x", b"junk"],
        [b"delayed_notify"],
        [b"delayed_notify.cancel"],
    ],
    "logging: garbage": [
        [b"logging.error", b"junk"],
        [b"logging.error"],
        [b"logging.info", pack({"msg": 5, "args": {"a": [1]}, "created": "now", "levelname": None})],
        [b"logging.info", pack({"msg": "%d %s %(x)s", "args": [b"\xff", {}], "created": 1e300})],
        [b"logging.", pack({})],
    ],
    "eye_process.should_start without eye_id": [
        [b"notify.eye_process.should_start", pack({"subject": "eye_process.should_start"})],
        [b"notify.eye_process.should_start.7", pack({"subject": "eye_process.should_start.7", "eye_id": 7})],
    ],
    "start_plugin: unknown, missing, no name": [
        [b"notify.start_plugin", pack({"subject": "start_plugin", "name": "nope"})],
        [b"notify.stop_plugin", pack({"subject": "stop_plugin", "name": {"a": 1}})],
        [b"notify.start_plugin", pack({"subject": "start_plugin"})],
    ],
    "reports and states that are none": [
        [b"bus.report", pack({"actor": 5, "notifications_hz": float("nan"), "gaps": {"a": "b", 5: -1}})],
        [b"bus.report", pack({"actor": "x" * 1000, "notifications_hz": 1e9, "gaps": [1]})],
        [b"bus.report", b"junk"],
        [b"recorder.state", pack({"free_bytes": float("inf"), "duration_s": "x"})],
        [b"bus.fence", b"junk"],
        [b"bus.ready", b"junk"],
        [b"bus.ready"],
    ],
    "clock.changed by a stranger": [[b"notify.clock.changed", pack({"subject": "clock.changed"})]],
    "T nan": [[b"T nan"], [b"T inf"]],
}


@pytest.mark.parametrize("row", GARBAGE)
def test_nothing_dies_of(client: Client, row: str) -> None:
    pids = {actor.name: actor.pid for actor in client.actors.list()}
    for parts in GARBAGE[row]:
        assert client.ask(*parts), "everything gets an answer"
        client.pub.send_multipart(parts)
    assert set(client.documents()) >= {"hub", "steward", "Pupil_Remote", "alarm"}
    assert float(client.ask(b"t")) < 1e9
    assert {actor.name: actor.pid for actor in client.actors.list()} == pids
    assert client.bus.stats().timestamp > 0
    assert client.rig_operations.status().unconfirmed == 0


def test_garbage_is_counted(client: Client) -> None:
    def counted() -> int:
        return client.bus.stats().malformed

    before = counted()
    for parts in ([b"notify.x", b"junk"], [b"notify.x", pack({"a": 1})], [b"data", b"\xff"], [b"single"]):
        client.ask(*parts) if len(parts) > 1 else client.pub.send_multipart(parts)
    wait_until(lambda: counted() >= before + 4, "four more malformed messages")
    refused = client.rig_operations.status().remote_refused
    client.ask(b"no such command")
    assert client.rig_operations.status().remote_refused == refused + 1


@pytest.mark.parametrize("port", ["remote", "pub_port", "push_port", "rpc_port"])
def test_who_sends_too_much_is_cut_and_that_is_told(tmp_path: Path, port: str) -> None:
    with lab(tmp_path, toml="[bus]\nmax_message_bytes = 65536", topics=[b"logging."]) as client:
        kinds = {"remote": zmq.REQ, "pub_port": zmq.XPUB, "push_port": zmq.PUSH, "rpc_port": zmq.DEALER}
        number = client.rig.port if port == "remote" else getattr(client.ready, port)

        def offend() -> dict[str, Any] | None:
            guilty = client.context.socket(kinds[port])
            guilty.connect(f"tcp://127.0.0.1:{number}")
            guilty.send(b"v")
            if port in {"remote", "pub_port"}:
                assert guilty.recv(), "an answer, or the hub's subscription"
            client.rig_operations.status()  # the hub has turned meanwhile
            guilty.send_multipart([b"data", bytes(65537)])
            told = (payload for _, payload in client.messages(0.5) if str(payload.get("msg")).startswith("cut %s"))
            return next(told, None)

        record = next(filter(None, (offend() for _ in range(20))))  # one that is cut at once may go untold
        address, option, limit = record["args"]
        assert address.startswith("127.0.0.1:")
        assert port in option
        assert limit == 65536
        assert client.rig_operations.status().peers_cut >= 1
        assert client.ask(b"v"), "others are not"


# --- death and coming back


def test_death_is_seen_published_and_mended(tmp_path: Path) -> None:
    with lab(tmp_path, "Alarm") as client:
        pid = client.status_of("alarm").pid
        assert pid
        os.kill(pid, signal.SIGKILL)
        died = client.wait_for("notify.actor.died")
        assert (died["actor"], died["restarts"], died["last_error"]) == ("alarm", 0, "ended by SIGKILL")
        assert "starts again in 0.25 s" in died["reason"]
        client.wait_for("notify.actor.started", lambda started: started["actor"] == "alarm")
        client.notify("alarm.should_ring")
        assert client.wait_for("notify.alarm.rings")["incarnation"] == 1
        status = client.status_of("alarm")
        assert (status.state, status.restarts) == ("running", 1)
        # The steward itself: the log goes on where it ended.
        steward = client.status_of("steward").pid
        assert steward
        os.kill(steward, signal.SIGKILL)
        client.wait_for("notify.actor.started", lambda started: started["actor"] == "steward")
        assert client.bus.stats().messages >= 0
        log = Path(client.ready.log_file)
        wait_until(lambda: "steward is back (ended by SIGKILL)" in log.read_text(), "the log to go on")


def test_actors_are_stopped_and_started_by_operation_and_as_plugins(tmp_path: Path) -> None:
    with lab(tmp_path, "Alarm") as client:
        first = client.status_of("alarm").pid
        assert client.actors.restart("alarm").state == "stopping"
        assert client.wait_for("alarm.end")["beats"] >= 0
        client.wait_for("notify.actor.started", lambda started: started["actor"] == "alarm")
        second = client.wait_state("alarm", "running")
        assert second.pid != first
        assert second.restarts == 0
        client.actors.stop("alarm")
        assert client.wait_for("notify.actor.stopped")["actor"] == "alarm"
        assert client.status_of("alarm").state == "stopped"
        for name, subject, state in (
            ("Alarm", "start_plugin", "running"),
            ("alarm", "stop_plugin", "stopped"),
            ("alarm", "start_plugin", "running"),
            ("Alarm", "stop_plugin", "stopped"),
            ("Alarm", "start_plugin", "running"),
        ):
            client.notify(subject, name=name)
            client.wait_state("alarm", state)
        third = client.status_of("alarm").pid
        for subject in ("stop_plugin", "start_plugin"):  # at once: it starts when it has ended
            client.notify(subject, name="alarm")

        def runs_again() -> bool:
            now = client.status_of("alarm")
            return now.state == "running" and now.pid != third

        wait_until(runs_again, "the start that was asked for while it was stopping")


def test_an_actor_that_raises_at_once_is_tried_again_later_and_later(tmp_path: Path) -> None:
    with lab(tmp_path, "Raises") as client:
        assert client.ready.failed == ["raises"]
        reasons = [client.wait_for("notify.actor.died")["reason"] for _ in range(2)]
        first_s, second_s = (float(reason.rpartition(" in ")[2].removesuffix(" s")) for reason in reasons)
        assert first_s in {0.25, 0.5, 1, 2, 4}, "how many there were before we listened"
        assert second_s == 2 * first_s
        assert client.status_of("raises").last_error == "RuntimeError: broken in its first line"


@pytest.mark.soak
def test_an_actor_that_hangs_is_named_and_not_taken_for_a_dead_one(tmp_path: Path) -> None:
    with lab(tmp_path, "Busy", topics=[b"notify."]) as client:
        pid = client.status_of("busy").pid
        client.notify("busy.should_work", seconds=8)
        assert client.wait_for("notify.actor.silent")["actor"] == "busy"
        assert client.status_of("busy").state == "silent"
        client.wait_for("notify.busy.done")
        assert client.wait_for("notify.actor.answers")["actor"] == "busy"
        assert (client.status_of("busy").state, client.status_of("busy").pid) == ("running", pid)
        assert "busy" in client.documents()


# --- an actor on another computer


REMOTE_ACTOR = """
import sys
from labwire.bus.actor_runner import ActorRunner, ActorSpec, Wiring, load_class, run_until_told
import msgspec
spec = msgspec.json.decode(sys.stdin.readline(), type=ActorSpec)
run_until_told(ActorRunner(load_class(spec.actor_class), spec), None)
"""


@contextmanager
def remote_actor(client: Client, name: str, actor_class: str = "my_lab:Alarm") -> Iterator[subprocess.Popen[bytes]]:
    # No clock descriptor: it knows of the rig only what the network tells.
    spec = ActorSpec(name, actor_class, wiring_of(client.ready), config={"word": "far away"})
    env = {**client.rig.env, "PYTHONPATH": f"{client.rig.env['PYTHONPATH']}:{client.rig.folder}"}
    command = [sys.executable, "-c", REMOTE_ACTOR]
    with running_process(command, cwd=client.rig.folder, env=env, stdin=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.write(msgspec.json.encode(spec) + b"\n")
        process.stdin.flush()
        yield process


def test_a_remote_actor_joins_follows_the_clock_and_leaves(tmp_path: Path) -> None:
    with lab(tmp_path, "Alarm") as client:
        client.ask(b"T 5000")
        with remote_actor(client, "far") as process:
            client.wait_for("notify.actor.started", lambda started: started["actor"] == "far")
            client.wait_for("alarm.beat", lambda beat: beat["emitter"] == "far")
            far = client.status_of("far")
            assert (far.state, far.pid) == ("remote", process.pid)
            assert client.documents()["far"]["class"] == "Alarm"
            now = float(client.ask(b"t"))
            beat = client.wait_for("alarm.beat", lambda beat: beat["emitter"] == "far" and beat["timestamp"] >= now)
            assert beat["timestamp"] < now + 60, "it tells the rig's time, not its own"
            client.ask(b"T 100000")
            client.wait_for("alarm.beat", lambda beat: beat["emitter"] == "far" and beat["timestamp"] >= 100000)
            process.send_signal(signal.SIGTERM)
            client.wait_for("alarm.end")
            assert process.wait(LIMIT_S) == 0
            assert client.wait_for("notify.actor.stopped")["actor"] == "far"
        wait_until(lambda: all(row.name != "far" for row in client.actors.list()), "that it has left")


def test_the_death_of_a_remote_actor_is_published(tmp_path: Path) -> None:
    with lab(tmp_path, "Alarm") as client, remote_actor(client, "far") as process:
        client.wait_for("notify.actor.started", lambda started: started["actor"] == "far")
        process.kill()  # and nobody buries it
        died = client.wait_for("notify.actor.died")
        assert (died["actor"], died["reason"]) == ("far", "has been silent for 5 s")
        assert all(row.name != "far" for row in client.actors.list())


def test_a_remote_actor_cannot_take_the_name_of_one_of_the_rig(tmp_path: Path) -> None:
    with lab(tmp_path, "Alarm") as client:
        with remote_actor(client, "alarm") as process:
            _, errors = process.communicate(timeout=LIMIT_S)
        assert process.returncode != 0
        assert b"the rig has an actor 'alarm' of its own" in errors
        client.notify("alarm.should_ring")
        assert client.wait_for("notify.alarm.rings")["word"] == "ring"


# --- the end


def test_the_second_signal_forces(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="the rig ended with 11"), lab(tmp_path, "Clings", "Alarm") as client:
        process = client.rig.process
        process.send_signal(signal.SIGINT)
        client.wait_for("notify.clings")
        wait_until(lambda: "waiting for clings to finish" in client.rig.stderr, "the reason for waiting")
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == 11
        assert "ending by force" in client.rig.stderr
        assert "clings; what they had open may not be whole" in client.rig.stderr
        assert left_behind(process.pid) == []


def test_when_the_hub_is_killed_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="the rig ended with -9"), lab(tmp_path, "Alarm", "Noisy") as client:
        process = client.rig.process
        assert len(left_behind(process.pid)) == 3
        process.kill()
        process.wait()
        wait_until(lambda: not left_behind(process.pid), "the end of all actors")


def test_an_actor_that_hangs_outlives_a_dead_rig_by_its_limit_only(tmp_path: Path) -> None:
    (tmp_path / "hangs.py").write_text(
        "import sys, time\nprint('hanging', file=sys.stderr, flush=True)\ntime.sleep(3600)"
    )
    code = "from labwire.bus import actor_process as a; a.ORPHAN_LIMIT_S = 0.1; a.main()"
    wiring = dict.fromkeys(("remote_url", "pub_url", "sub_url", "push_url", "rpc_url"), "tcp://127.0.0.1:1")
    spec = {"name": "x", "actor_class": "hangs:X", "wiring": wiring, "python_path": [str(tmp_path)]}
    with running_process([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stderr
        process.stdin.write(msgspec.json.encode(spec) + b"\n")
        process.stdin.flush()
        assert process.stderr.readline() == b"hanging\n"
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(LIMIT_S) == 1


@pytest.mark.parametrize("option", ["pub_port", "sub_port", "push_port", "rpc_port", "remote"])
def test_a_taken_port_leaves_nothing_running(tmp_path: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        bus = BusConfig(**({} if option == "remote" else {option: port}))
        config = RigConfig(remote=RemoteConfig(port=port if option == "remote" else 0), bus=bus)
        with pytest.raises(PortTakenError, match=rf"port {port} is taken by .*pid {os.getpid()}.*{option}") as caught:
            Hub(config, folder=str(tmp_path), on_ready=lambda _: None, say=lambda _: None)
        assert caught.value.data == {"port": port, "owner_pid": os.getpid()}


def test_callers_hear_that_the_rig_went_away(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="the rig ended with -9"), lab(tmp_path, "Busy") as client:
        client.rig.process.send_signal(signal.SIGSTOP)
        with pytest.raises(DeadlineError, match=r"actors\.list at tcp://.*0\.1 s"):
            client.rpc.call(Actors.operations()["list"], Actors.operations()["list"].request(), timeout_s=0.1)
        client.rig.process.send_signal(signal.SIGCONT)
        client.actors.list()
        client.rig.process.send_signal(signal.SIGSTOP)

        def kill_while_it_is_asked() -> None:
            wait_until(lambda: not client.rpc._idle, "a question")
            client.rig.process.kill()

        assert client.rpc._idle
        killer = threading.Thread(target=kill_while_it_is_asked)
        killer.start()
        with pytest.raises(PeerGoneError, match="went away"):
            client.actors.list()
        killer.join()


def test_the_code_of_the_example_is_as_short_as_promised() -> None:
    noisy = MY_LAB[MY_LAB.index("class Noisy") : MY_LAB.index("class Refuses")]
    assert len(noisy.strip().splitlines()) <= 10
