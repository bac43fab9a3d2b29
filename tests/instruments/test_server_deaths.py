"""Workers that crash, hang, lie or never start: what callers are told, and how it goes on."""

from __future__ import annotations

import errno
import os
import signal
import threading
from pathlib import Path

import pytest

from labwire.errors import DeadlineError, LabwireError, PeerGoneError, ResourceError, StateError
from labwire.instruments.config import LimitsConfig
from labwire.instruments.exchange import standby
from labwire.instruments.queues.posix_mq import open_error
from labwire.instruments.status import State
from labwire.instruments.supervision import incarnation, life
from labwire.instruments.supervision.restart_policy import back_off_s
from tests.instruments.server_kit import arrays_left, config, kill, serving, unique, wait_until

DMM1 = unique("DMM1")
DRIVERS = "tests.instruments.server_drivers:"


def test_a_crash_fails_what_waits_and_the_worker_is_started_again() -> None:
    with serving() as (server, events):
        server.add("DMM1", config())
        first = server.call("DMM1", "PID")
        crash = server.submit("DMM1", "CRASH")
        waiting = [server.submit("DMM1", "ECHO", {"value": number}) for number in range(10)]
        for future in (crash, *waiting):
            with pytest.raises(PeerGoneError, match="Worker died: DMM1: ended by SIGSEGV"):
                future.result()
        second = server.call("DMM1", "PID")
        assert second != first
        died = events.wait_for("died")
        assert (died["pid"], died["exit_code"], died["failed_calls"]) == (first, -signal.SIGSEGV, 11)
        assert events.wait_for("restarted")["pid"] == second
        status = server.status("DMM1")
        assert (status.restarts, status.incarnation, status.failed) == (1, 2, 11)
        assert "SIGSEGV" in status.last_error
        assert any("Segmentation fault" in str(data) for data in events.of("log"))  # what faulthandler wrote


def test_leader_and_followers_are_told_of_a_death() -> None:
    with serving() as (server, events):
        server.add("DMM1", config())
        pid = server.call("DMM1", "PID")
        told: list[str] = []

        def wait() -> None:
            try:
                server.call("DMM1", "SLEEP", {"duration_s": 30}, timeout_ms=60_000)
            except PeerGoneError as error:
                told.append(str(error))

        threads = [threading.Thread(target=wait) for _ in range(5)]
        for thread in threads:
            thread.start()
        wait_until(lambda: server.status("DMM1").waiting == 5)
        os.kill(pid, signal.SIGKILL)
        for thread in threads:
            thread.join()
        assert told == ["Worker died: DMM1: ended by SIGKILL"] * 5
        assert events.wait_for("died")["failed_calls"] == 5


def test_an_exit_in_the_middle_of_a_command_is_a_death() -> None:
    with serving() as (server, events):
        server.add("DMM1", config())
        server.call("DMM1", "LOG_SOMETHING", {"text": "it smells"})
        with pytest.raises(PeerGoneError, match="ended with exit code 7"):
            server.call("DMM1", "LEAVE", {"code": 7})
        assert events.wait_for("died")["exit_code"] == 7
        assert server.status("DMM1").last_error == "ended with exit code 7: it smells"
        assert server.call("DMM1", "ECHO", {"value": 1}) == 1
        with pytest.raises(PeerGoneError, match="ended with exit code 0"):
            server.call("DMM1", "LEAVE", {"code": 0})
        assert server.call("DMM1", "ECHO", {"value": 1}) == 1


def test_a_worker_that_hangs_is_killed() -> None:
    with serving() as (server, events):
        server.add("DMM1", config(heartbeat_timeout_s=2.0))
        with pytest.raises(PeerGoneError, match=r"sent no heartbeat for .* and was killed"):
            server.call("DMM1", "STOP_ITSELF", timeout_ms=20_000)
        assert server.call("DMM1", "ECHO", {"value": 1}) == 1
        assert events.of("died")[0]["exit_code"] == -signal.SIGKILL


def test_a_worker_that_hangs_while_idle_is_killed() -> None:
    with serving() as (server, events):
        server.add("DMM1", config(heartbeat_timeout_s=2.0))
        os.kill(server.call("DMM1", "PID"), signal.SIGSTOP)
        events.wait_for("restarted")
        assert server.call("DMM1", "ECHO", {"value": 1}) == 1


