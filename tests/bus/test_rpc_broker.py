"""The broker without its socket: whatever peers send, every request gets one answer, and nothing raises."""

from __future__ import annotations

import time
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labwire.bus import rpc_broker
from labwire.bus.rpc_broker import SILENCE_S, RpcBroker
from labwire.errors import NotFoundError, PeerGoneError, ProtocolError, QueueFullError, StateError
from labwire.wire.rpc_message import Hello, Kind, RpcMessage, decode_rpc, encode_rpc, read_error

CLIENT, OTHER, ACTOR, SECOND = b"client", b"other", b"actor", b"second"


def hello(name: str, *services: str, pid: int = 1) -> RpcMessage:
    return RpcMessage(Kind.HELLO, 0, [msgspec.msgpack.encode(Hello(name, "m:C", list(services), pid=pid))])


def call(number: int, operation: bytes = b"lamp.switch", target: bytes = b"", body: bytes = b"\x80") -> RpcMessage:
    return RpcMessage(Kind.CALL, number, [target, operation, body])


class Peers:
    """A broker, and what it sent."""

    def __init__(self) -> None:
        self.changes = 0
        self.broker = RpcBroker(self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def send(self, identity: bytes, message: RpcMessage) -> list[tuple[bytes, RpcMessage]]:
        return read(self.broker.receive(identity, encode_rpc(message)))

    def open_requests(self) -> int:
        return len(self.broker._requests) + len(self.broker._numbers)


def read(outgoing: Iterable[tuple[bytes, list[bytes]]]) -> list[tuple[bytes, RpcMessage]]:
    return [(identity, decode_rpc(parts)) for identity, parts in outgoing]


def error_in(sent: list[tuple[bytes, RpcMessage]]) -> Exception:
    ((_, message),) = sent
    assert message.kind is Kind.ERROR
    return read_error(message.parts[0])


@pytest.fixture
def peers() -> Peers:
    peers = Peers()
    assert peers.send(ACTOR, hello("desk", "lamp")) == []
    return peers


def test_a_call_goes_to_who_offers_the_service_and_the_reply_back(peers: Peers) -> None:
    ((to, request),) = peers.send(CLIENT, call(7))
    assert (to, request.kind, list(request.parts)) == (ACTOR, Kind.CALL, [b"", b"lamp.switch", b"\x80"])
    ((to, report),) = peers.send(ACTOR, RpcMessage(Kind.PROGRESS, request.number, [b"half"]))
    assert (to, report) == (CLIENT, RpcMessage(Kind.PROGRESS, 7, [b"half"]))
    ((to, reply),) = peers.send(ACTOR, RpcMessage(Kind.OK, request.number, [b"done"]))
    assert (to, reply) == (CLIENT, RpcMessage(Kind.OK, 7, [b"done"]))
    assert peers.open_requests() == 0


def test_actors_hear_which_of_their_clients_has_gone(peers: Peers) -> None:
    (_, first), (_, _other), (_, second) = [
        sent for client, number in ((CLIENT, 1), (OTHER, 1), (CLIENT, 2)) for sent in peers.send(client, call(number))
    ]
    assert read(peers.broker.client_gone(CLIENT)) == [
        (ACTOR, RpcMessage(Kind.GONE, request.number, [])) for request in (first, second)
    ]
    assert read(peers.broker.client_gone(b"nobody")) == []


def test_clients_with_the_same_number_are_kept_apart(peers: Peers) -> None:
    ((_, first),) = peers.send(CLIENT, call(1))
    ((_, second),) = peers.send(OTHER, call(1))
    assert first.number != second.number
    assert peers.send(ACTOR, RpcMessage(Kind.OK, second.number, [b"2"]))[0][0] == OTHER
    assert peers.send(ACTOR, RpcMessage(Kind.OK, first.number, [b"1"]))[0][0] == CLIENT


def test_a_number_that_is_still_open_is_refused(peers: Peers) -> None:
    peers.send(CLIENT, call(1))
    assert isinstance(error_in(peers.send(CLIENT, call(1))), ProtocolError)


def test_nobody_offers_it(peers: Peers) -> None:
    error = error_in(peers.send(CLIENT, call(1, b"kettle.boil")))
    assert isinstance(error, NotFoundError)
    assert "kettle" in str(error)
    assert "lamp" in str(error)
    error = error_in(peers.send(CLIENT, call(1, target=b"nobody")))
    assert isinstance(error, NotFoundError)
    assert "desk" in str(error)


def test_how_long_an_actor_has_been_there(peers: Peers) -> None:
    since_s = peers.broker.peers["desk"].since_s
    peers.send(ACTOR, hello("desk", "lamp"))  # it says so every second
    ((known, age_s),) = peers.broker.ages(since_s + 7.0)
    assert (known.actor, age_s) == ("desk", 7.0)


def test_who_is_still_starting_is_told_as_that(peers: Peers) -> None:
    peers.broker.starting = lambda: ["steward", "recorder"]
    error = error_in(peers.send(CLIENT, call(1, b"record.start")))
    assert isinstance(error, NotFoundError), "who can do without it need not ask why it is not there"
    assert "no actor of this rig offers 'record' yet; these are still starting: steward, recorder" in str(error)
    error = error_in(peers.send(CLIENT, call(2, b"record.start", b"recorder")))
    assert "actor 'recorder' is still starting" in str(error)
    assert peers.open_requests() == 0
    assert "there are: desk" in str(error_in(peers.send(CLIENT, call(3, b"x.y", b"nobody"))))


def test_a_target_is_asked_whatever_it_offers(peers: Peers) -> None:
    ((to, _),) = peers.send(CLIENT, call(1, b"kettle.boil", target=b"desk"))
    assert to == ACTOR


def test_cancel_reaches_the_actor_with_its_own_number(peers: Peers) -> None:
    ((_, request),) = peers.send(CLIENT, call(1))
    assert peers.send(CLIENT, RpcMessage(Kind.CANCEL, 1)) == [(ACTOR, RpcMessage(Kind.CANCEL, request.number, []))]
    assert peers.send(OTHER, RpcMessage(Kind.CANCEL, 1)) == [], "somebody else's number"
    assert peers.send(CLIENT, RpcMessage(Kind.CANCEL, 2)) == []


def test_all_that_waits_for_an_actor_that_died_is_answered(peers: Peers) -> None:
    for number in range(5):
        peers.send(CLIENT, call(number))
    peers.send(OTHER, call(0))
    sent = read(peers.broker.forget("desk", "died"))
    assert sorted((to, message.number) for to, message in sent) == [*((CLIENT, n) for n in range(5)), (OTHER, 0)]
    assert all(isinstance(read_error(message.parts[0]), PeerGoneError) for _, message in sent)
    assert peers.open_requests() == 0
    assert peers.broker.hellos() == []
    assert read(peers.broker.forget("desk", "died")) == []
    assert isinstance(error_in(peers.send(CLIENT, call(1))), NotFoundError)


def test_goodbye_is_not_a_silent_end(peers: Peers) -> None:
    peers.send(CLIENT, call(3))
    ((to, message),) = peers.send(ACTOR, RpcMessage(Kind.BYE, 0))
    assert (to, message.number) == (CLIENT, 3)
    assert peers.broker.hellos() == []
    ((gone, why),) = peers.broker.gone
    assert (gone.actor, why) == ("desk", "ended")


def test_an_actor_that_comes_back_takes_its_place(peers: Peers) -> None:
    peers.send(CLIENT, call(3))
    ((to, message),) = peers.send(SECOND, hello("desk", "lamp", pid=2))
    assert (to, message.number, message.kind) == (CLIENT, 3, Kind.ERROR)
    ((to, _),) = peers.send(CLIENT, call(4))
    assert to == SECOND
    # The old one says hello every second; it is told that its name is gone, once each time, and changes nothing.
    assert isinstance(error_in(peers.send(ACTOR, hello("desk", "lamp"))), StateError)
    assert [known.pid for known in peers.broker.hellos()] == [2]
    assert peers.send(ACTOR, RpcMessage(Kind.BYE, 0)) == []
    assert [known.pid for known in peers.broker.hellos()] == [2]


def test_nobody_takes_the_name_of_an_actor_of_the_rig(peers: Peers) -> None:
    peers.broker.is_supervised = lambda known: known.pid == 1
    assert isinstance(error_in(peers.send(SECOND, hello("desk", "lamp", pid=2))), StateError)
    assert [known.pid for known in peers.broker.hellos()] == [1]


def test_an_actor_that_changes_its_name_is_known_once(peers: Peers) -> None:
    peers.send(CLIENT, call(3))
    ((to, _),) = peers.send(ACTOR, hello("table", "lamp"))
    assert to == CLIENT, "what the old name was asked is answered"
    assert [known.actor for known in peers.broker.hellos()] == ["table"]
    assert peers.send(CLIENT, call(4))[0][0] == ACTOR
    assert list(peers.broker.forget("desk", "died")) == []
    assert peers.send(CLIENT, call(5))[0][0] == ACTOR


def test_saying_hello_again_changes_nothing_but_new_services_do(peers: Peers) -> None:
    changes = peers.changes
    peers.send(ACTOR, hello("desk", "lamp"))
    assert peers.changes == changes
    peers.send(ACTOR, hello("desk", "lamp", "kettle"))
    assert peers.changes == changes + 1
    assert peers.send(CLIENT, call(1, b"kettle.boil"))[0][0] == ACTOR


def test_silence_is_death_unless_the_process_lives(peers: Peers) -> None:
    peers.send(CLIENT, call(3))
    later_s = time.monotonic() + SILENCE_S + 1
    assert (peers.broker.silent(time.monotonic()), peers.broker.silent(later_s)) == (set(), {"desk"})
    assert list(peers.broker.expire(time.monotonic(), lambda _: False)) == []
    assert list(peers.broker.expire(later_s, lambda _: True)) == []
    ((to, message),) = read(peers.broker.expire(later_s, lambda _: False))
    assert (to, message.number) == (CLIENT, 3)
    assert peers.broker.hellos() == []
    ((gone, why),) = peers.broker.gone
    assert (gone.actor, why) == ("desk", f"has been silent for {SILENCE_S:g} s")


def test_replies_that_nobody_asked_for_go_nowhere(peers: Peers) -> None:
    ((_, request),) = peers.send(CLIENT, call(1))
    for identity in (CLIENT, SECOND):
        assert peers.send(identity, RpcMessage(Kind.OK, request.number, [b""])) == []
    assert peers.send(ACTOR, RpcMessage(Kind.OK, request.number + 1, [b""])) == []
    assert peers.broker.malformed == 3
    assert peers.send(ACTOR, RpcMessage(Kind.OK, request.number, [b""]))[0][0] == CLIENT
    assert peers.send(ACTOR, RpcMessage(Kind.OK, request.number, [b""])) == [], "answered once"


@pytest.mark.parametrize("name", ["", "a b", "../x", "x" * 65, "ä"])
def test_a_name_that_is_none_is_refused(peers: Peers, name: str) -> None:
    peers.send(SECOND, hello(name))
    assert [known.actor for known in peers.broker.hellos()] == ["desk"]


def test_requests_and_actors_are_bounded(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc_broker, "MAX_PENDING", 3)
    monkeypatch.setattr(rpc_broker, "MAX_ACTORS", 2)
    for number in range(3):
        peers.send(CLIENT, call(number))
    assert isinstance(error_in(peers.send(CLIENT, call(3))), QueueFullError)
    peers.send(SECOND, hello("two"))
    assert isinstance(error_in(peers.send(b"third", hello("three"))), QueueFullError)
    assert len(peers.broker.hellos()) == 2


messages = st.builds(
    lambda kind, number, parts: [b"LW1" + kind.value + number.to_bytes(8, "little"), *parts],
    st.sampled_from(Kind),
    st.integers(0, 5) | st.integers(0, 2**64 - 1),
    st.lists(
        st.sampled_from([b"", b"desk", b"lamp.switch", hello("desk", "lamp").parts[0], hello("b", "lamp").parts[0]])
        | st.binary(max_size=10),
        max_size=4,
    ),
)
identities = st.sampled_from([CLIENT, OTHER, ACTOR, SECOND])


@settings(max_examples=200)
@given(st.lists(st.tuples(identities, messages | st.lists(st.binary(max_size=15), max_size=4)), max_size=40))
def test_whatever_comes_nothing_raises_and_the_tables_agree(traffic: list[tuple[bytes, list[bytes]]]) -> None:
    peers = Peers()
    broker = peers.broker
    for identity, parts in traffic:
        read(broker.receive(identity, parts))
        assert len(broker._requests) == len(broker._numbers)
        assert set(broker._names.values()) == set(broker.peers)
        assert {peer.identity for peer in broker.peers.values()} == set(broker._names)
        assert all(request.actor in broker.peers for request in broker._requests.values())
    for name in list(broker.peers):
        read(broker.forget(name, "died"))
    assert peers.open_requests() == 0, "every request was answered"
