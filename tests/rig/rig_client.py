"""A rig with actors that a test wrote, and a foreign client for it: raw ZeroMQ and the reference encoder."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zmq

from labwire.bus.actor_runner import Wiring
from labwire.bus.rpc_client import RpcClient
from labwire.operations.actors import Actors, ActorStatus
from labwire.operations.bus import BusOperations
from labwire.operations.rig import RigOperations
from labwire.operations.service import client_of
from labwire.rig.hub import Ready
from tests.bus.fake_hub import LIMIT_S, own_context, wait_until
from tests.packing import pack, unpack
from tests.rig_fixture import RunningRig, running_rig

MY_LAB = '''
"""Actors as a user writes them."""

import sys
import time

from labwire import Actor
from labwire.strict import Strict


class Alarm(Actor):
    class Config(Strict):
        word: str = "ring"
        interval_s: float = 0.05

    def on_start(self):
        self.beats = 0
        self.every(self.options.interval_s, self.beat)
        self.log.info("armed, %s", self.options.word)

    def beat(self):
        self.beats += 1
        self.emit("alarm.beat", {"timestamp": self.clock.now(), "beats": self.beats}, numbered=True)

    def on_stop(self):
        self.emit("alarm.end", {"beats": self.beats})

    def on_notify(self, notification):
        """Ring when it is asked to.

        Reacts to notifications:
            ``alarm.should_ring``: Rings.

        Emits notifications:
            ``alarm.rings``: It rings.
        """
        if notification["subject"] == "alarm.should_ring":
            self.notify("alarm.rings", word=self.options.word, incarnation=self.context.incarnation)
        elif notification["subject"] == "alarm.should_fail":
            raise ZeroDivisionError("as asked")
        elif notification["subject"] == "alarm.should_print":
            print("printed by the alarm", flush=True)


class Noisy(Actor):
    """Says too much."""

    def on_start(self):
        self.every(0.02, lambda: self.notify("noise"))


class Refuses(Actor):
    def on_start(self):
        from labwire.errors import ConfigError

        raise ConfigError("there is no such bell")


class Raises(Actor):
    def __init__(self, context):
        super().__init__(context)
        raise RuntimeError("broken in its first line")


class Leaves(Actor):
    def on_start(self):
        self.leave()


class Clings(Actor):
    def on_stop(self):
        self.notify("clings")
        time.sleep(3600)


class Busy(Actor):
    def on_notify(self, notification):
        if notification["subject"] == "busy.should_work":
            time.sleep(notification["seconds"])
            self.notify("busy.done")
'''

Message = tuple[str, dict[str, Any]]


class Client:
    """Talks to a rig as a program in any language would, and over RPC."""

    def __init__(self, rig: RunningRig, context: zmq.Context[Any], topics: Sequence[bytes]) -> None:
        self.rig, self.ready = rig, rig.ready
        self.context = context
        self.remote = context.socket(zmq.REQ)
        self.remote.linger = 0
        self.remote.connect(self.ready.remote)
        self.sub = context.socket(zmq.SUB)
        self.sub.linger, self.sub.rcvhwm = 0, 0
        for topic in topics:
            self.sub.subscribe(topic)
        self.sub.connect(f"tcp://127.0.0.1:{self.ready.sub_port}")
        self.pub = context.socket(zmq.PUB)
        self.pub.linger = 0
        self.pub.connect(f"tcp://127.0.0.1:{self.ready.pub_port}")
        self.rpc = RpcClient(f"tcp://127.0.0.1:{self.ready.rpc_port}", context=context)
        self.actors = client_of(Actors, self.rpc.call)
        self.bus = client_of(BusOperations, self.rpc.call)
        self.rig_operations = client_of(RigOperations, self.rpc.call)
        self._synchronize()

    def _synchronize(self) -> None:
        probe = [b"probe.", pack({"reader": uuid.uuid4().hex})]
        self.sub.subscribe(b"probe.")
        wait_until(lambda: self.pub.send_multipart(probe) or self._hears(probe), "that both ends are connected")
        self.sub.unsubscribe(b"probe.")
        self.ask(b"v")
        self.actors.list()

    def _hears(self, probe: list[bytes]) -> bool:
        while self.sub.poll(5):
            if self.sub.recv_multipart() == probe:
                return True
        return False

    def ask(self, *parts: bytes) -> str:
        self.remote.send_multipart(parts)
        assert self.remote.poll(int(LIMIT_S * 1000)), f"no answer to {parts!r:.100}"
        return self.remote.recv().decode()

    def notify(self, subject: str, **fields: Any) -> None:
        payload = pack({"subject": subject, **fields})
        assert self.ask(f"notify.{subject}".encode(), payload) == "Notification received"

    def messages(self, limit_s: float = LIMIT_S) -> Iterator[Message]:
        """Yield what comes until the time is up; what cannot be read is left out."""
        deadline = time.monotonic() + limit_s
        while (left_s := deadline - time.monotonic()) > 0:
            if self.sub.poll(int(left_s * 1000) + 1):
                topic, *rest = self.sub.recv_multipart()
                try:
                    payload = unpack(rest[0]) if rest else {}
                except ValueError:
                    continue
                if isinstance(payload, dict):
                    yield topic.decode("utf-8", "replace"), payload

    def wait_for(self, topic: str, condition: Callable[[dict[str, Any]], object] = lambda _: True) -> dict[str, Any]:
        """Return the payload of the next message on a topic that meets the condition."""
        seen: list[str] = []
        for found, payload in self.messages():
            if found == topic and condition(payload):
                return payload
            seen.append(found)
        raise AssertionError(f"no {topic} came; there were {sorted(set(seen))}")

    def documents(self) -> dict[str, dict[str, Any]]:
        """Ask every actor for its documentation; return the answers by actor."""
        self.notify("meta.should_doc")
        expected = {
            "hub",
            "Pupil_Remote",
            *(row.name for row in self.actors.list() if row.state in {"running", "remote"}),
        }
        found: dict[str, dict[str, Any]] = {}
        while set(found) < expected:
            document = self.wait_for("notify.meta.doc")
            found[document["actor"]] = document
        return found

    def status_of(self, name: str) -> ActorStatus:
        return next(row for row in self.actors.list() if row.name == name)

    def wait_state(self, name: str, state: str) -> ActorStatus:
        deadline = time.monotonic() + LIMIT_S
        while (status := self.status_of(name)).state != state:
            assert time.monotonic() < deadline, f"{name} is {status}, not {state}"
            time.sleep(0.01)
        return status

    def close(self) -> None:
        self.rpc.close()


def wiring_of(ready: Ready) -> Wiring:
    """Return the addresses of a rig."""
    base = "tcp://127.0.0.1:"
    ports = ready.pub_port, ready.sub_port, ready.push_port, ready.rpc_port
    return Wiring(ready.remote, *(f"{base}{port}" for port in ports))


@contextmanager
def lab(folder: Path, *actors: str, toml: str = "", topics: Sequence[bytes] = (b"",)) -> Iterator[Client]:
    """Run a rig whose actors are of `MY_LAB`.

    Args:
        folder: Where it runs.
        actors: Tables of the rig file, as ``[actors.alarm]`` with its keys; or only a class of `MY_LAB`.
        toml: What else the rig file says.
        topics: What the client subscribes to.
    """
    (folder / "my_lab.py").write_text(MY_LAB)
    tables = [
        actor if actor.startswith("[") else f'[actors.{actor.lower()}]\nclass = "my_lab:{actor}"\n' for actor in actors
    ]
    with (
        running_rig(folder, "\n".join(['name = "lab"', toml, *tables])) as rig,
        own_context() as context,
    ):
        client = Client(rig, context, topics)
        try:
            yield client
        finally:
            client.close()