def test_a_long_command_is_no_silence() -> None:
    with serving() as (server, events):
        server.add("DMM1", config(heartbeat_s=0.1, heartbeat_timeout_s=2.0))
        assert server.call("DMM1", "SLEEP", {"duration_s": 2.5}, timeout_ms=20_000) == 2.5
        assert not events.of("died")


def test_a_stuck_worker_is_restarted_if_that_is_wanted() -> None:
    with serving() as (server, events):
        server.add("DMM1", config(stuck_restart_s=0.3))
        with pytest.raises(DeadlineError):
            server.call("DMM1", "SLEEP", {"duration_s": 60}, timeout_ms=50)
        assert "was stuck for" in events.wait_for("died")["why"]
        events.wait_for("restarted")
        assert server.call("DMM1", "ECHO", {"value": 1}) == 1


def test_a_killed_worker_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numpy")
    monkeypatch.setattr(standby, "TICK_S", 60.0)  # so that nobody takes what comes after the awaited answer
    go = tmp_path / "go"
    with serving() as (server, events):
        server.add("SCOPE", config())
        server.submit("SCOPE", "WAIT_FOR_FILE", {"path": str(go)}, timeout_ms=25_000)
        with pytest.raises(DeadlineError):
            server.call("SCOPE", "ARRAY", timeout_ms=20)
        go.touch()
        wait_until(arrays_left)
        kill(server, "SCOPE", signal.SIGKILL)
        events.wait_for("died")
        assert not arrays_left()
    assert not arrays_left()


def test_back_off() -> None:
    assert [back_off_s(deaths) for deaths in range(1, 9)] == [0.0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0]
    assert back_off_s(10**6) == 10.0


def test_a_worker_that_dies_again_and_again_is_given_up() -> None:
    with serving() as (server, events):
        server.add("DMM1", config(driver=DRIVERS + "DiesWhileOpening", restart_tries=2), wait=False)
        given_up = events.wait_for("given_up")
        assert "SIGKILL" in given_up["last_error"]
        died = events.of("died")
        assert [data.get("starts_again_in_s") for data in died] == [0.0, 0.2, None]
        assert server.status("DMM1").state is State.GIVEN_UP
        with pytest.raises(StateError, match=r"given_up.*SIGKILL"):
            server.call("DMM1", "ECHO", {"value": 1})
        with pytest.raises(PeerGoneError, match="SIGKILL"):
            server.start("DMM1")


def test_commands_answered_between_deaths_keep_it_from_being_given_up() -> None:
    with serving() as (server, _):
        server.add("DMM1", config(restart_tries=1))
        for _ in range(4):
            assert server.call("DMM1", "ECHO", {"value": 1}) == 1
            with pytest.raises(PeerGoneError):
                server.call("DMM1", "LEAVE")


def test_a_worker_whose_end_is_known_before_its_beginning_is_not_hopeless(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as (server, events):
        server.add("DMM1", config())
        monkeypatch.setattr(life.Life, "_is_ready", lambda *_: None)  # word that the second is ready comes too late
        for number in (1, 2):
            with pytest.raises(PeerGoneError):
                server.call("DMM1", "LEAVE", {"code": 3})  # as after a wrong option
            assert "starts_again_in_s" in events.wait_for("died", number)


def test_without_restart_a_death_is_the_end() -> None:
    with serving() as (server, events):
        server.add("DMM1", config(restart=False))
        with pytest.raises(PeerGoneError):
            server.call("DMM1", "CRASH")
        assert events.wait_for("given_up")["why"] == "restart is off"
        with pytest.raises(StateError):
            server.call("DMM1", "ECHO", {"value": 1})


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"driver": DRIVERS + "CannotOpen"}, "no instrument at GPIB0::7"),
        ({"driver": "no.such:Driver"}, "there is no module"),
        ({"options": {"nonsense": 1}}, "nonsense"),
        ({"driver": DRIVERS + "DiesWhileOpening"}, "SIGKILL"),
    ],
)
def test_one_that_cannot_start_is_told_and_not_there(changes: dict[str, object], text: str) -> None:
    with serving() as (server, _):
        with pytest.raises(PeerGoneError, match=f"Worker died: DMM1: .*{text}"):
            server.add("DMM1", config(**changes))
        assert server.names() == []


