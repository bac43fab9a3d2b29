"""The thread that watches the workers: descriptors that close and come again within one turn."""

from __future__ import annotations

import os
import threading

from labwire.instruments.supervision.supervisor import Supervisor
from tests.instruments.server_kit import LIMIT_S


def test_a_descriptor_opened_in_place_of_one_that_was_ready_is_not_served_for_it() -> None:
    supervisor = Supervisor()
    (first, first_write), (second, second_write), (fresh, fresh_write) = (os.pipe() for _ in range(3))
    called: list[str] = []
    fresh_called = threading.Event()

    def replace(name: str, other: int) -> None:
        called.append(name)
        for fd in (first, second):
            supervisor.unwatch(fd)
        os.dup2(fresh, other)  # closed and opened again: the number is the same, and nothing is in it
        supervisor.watch(other, serve_fresh)
        supervisor.post(lambda: called.append("next turn"))
        supervisor.post(feed)

    def feed() -> None:
        os.write(fresh_write, b"x")

    def serve_fresh() -> None:
        called.append("fresh")
        for fd in (first, second):
            supervisor.unwatch(fd)
        fresh_called.set()

    def begin() -> None:
        supervisor.watch(first, lambda: replace("first", second))
        supervisor.watch(second, lambda: replace("second", first))
        for end in (first_write, second_write):
            os.write(end, b"x")

    supervisor.post(begin)
    assert fresh_called.wait(LIMIT_S)
    supervisor.close()
    assert called in (["first", "next turn", "fresh"], ["second", "next turn", "fresh"])
    for end in (first, first_write, second, second_write, fresh, fresh_write):
        os.close(end)
