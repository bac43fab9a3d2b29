"""The server with workers of its own: commands, values, errors, timeouts."""

from __future__ import annotations

import math
import signal
import threading
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import pytest

from labwire.errors import (
    CommandFailedError,
    DeadlineError,
    InvalidNameError,
    NotFoundError,
    PeerGoneError,
    StateError,
    TooLargeError,
    UsageError,
)
from labwire.instruments.queues.contract import DEPTH
from labwire.instruments.status import State
from tests.instruments.server_kit import LIMIT_S, arrays_left, config, kill, serving, wait_until


def test_a_call_returns_the_value() -> None:
    with serving() as (server, events):
        server.add("DMM1", config())
        assert server.call("DMM1", "MEASURE_VOLTAGE", {"range": 2.0, "samples": 3}) == 6.0
        assert server.call("DMM1", "measure_voltage") == 10.0  # defaults are filled in
        assert server.call("DMM1", "ECHO", {"value": [1, "zwei", None, {"a": 1.5}]}) == [1, "zwei", None, {"a": 1.5}]
        assert server.status("DMM1").ok == 3
    assert events.kinds() == ["started", "stopped"]
    assert events.of("stopped")[0]["exit_code"] == 0


def test_the_whole_response_has_the_text_and_the_id() -> None:
    with serving() as (server, _):
        server.add("DMM1", config())
        response = server.execute("DMM1", "SAY", {"text": "+1.5"})
        assert (response.success, response.return_value, response.text_response) == (True, 4, "+1.5")
        assert response.command_id.startswith("DMM1-")
        failed = server.execute("DMM1", "FAIL")
        assert (failed.success, failed.error_message) == (False, "no signal")
        assert failed.error_code


def test_a_command_that_fails_raises() -> None:
    with serving() as (server, _):
        server.add("DMM1", config())
        with pytest.raises(CommandFailedError, match="DMM1 FAIL failed: overload") as caught:
            server.call("DMM1", "FAIL", {"text": "overload"})
        assert caught.value.data["instrument"] == "DMM1"
        assert caught.value.data["verb"] == "FAIL"
        assert caught.value.data["error_code"]
        with pytest.raises(CommandFailedError, match="a bug in the driver"):
            server.call("DMM1", "BUG")
        assert server.call("DMM1", "ECHO", {"value": 1}) == 1
        assert server.status("DMM1").failed == 2


@pytest.mark.parametrize(("which", "value"), [("nan", math.nan), ("inf", math.inf), ("-inf", -math.inf)])
def test_numbers_without_a_form_in_json_arrive(which: str, value: float) -> None:
    with serving() as (server, _):
        server.add("DMM1", config())
        assert server.call("DMM1", "NUMBER", {"which": which}) == pytest.approx(value, nan_ok=True)
        assert server.execute("DMM1", "NUMBER", {"which": which}).return_value == pytest.approx(value, nan_ok=True)
        assert server.submit("DMM1", "NUMBER", {"which": which}).result() == pytest.approx(value, nan_ok=True)


def test_what_makes_no_sense_is_refused_before_it_is_sent() -> None:
    with serving() as (server, _):
        server.add("DMM1", config())
        for verb, params, error in [
            ("ECHO", {"value": math.nan}, UsageError),
            ("ECHO", {"value": [1.0, {"x": math.inf}]}, UsageError),
            ("ECHO", {"value": object()}, UsageError),
            ("ECHO", {}, UsageError),
            ("ECHO", {"valu": 1}, UsageError),
            ("MEASURE_VOLTAGE", {"range": 0.0}, UsageError),
            ("MEASURE_VOLTAGE", {"range": "much"}, UsageError),
            ("MEASURE_VOLTAG", {}, NotFoundError),
        ]:
            with pytest.raises(error):
                server.call("DMM1", verb, params)
        bad: list[dict[str, Any]] = [{"timeout_ms": 0}, {"timeout_ms": math.nan}, {"priority": -1}, {"priority": 1001}]
        for options in bad:
            with pytest.raises(UsageError):
                server.call("DMM1", "ECHO", {"value": 1}, **options)
        status = server.status("DMM1")
        assert (status.ok, status.failed, status.waiting) == (0, 0, 0)


def test_an_instrument_is_named_and_there_once() -> None:
    with serving() as (server, _):
        with pytest.raises(InvalidNameError):
            server.add("../x", config())
        server.add("DMM1", config())
        with pytest.raises(StateError, match="already"):
            server.add("DMM1", config())
        with pytest.raises(NotFoundError, match="there are: DMM1"):
            server.call("DMM2", "ECHO")
        assert server.names() == ["DMM1"]
        server.remove("DMM1")
        assert server.names() == []


