"""Many commands ahead, continuous acquisition, instruments that wait for each other, priorities."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from labwire.errors import CommandFailedError, DeadlineError, PeerGoneError, TooLargeError, UsageError
from labwire.instruments.status import State
from tests.instruments.server_kit import arrays_left, config, kill, serving, wait_until


def test_map_yields_the_values_in_order() -> None:
    with serving() as (server, _):
        server.add("DMM1", config())
        for window in (1, 2, 50, 100):
            numbers = list(range(500))
            values = server.map("DMM1", "ECHO", ({"value": number} for number in numbers), window=window)
            assert list(values) == numbers
        assert server.status("DMM1").ok == 2000
        assert list(server.map("DMM1", "ECHO", [])) == []
        assert server.call("DMM1", "ECHO", {"value": 1}) == 1


def test_map_with_large_values_and_arrays() -> None:
    numpy = pytest.importorskip("numpy")
    with serving() as (server, _):
        server.add("DMM1", config())
        texts = ["x" * (number * 37 % 6000) for number in range(300)]
        assert list(server.map("DMM1", "ECHO", [{"value": text} for text in texts])) == texts
        sizes = range(1, 200)
        arrays = list(server.map("DMM1", "ARRAY", [{"points": size} for size in sizes]))
        assert all((array == numpy.arange(size)).all() for array, size in zip(arrays, sizes, strict=True))


def test_map_ends_at_the_first_failure() -> None:
    with serving() as (server, _):
        server.add("DMM1", config())
        params = [{"which": which} for which in ("inf", "inf", "nonsense", "inf")]
        values = server.map("DMM1", "NUMBER", params)
        assert next(values) == next(values)
        with pytest.raises(CommandFailedError):
            next(values)
        assert list(values) == []
        with pytest.raises(UsageError):
            server.map("DMM1", "ECHO", [], window=0)
        with pytest.raises(TooLargeError):
            list(server.map("DMM1", "ECHO", [{"value": os.urandom(30_000).hex()}]))
        assert server.call("DMM1", "ECHO", {"value": 1}) == 1


def test_what_map_has_sent_ahead_is_dropped_when_nobody_asks_for_it() -> None:
    pytest.importorskip("numpy")
    with serving() as (server, _):
        server.add("DMM1", config())
        values = server.map("DMM1", "ARRAY", [{"points": 10}] * 200)
        next(values)
        values.close()  # type: ignore[attr-defined]
        assert server.call("DMM1", "ECHO", {"value": 1}) == 1
        status = server.status("DMM1")
        assert (status.waiting, status.protocol_errors) == (0, 0)
        assert not arrays_left()


def test_slow_commands_of_a_map_each_have_their_time() -> None:
    with serving() as (server, _):
        server.add("DMM1", config())
        params = [{"duration_s": 0.15}] * 12
        assert list(server.map("DMM1", "SLEEP", params, timeout_ms=1500)) == [0.15] * 12


def test_a_death_ends_a_map() -> None:
    with serving() as (server, _):
        server.add("DMM1", config())
        values = server.map("DMM1", "ECHO", ({"value": number} for number in itertools.count()))
        for number in range(100):
            assert next(values) == number
        kill(server, "DMM1", signal.SIGKILL)
        with pytest.raises(PeerGoneError, match="Worker died"):
            for number, value in enumerate(values, 100):
                assert value == number  # what was answered before its death is true
        assert server.call("DMM1", "ECHO", {"value": 1}) == 1


def test_blocks_arrive_in_order() -> None:
    numpy = pytest.importorskip("numpy")
    with serving() as (server, _):
        server.add("SCOPE", config())
        with server.acquire("SCOPE", "BLOCKS", {"count": 100}) as blocks:
            assert blocks.command_id.startswith("SCOPE-")
            assert list(blocks) == list(range(100))
            assert list(blocks) == []
        with server.acquire("SCOPE", "BLOCKS", {"count": 30, "points": 1000}, credits=3) as blocks:
            for number, block in enumerate(blocks):
                assert (block == numpy.arange(1000) + number).all()
        assert server.call("SCOPE", "ECHO", {"value": 1}) == 1
        assert server.status("SCOPE").protocol_errors == 0


def test_an_endless_acquisition_ends_when_it_is_left() -> None:
    pytest.importorskip("numpy")
    with serving() as (server, _):
        server.add("SCOPE", config())
        with server.acquire("SCOPE", "BLOCKS", {"points": 1000}) as blocks:
            for _ in range(20):
                next(blocks)
        assert server.call("SCOPE", "ECHO", {"value": 1}) == 1
        with server.acquire("SCOPE", "BLOCKS") as blocks:
            pass
        blocks.close()
        assert list(blocks) == []
        assert server.call("SCOPE", "ECHO", {"value": 1}) == 1
        assert server.status("SCOPE").protocol_errors == 0
        assert not arrays_left()


def test_no_more_blocks_are_made_than_there_is_room_for() -> None:
    with serving() as (server, _):
        server.add("SCOPE", config())
        with server.acquire("SCOPE", "COUNTED_BLOCKS", credits=4) as blocks:
            for number in range(1, 11):
                assert next(blocks) == number
            waiting = server.submit("SCOPE", "MADE")  # executed after the acquisition
        assert 10 <= waiting.result() <= 14


def test_cancel_from_another_thread() -> None:
    with serving() as (server, _):
        server.add("SCOPE", config())
        with server.acquire("SCOPE", "BLOCKS") as blocks:
            assert next(blocks) == 0
            canceller = threading.Timer(0.05, blocks.cancel)
            canceller.start()
            taken = 1 + sum(1 for _ in blocks)
            canceller.join()
            assert blocks.taken == taken
            blocks.cancel()


def test_an_acquisition_that_fails_says_why_after_its_blocks() -> None:
    with serving() as (server, _):
        server.add("SCOPE", config())
        with server.acquire("SCOPE", "FAILING_BLOCKS", {"good": 3}) as blocks:
            assert [next(blocks), next(blocks), next(blocks)] == [0, 1, 2]
            with pytest.raises(CommandFailedError, match="the trigger is lost"):
                next(blocks)
            assert list(blocks) == []


def test_a_death_ends_an_acquisition() -> None:
    with serving() as (server, _):
        server.add("SCOPE", config())
        with server.acquire("SCOPE", "BLOCKS") as blocks:
            assert next(blocks) == 0
            kill(server, "SCOPE", signal.SIGKILL)
            with pytest.raises(PeerGoneError, match="Worker died"):
                for _ in blocks:
                    pass
        assert server.call("SCOPE", "ECHO", {"value": 1}) == 1


def test_call_and_acquire_are_not_the_same() -> None:
    with serving() as (server, _):
        server.add("SCOPE", config())
        with pytest.raises(UsageError, match="acquire it"):
            server.call("SCOPE", "BLOCKS")
        with pytest.raises(UsageError, match="call it"):
            server.acquire("SCOPE", "ECHO", {"value": 1})
        with pytest.raises(UsageError, match="credits"):
            server.acquire("SCOPE", "BLOCKS", credits=0)


def test_no_block_in_time_is_told_and_the_next_one_still_comes(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with serving() as (server, _):
        server.add("SCOPE", config())
        waiting = server.submit("SCOPE", "WAIT_FOR_FILE", {"path": str(go)}, timeout_ms=25_000)
        with server.acquire("SCOPE", "BLOCKS", {"count": 2}, timeout_ms=50) as blocks:
            with pytest.raises(DeadlineError, match=r"no block within 0\.05 s"):
                next(blocks)
            go.touch()
            assert waiting.result() is True
            wait_until(lambda: server.status("SCOPE").heartbeat_age_s is not None)
            taken: list[object] = []
            wait_until(lambda: takes_one_more(blocks, taken) == [0, 1])
            assert list(blocks) == []


def takes_one_more(blocks: Iterator[object], taken: list[object]) -> list[object]:
    """Take a block if there is one in time; on a busy machine it may come later."""
    with contextlib.suppress(DeadlineError):
        taken.append(next(blocks))
    return taken


def test_a_barrier_lets_all_go_on_together() -> None:
    with serving() as (server, _):
        for name in ("A", "B", "C"):
            server.add(name, config(), wait=False)
        for name in ("A", "B", "C"):
            server.ping(name)
        sleeping = server.submit("B", "SLEEP", {"duration_s": 1.0})
        barrier = server.barrier(["A", "B", "C"])
        assert sleeping.done()
        assert set(barrier.reached_s) == {"A", "B", "C"}
        assert barrier.reached_s["A"] < barrier.reached_s["B"] == barrier.waited_s
        assert barrier.release_spread_s >= 0
        assert [server.call(name, "ECHO", {"value": name}) for name in ("A", "B", "C")] == ["A", "B", "C"]


def test_a_barrier_that_one_does_not_reach_lets_the_others_go_on(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with serving() as (server, _):
        server.add("A", config())
        server.add("B", config())
        waiting = server.submit("B", "WAIT_FOR_FILE", {"path": str(go)}, timeout_ms=25_000)
        with pytest.raises(DeadlineError, match="B did not reach") as caught:
            server.barrier(["A", "B"], 1.0)
        assert caught.value.data["missing"] == ["B"]
        assert server.call("A", "ECHO", {"value": 1}) == 1
        go.touch()
        assert waiting.result() is True
        assert server.call("B", "ECHO", {"value": 1}) == 1  # it was released before it came there


def test_higher_priorities_overtake_what_waits(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with serving() as (server, _):
        server.add("DMM1", config())
        order: list[str] = []
        futures = [server.submit("DMM1", "WAIT_FOR_FILE", {"path": str(go)}, timeout_ms=25_000)]
        wait_until(lambda: server.status("DMM1").state is State.BUSY)
        for name, priority in [("first", 0), ("second", 0), ("urgent", 10), ("most urgent", 20), ("third", 0)]:
            future = server.submit("DMM1", "ECHO", {"value": name}, priority=priority)
            future.add_done_callback(lambda done: order.append(done.result()))
            futures.append(future)
        go.touch()
        for future in futures:
            future.result()
        wait_until(lambda: len(order) == 5)
        assert order == ["most urgent", "urgent", "first", "second", "third"]


def test_traffic_is_logged_when_that_is_wanted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setenv("INSTRUMENT_IPC_DEBUG", "1")
    with caplog.at_level("INFO", "labwire.instruments.traffic"), serving() as (server, _):
        server.add("DMM1", config())
        server.call("DMM1", "ECHO", {"value": "hello"})
    lines = [record.getMessage() for record in caplog.records if record.name == "labwire.instruments.traffic"]
    assert any(line.startswith("DMM1 < COMMAND id=") and '"verb":"ECHO"' in line for line in lines)
    assert any(line.startswith("DMM1 > RESPONSE id=") and '"return_value":"hello"' in line for line in lines)
    assert any(line.startswith("DMM1 > HEARTBEAT") for line in lines)
    assert any(line.startswith("DMM1 < SHUTDOWN") for line in lines)