def test_a_start_that_takes_too_long_ends() -> None:
    with serving() as (server, _):
        with pytest.raises(LabwireError, match=r"was not ready within 0\.3 s"):
            server.add("DMM1", config(driver=DRIVERS + "SlowToStart", start_timeout_s=0.3))
        assert server.names() == []


@pytest.mark.parametrize("driver", ["no.such:Driver", DRIVERS + "SlowToGiveUp"])
def test_a_hopeless_one_is_not_tried_again(driver: str) -> None:
    with serving() as (server, events):
        server.add("DMM1", config(driver=driver), wait=False)
        events.wait_for("given_up")
        assert len(events.of("died")) == 1


@pytest.mark.parametrize(("code", "told"), [(errno.EINVAL, "sysctl fs.mqueue.msg"), (errno.EMFILE, "ulimit -q")])
def test_a_queue_that_a_limit_forbids_is_not_tried_again(code: int, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> object:
        raise open_error("instrument_DMM1_req", code, 8208)

    monkeypatch.setattr(incarnation, "create_pair", forbidden)
    with serving() as (server, events):
        with pytest.raises(ResourceError, match=told):
            server.add("DMM1", config())
        server.add("DMM2", config(), wait=False)
        given_up = events.wait_for("given_up", 2)
        assert told in given_up["last_error"]
        assert events.of("died") == [], "nothing has lived"
        with pytest.raises(StateError, match=told):
            server.call("DMM2", "ECHO")


def test_a_worker_that_ignores_its_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(life, "TERMINATE_LIMIT_S", 0.2)
    with serving() as (server, events):
        server.add("DMM1", config(stop_timeout_s=0.2, heartbeat_timeout_s=60))
        future = server.submit("DMM1", "STOP_ITSELF", timeout_ms=60_000)
        wait_until(lambda: _state_of(server.status("DMM1").pid) == "T")
        server.stop("DMM1")
        assert events.wait_for("stopped")["exit_code"] == -signal.SIGKILL
        with pytest.raises(PeerGoneError):
            future.result()


def test_commands_sent_while_it_starts_are_executed_when_it_is_ready() -> None:
    with serving() as (server, _):
        server.add("DMM1", config(driver=DRIVERS + "SlowToStart"), wait=False)
        assert server.call("DMM1", "ECHO", {"value": 1}) == 1


@pytest.mark.parametrize("queue", ["socket", "boost"])
def test_ctrl_c_in_the_waiting_leader_hands_the_role_on(queue: str) -> None:
    with serving() as (server, events):
        server.add(DMM1, config(queue=queue, heartbeat_timeout_s=3600))
        answers: list[object] = []

        def follow() -> None:
            wait_until(lambda: server.status(DMM1).waiting == 1)
            answers.append(server.call(DMM1, "ECHO", {"value": "follower"}, timeout_ms=60_000))

        def interrupt() -> None:
            wait_until(lambda: server.status(DMM1).waiting == 2)
            os.kill(os.getpid(), signal.SIGINT)

        threads = [threading.Thread(target=follow), threading.Thread(target=interrupt)]
        kill(server, DMM1, signal.SIGSTOP)  # nothing is answered before the role was handed on
        for thread in threads:
            thread.start()
        with pytest.raises(KeyboardInterrupt):
            server.call(DMM1, "ECHO", {"value": "leader"}, timeout_ms=60_000)
        kill(server, DMM1, signal.SIGCONT)
        for thread in threads:
            thread.join()
        assert answers == ["follower"]
        events.wait_for("late_response")
        assert server.status(DMM1).waiting == 0


def test_a_start_right_after_a_death_waits_for_the_next_worker() -> None:
    with serving() as (server, _):
        server.add("DMM1", config())
        for _ in range(3):  # the second time it would be started later
            kill(server, "DMM1", signal.SIGKILL)
            with pytest.raises(PeerGoneError):
                server.call("DMM1", "SLEEP", {"duration_s": 30}, timeout_ms=60_000)
            server.start("DMM1")
            assert server.status("DMM1").state is State.READY


def test_memory_is_limited() -> None:
    with serving() as (server, _):
        server.add("DMM1", config(limits=LimitsConfig(memory_mb=400)))
        with pytest.raises(LabwireError):
            server.call("DMM1", "ARRAY", {"points": 500_000_000})
        assert server.call("DMM1", "ECHO", {"value": 1}) == 1


def _state_of(pid: int | None) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
