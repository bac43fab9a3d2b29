"""Who cannot connect says so, and leaves no socket open for the garbage collector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import zmq

from labwire.bus.publisher import Publisher
from labwire.bus.rpc_client import RpcClient
from labwire.bus.subscription import Subscription
from labwire.client.remote import Remote
from labwire.errors import UsageError
from labwire.zmq_tools import Msg_Receiver
from tests.bus.fake_hub import KeepingContext, own_context

GOOD = "tcp://127.0.0.1:9"
MAKERS: dict[str, Callable[[KeepingContext, str], object]] = {
    "subscription": lambda context, url: Subscription(url, ["x"], context=context),
    "publisher": lambda context, url: Publisher(url, GOOD, context=context),
    "reliable publisher": lambda context, url: Publisher(GOOD, url, context=context),
    "RPC": lambda context, url: RpcClient(url, context=context)._take(),
    "Remote": lambda context, url: Remote(url, timeout_s=1.0, context=context),
    "receiver": Msg_Receiver,
}


@pytest.mark.parametrize("url", ["nonsense", "tcp://a b:50020", "tcp://127.0.0.1:none", "carrier-pigeon://x:1"])
@pytest.mark.parametrize("kind", MAKERS)
def test_no_address_is_refused_and_nothing_stays_open(kind: str, url: str) -> None:
    with own_context() as context:
        with pytest.raises(UsageError, match=f"'{url}' is no address: write tcp://HOST:PORT"):
            MAKERS[kind](context, url)
        assert context.open_sockets == []


@pytest.mark.parametrize("kind", [kind for kind in MAKERS if kind != "receiver"])
def test_a_context_that_ends_is_not_taken_for_a_wrong_address(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = zmq.Socket[Any].connect

    def end(socket: Any, url: str) -> Any:
        if url.startswith("inproc"):
            return connect(socket, url)
        raise zmq.ContextTerminated

    with own_context() as context:
        monkeypatch.setattr(zmq.Socket, "connect", end)
        with pytest.raises(zmq.ContextTerminated):
            MAKERS[kind](context, GOOD)
        assert context.open_sockets == []


def test_a_prefix_that_is_no_text_is_refused_and_nothing_stays_open() -> None:
    with own_context() as context:
        with pytest.raises(TypeError, match="5"):
            Subscription(GOOD, cast("Any", [5]), context=context)
        assert context.open_sockets == []
