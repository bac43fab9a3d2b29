"""Replies that are not there yet, and services that other objects implement for an actor."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from labwire.bus.loop import Loop
from labwire.bus.operation_server import OperationServer
from labwire.bus.rpc_client import RpcClient
from labwire.errors import InternalError, NotFoundError
from labwire.operations.service import Service, answer_later, client_of, offered_by, operation
from labwire.wire.rpc_message import Hello
from tests.bus.fake_hub import LIMIT_S, wait_until
from tests.bus.hub_parts import Hub, running_hub


class Oven(Service):
    """Bake."""

    service = "oven"

    @operation()
    @abstractmethod
    def start(self, dish: str) -> str:
        """Bake a dish."""


class Timer(Service):
    """Ring."""

    service = "timer"

    @operation()
    @abstractmethod
    def start(self, minutes: int) -> int:
        """Start, under a name that another service has too."""


class Clock(Timer):
    def start(self, minutes: int) -> int:
        return minutes * 60


class Kitchen(Oven):
    def __init__(self) -> None:
        self.offers = (Clock(),)
        self.baking: dict[str, Future[str]] = {}

    def start(self, dish: str) -> str:
        future: Future[str] = Future()
        if dish == "toast":
            future.set_result("burnt")
        self.baking[dish] = future
        return answer_later(future)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as running:
        yield running


@pytest.fixture
def kitchen(hub: Hub) -> Iterator[Kitchen]:
    made, faults = Kitchen(), list[BaseException]()
    loop = Loop(faults.append)
    services = [service.service for _, service in offered_by(made)]
    assert services == ["oven", "timer"]
    hello = Hello("kitchen", "m:C", services, pid=1)
    server = OperationServer(made, loop, hello, f"tcp://127.0.0.1:{hub.rpc.port}", hub.peers)
    server.start()
    thread = threading.Thread(target=loop.run)
    thread.start()
    wait_until(lambda: any(peer.actor == "kitchen" for peer in hub.rpc.broker.hellos()), "HELLO")
    yield made
    loop.post(loop.stop)
    thread.join()
    server.close()
    loop.close()
    assert faults == []


@pytest.fixture
def client(hub: Hub, kitchen: Kitchen) -> Iterator[RpcClient]:
    made = RpcClient(f"tcp://127.0.0.1:{hub.rpc.port}", context=hub.peers, timeout_s=LIMIT_S)
    yield made
    made.close()


def test_a_caller_waits_and_the_others_do_not(kitchen: Kitchen, client: RpcClient) -> None:
    oven = client_of(Oven, client.call)
    with ThreadPoolExecutor(2) as callers:
        cake, bread = callers.submit(oven.start, "cake"), callers.submit(oven.start, "bread")
        wait_until(lambda: len(kitchen.baking) == 2, "both")
        assert oven.start("toast") == "burnt", "what is there already is sent at once"
        kitchen.baking["bread"].set_result("brown")
        assert bread.result(LIMIT_S) == "brown"
        assert not cake.done()
        kitchen.baking["cake"].set_exception(NotFoundError("no eggs"))
        with pytest.raises(NotFoundError, match="no eggs"):
            cake.result(LIMIT_S)


def test_a_mistake_behind_a_reply_is_told(kitchen: Kitchen, client: RpcClient) -> None:
    oven = client_of(Oven, client.call)
    with ThreadPoolExecutor(1) as callers:
        pie = callers.submit(oven.start, "pie")
        wait_until(lambda: "pie" in kitchen.baking, "the pie")
        kitchen.baking["pie"].set_exception(ZeroDivisionError("no oven"))
        with pytest.raises(InternalError, match="no oven"):
            pie.result(LIMIT_S)


def test_two_services_may_have_methods_of_one_name(client: RpcClient) -> None:
    assert client_of(Timer, client.call).start(2) == 120