def test_a_late_response_is_dropped_and_counted(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with serving() as (server, events):
        server.add("DMM1", config())
        with pytest.raises(DeadlineError, match="WAIT_FOR_FILE was not answered within 50 ms"):
            server.call("DMM1", "WAIT_FOR_FILE", {"path": str(go)}, timeout_ms=50)
        assert server.status("DMM1").state is State.STUCK
        go.touch()
        assert server.call("DMM1", "ECHO", {"value": 7}) == 7
        events.wait_for("late_response")
        events.wait_for("unstuck")
        status = server.status("DMM1")
        assert (status.timed_out, status.late, status.state) == (1, 1, State.READY)
        assert events.kinds().index("stuck") < events.kinds().index("late_response")


def test_the_future_of_a_late_response_fails_in_time(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with serving() as (server, events):
        server.add("DMM1", config())
        future = server.submit("DMM1", "WAIT_FOR_FILE", {"path": str(go)}, timeout_ms=30)
        with pytest.raises(DeadlineError):
            future.result()
        go.touch()
        events.wait_for("late_response")


def test_a_command_that_waits_behind_a_slow_one_makes_nobody_stuck(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with serving() as (server, _):
        server.add("DMM1", config())
        slow = server.submit("DMM1", "WAIT_FOR_FILE", {"path": str(go)}, timeout_ms=25_000)
        with pytest.raises(DeadlineError):
            server.call("DMM1", "ECHO", {"value": 1}, timeout_ms=50)
        assert server.status("DMM1").state is State.BUSY
        go.touch()
        assert slow.result() is True


def test_no_response_expected_is_answered_with_nothing() -> None:
    with serving() as (server, _):
        server.add("DMM1", config())
        assert server.call("DMM1", "ECHO", {"value": 5}, expects_response=False) is None


def test_commands_of_one_instrument_are_executed_in_order() -> None:
    with serving() as (server, _):
        server.add("DMM1", config())
        done: list[int] = []
        futures = [server.submit("DMM1", "ECHO", {"value": number}) for number in range(300)]
        for future in futures:
            future.add_done_callback(lambda future: done.append(future.result()))
        assert [future.result() for future in futures] == list(range(300))
        wait(futures)
        wait_until(lambda: len(done) == 300)


def test_instruments_work_at_the_same_time(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with serving() as (server, _):
        for name in ("A", "B", "C"):
            server.add(name, config(), wait=False)
        params = {"path": str(go)}
        futures = [server.submit(name, "WAIT_FOR_FILE", params, timeout_ms=25_000) for name in server.names()]
        # All three work before any has answered: a worker that waited for another would not be busy.
        wait_until(lambda: [status.state for status in server.statuses()] == [State.BUSY] * 3)
        assert not any(future.done() for future in futures)
        go.touch()
        assert [future.result(10) for future in futures] == [True] * 3


def test_many_threads_share_one_instrument() -> None:
    with serving() as (server, _):
        server.add("DMM1", config())
        wrong: list[object] = []

        def work(base: int) -> None:
            for number in range(base, base + 200):
                value = server.call("DMM1", "ECHO", {"value": number})
                if value != number:
                    wrong.append((number, value))

        threads = [threading.Thread(target=work, args=(base,)) for base in range(0, 8000, 1000)]
        for thread in threads:
            thread.start()
        futures = [server.submit("DMM1", "ECHO", {"value": -number}) for number in range(50)]
        assert [future.result() for future in futures] == [-number for number in range(50)]
        for thread in threads:
            thread.join()
        assert not wrong
        assert server.status("DMM1").ok == 8 * 200 + 50


def test_what_does_not_fit_is_refused_or_compressed() -> None:
    with serving() as (server, _):
        server.add("DMM1", config())
        text = "ab" * 20_000
        assert server.call("DMM1", "ECHO", {"value": text}) == text
        noise = "".join(chr(0x4E00 + number * 7919 % 20_000) for number in range(20_000))
        with pytest.raises(TooLargeError, match="limit is 8192"):
            server.call("DMM1", "ECHO", {"value": noise})


def test_a_full_queue_is_told() -> None:
    with serving() as (server, events):
        server.add("DMM1", config(heartbeat_timeout_s=3600))
        kill(server, "DMM1", signal.SIGSTOP)
        futures = [server.submit("DMM1", "ECHO", {"value": number}, timeout_ms=60_000) for number in range(DEPTH)]
        with pytest.raises(DeadlineError, match="full") as caught:
            server.call("DMM1", "ECHO", {"value": -1}, timeout_ms=50)
        assert caught.value.data["queue_full"] is True
        assert events.wait_for("queue_full")["waiting"] >= DEPTH
        kill(server, "DMM1", signal.SIGCONT)
        assert [future.result() for future in futures] == list(range(DEPTH))
        assert server.status("DMM1").state is State.READY


def test_ping_and_describe() -> None:
    with serving() as (server, _):
        server.add("DMM1", config())
        assert 0 < server.ping("DMM1") < 5
        api = server.describe("DMM1")
        assert "MEASURE_VOLTAGE" in [verb.name for verb in api.verbs]
        assert server.status("DMM1").ok == 0  # our own commands do not count


def test_what_a_worker_prints_and_logs_is_told() -> None:
    with serving() as (server, events):
        server.add("DMM1", config())
        server.call("DMM1", "PRINT_SOMETHING", {"text": "hello"})
        server.call("DMM1", "LOG_SOMETHING", {"text": "the lamp is old"})
        wait_until(lambda: any("the lamp is old" in str(data) for data in events.of("log")))
        assert {"message": "hello"} in events.of("log")
        assert {"message": "HELLO"} in events.of("log")


def test_stop_lets_the_running_command_finish_and_closes_the_driver(tmp_path: Path) -> None:
    note, go = tmp_path / "note", tmp_path / "go"
    with serving() as (server, events):

        def unread() -> int | None:
            return server.queue_states("DMM1")[0].waiting

        server.add("DMM1", config(options={"note": str(note)}, stop_timeout_s=LIMIT_S))
        running = server.submit("DMM1", "WAIT_FOR_FILE", {"path": str(go)})
        wait_until(lambda: unread() == 0, "the worker took the command")  # else SHUTDOWN could overtake it
        waiting = server.submit("DMM1", "ECHO", {"value": 1})
        stop = threading.Thread(target=server.stop, args=("DMM1",))
        stop.start()
        wait_until(lambda: unread() == 2, "SHUTDOWN was sent")
        go.touch()
        stop.join()
        assert running.result() is True
        with pytest.raises(PeerGoneError, match="it was stopped"):
            waiting.result()
        assert note.read_text() == "closed", "once"
        assert events.wait_for("stopped")["exit_code"] == 0
        assert server.status("DMM1").state is State.STOPPED
        with pytest.raises(StateError, match="stopped"):
            server.call("DMM1", "ECHO", {"value": 1})
        server.start("DMM1")
        assert server.call("DMM1", "ECHO", {"value": 1}) == 1
        server.restart("DMM1")
        assert server.call("DMM1", "ECHO", {"value": 2}) == 2
        assert server.status("DMM1").incarnation == 3


@pytest.mark.parametrize("verb", ["ECHO", "CRASH"])
def test_a_callback_may_call_again(verb: str) -> None:
    with serving() as (server, _):
        server.add("DMM1", config())
        values: list[object] = []

        def again(_: object) -> None:
            values.append(server.call("DMM1", "ECHO", {"value": "again"}))
            values.append(server.submit("DMM1", "ECHO", {"value": "later"}).result())

        future = server.submit("DMM1", verb, {"value": 1} if verb == "ECHO" else None)
        future.add_done_callback(again)
        wait_until(lambda: len(values) == 2)
        assert values == ["again", "later"]
        assert server.call("DMM1", "ECHO", {"value": 2}) == 2


def test_results_are_told() -> None:
    results: list[tuple[str, str, object]] = []

    def on_result(name: str, command: object, response: object, sent_s: float, done_s: float) -> None:
        assert 0 <= done_s - sent_s < 60
        results.append((name, command.verb, response.return_value))  # type: ignore[attr-defined]
        raise RuntimeError("a broken receiver harms nobody")

    with serving(on_result=on_result) as (server, _):
        server.add("DMM1", config())
        assert server.call("DMM1", "ECHO", {"value": 1}) == 1
        assert server.submit("DMM1", "ECHO", {"value": 2}).result() == 2
    assert [result for result in results if not result[1].startswith("@")] == [("DMM1", "ECHO", 1), ("DMM1", "ECHO", 2)]


def test_a_waveform_arrives_as_an_array(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    with serving() as (server, events):
        server.add("SCOPE", config())
        array = server.call("SCOPE", "ARRAY", {"points": 100_000})
        assert array.dtype == numpy.float32
        assert (array == numpy.arange(100_000)).all()
        assert (server.execute("SCOPE", "ARRAY").return_value == numpy.arange(10_000)).all()
        assert (server.submit("SCOPE", "ARRAY").result() == numpy.arange(10_000)).all()
        assert not arrays_left()
        go = tmp_path / "go"
        server.submit("SCOPE", "WAIT_FOR_FILE", {"path": str(go)}, timeout_ms=25_000)
        with pytest.raises(DeadlineError):
            server.call("SCOPE", "ARRAY", timeout_ms=50)
        go.touch()
        events.wait_for("late_response")
        assert not arrays_left()
