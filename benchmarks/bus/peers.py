"""What is measured, each in a process of its own: labwire's bus and rig, and the bare pyzmq programs beside them.

As a program: ``python -m benchmarks.bus.peers ROLE [FOLDER]`` prints one JSON line with its ports and runs until its
standard input ends.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import zmq

ROOT = Path(__file__).parents[2]
START_LIMIT_S = 30.0
END_LIMIT_S = 10.0


class Child:
    """A process that is spoken to in JSON lines and ends when its standard input does."""

    def __init__(self, module: str, *arguments: str) -> None:
        path = os.pathsep.join([str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")])
        self._name = " ".join((module, *arguments))
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
        )
        self.pid = self._process.pid

    def tell(self, order: Mapping[str, Any]) -> None:
        """Write one line."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def hear(self, limit_s: float = START_LIMIT_S) -> dict[str, Any]:
        """Read one line; TimeoutError if it does not come."""
        assert self._process.stdout
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(limit_s):
                raise TimeoutError(f"{self._name} did not answer within {limit_s:g} s")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name} ended; what it wrote stands above")
        return json.loads(line)

    def close(self) -> None:
        """End the process, by force if need be."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        try:
            self._process.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Peer(Child):
    """A running peer and what it told: its ports, and the number of its steward if it has one."""

    def __init__(self, role: str, *arguments: str) -> None:
        super().__init__("benchmarks.bus.peers", role, *arguments)
        try:
            self.told = self.hear()
        except BaseException:
            self.close()
            raise

    def url(self, port: str) -> str:
        """Return the address of a port, by its name."""
        return f"tcp://127.0.0.1:{self.told[port]}"


# --- the programs


def _end_with_input(end: Callable[[], object]) -> None:
    def wait() -> None:
        sys.stdin.read()
        end()

    threading.Thread(target=wait, daemon=True).start()


def _tell(**told: int) -> None:
    print(json.dumps(told), flush=True)


def _run_proxy() -> None:
    """A bare libzmq proxy, as `zmq.proxy` is meant to be used; without bounds, so that it drops nothing."""
    context = zmq.Context()
    xsub, xpub = context.socket(zmq.XSUB), context.socket(zmq.XPUB)
    for socket in (xsub, xpub):
        socket.set_hwm(0)
    ports = [socket.bind_to_random_port("tcp://127.0.0.1") for socket in (xsub, xpub)]
    _end_with_input(lambda: os._exit(0))
    _tell(pub_port=ports[0], sub_port=ports[1])
    zmq.proxy(xsub, xpub)


def _run_reply() -> None:
    """A bare pair's serving end: waits for a request and answers with a time."""
    socket = zmq.Context().socket(zmq.REP)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    _end_with_input(lambda: os._exit(0))
    _tell(remote=port)
    while True:
        socket.recv()
        socket.send(repr(time.monotonic()).encode())


def _run_reply_with_poller() -> None:
    """The same, behind a poller, as a server needs that has more than one socket."""
    context = zmq.Context()
    socket, other = context.socket(zmq.REP), context.socket(zmq.PULL)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    other.bind_to_random_port("tcp://127.0.0.1")
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    poller.register(other, zmq.POLLIN)
    _end_with_input(lambda: os._exit(0))
    _tell(remote=port)
    while True:
        for ready, _ in poller.poll():
            ready.recv_multipart()
            socket.send(repr(time.monotonic()).encode())


def _run_bus() -> None:
    """Labwire's bus alone: the backbone and the inlet with the Remote, no actors."""
    from labwire.bus.backbone import Backbone
    from labwire.bus.inlet import Inlet, InletPorts
    from labwire.clock import RigClock

    context: zmq.Context[Any] = zmq.Context()
    limit = 128 << 20
    backbone = Backbone(
        context, host="127.0.0.1", pub_port=0, sub_port=0, slow_subscriber_s=2.0, max_message_bytes=limit
    )
    inlet = Inlet(
        context,
        RigClock.create(),
        host="127.0.0.1",
        remote_port=0,
        push_port=0,
        replies="spec",
        version="benchmark",
        max_message_bytes=limit,
    )
    backbone.start()
    inlet.start(InletPorts(backbone.pub_port, backbone.sub_port, 0))
    _tell(remote=inlet.remote_port, pub_port=backbone.pub_port, sub_port=backbone.sub_port, push_port=inlet.push_port)
    sys.stdin.read()
    os._exit(0)


def _run_rig(folder: str) -> int:
    """A whole rig as `labwire run` starts it, without instruments: hub and steward."""
    from labwire.bus.config import LogConfig, RemoteConfig
    from labwire.rig.assembly import STEWARD
    from labwire.rig.hub import Hub, Ready
    from labwire.rig.rig_config import RigConfig

    def ready(rig: Ready) -> None:
        remote = int(rig.remote.rpartition(":")[2])
        steward = hub.supervisor.find(STEWARD).process
        assert steward
        ports = {"remote": remote, "pub_port": rig.pub_port, "sub_port": rig.sub_port, "push_port": rig.push_port}
        _tell(**ports, steward_pid=steward.pid)

    config = RigConfig(name="benchmark", remote=RemoteConfig(port=0), log=LogConfig(folder=folder))
    hub = Hub(config, folder=folder, on_ready=ready, say=lambda text: print(text, file=sys.stderr))
    _end_with_input(lambda: os.kill(os.getpid(), signal.SIGTERM))
    return hub.run()


ROLES: dict[str, Callable[..., int | None]] = {
    "proxy": _run_proxy,
    "reply": _run_reply,
    "reply-again": _run_reply,
    "reply-with-poller": _run_reply_with_poller,
    "bus": _run_bus,
    "rig": _run_rig,
}

if __name__ == "__main__":
    sys.exit(ROLES[sys.argv[1]](*sys.argv[2:]))
