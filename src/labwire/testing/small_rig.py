"""A simulated rig in threads of the test: proxy and Remote, nothing else, and it does what a test tells it."""

from __future__ import annotations

import threading
import time
from typing import Any, Literal, Self

import zmq

_TICK_MS = 5


class SmallRig:
    """A bus with a Remote, for trying programs that talk to a rig or to Pupil Core. A context manager.

    >>> with SmallRig() as small, labwire.connect(port=small.port) as rig:  # doctest: +SKIP
    ...     rig.request("R my session")
    ...     assert small.texts[-1] == "R my session"

    Args:
        port: Port of the Remote, 0 for any.
        kind: ``labwire`` tells all four ports; ``pupil`` behaves as Pupil Capture does, prefix rules included;
            ``ancient`` forwards notifications only, as Pupil Capture did before 1.10.
    """

    def __init__(self, port: int = 0, kind: Literal["labwire", "pupil", "ancient"] = "labwire") -> None:
        self.kind = kind
        self.requests: list[list[bytes]] = []
        self.silent = False
        """Take requests and never answer."""
        self.reply: str | None = None
        """What to answer to all messages that are to be forwarded."""
        self.offset_s = 1000.0
        self.version = "3.5.1"
        """What it answers to ``v``."""
        self.rpc_port: int | None = 9
        self._context: zmq.Context[Any] = zmq.Context()
        self._xsub, self._xpub, self._rep, self._pull, self._inlet, self._control, self._control_end = (
            self._context.socket(kind) for kind in (zmq.XSUB, zmq.XPUB, zmq.REP, zmq.PULL, zmq.XPUB, zmq.PAIR, zmq.PAIR)
        )
        for socket in self._sockets:
            socket.linger = 0
        self._xpub.sndhwm = self._xsub.rcvhwm = 0  # it drops nothing
        self.pub_port = self._xsub.bind_to_random_port("tcp://127.0.0.1")
        self.sub_port = self._xpub.bind_to_random_port("tcp://127.0.0.1")
        self.push_port = self._pull.bind_to_random_port("tcp://127.0.0.1")
        self._rep.bind(f"tcp://127.0.0.1:{port or '*'}")
        self.port = int(str(self._rep.getsockopt_string(zmq.LAST_ENDPOINT)).rpartition(":")[2])
        self._xsub.bind("inproc://in")
        self._inlet.setsockopt(zmq.XPUB_NODROP, 1)
        self._inlet.connect("inproc://in")
        self._control_end.bind("inproc://control")
        self._control.connect("inproc://control")
        self._xsub.send(b"\x01")
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._proxy), threading.Thread(target=self._serve)]
        for thread in self._threads:
            thread.start()

    @property
    def _sockets(self) -> tuple[zmq.Socket[Any], ...]:
        return self._xsub, self._xpub, self._rep, self._pull, self._inlet, self._control, self._control_end

    @property
    def texts(self) -> list[str]:
        """The requests of one part so far."""
        return [parts[0].decode() for parts in self.requests if len(parts) == 1]

    def close(self) -> None:
        """End it; its ports are free again."""
        if not self._stop.is_set():
            self._stop.set()
            self._control.send(b"TERMINATE")
            for thread in self._threads:
                thread.join()
            for socket in self._sockets:
                socket.close()
            self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _proxy(self) -> None:
        zmq.proxy_steerable(self._xsub, self._xpub, None, self._control_end)

    def _serve(self) -> None:
        while not self._stop.is_set():
            if self._pull.poll(0):
                self._inlet.send_multipart(self._pull.recv_multipart())
            if self._rep.poll(_TICK_MS):
                parts = self._rep.recv_multipart()
                self.requests.append(parts)
                while self.silent and not self._stop.is_set():
                    time.sleep(_TICK_MS / 1000)
                if self.silent:
                    return
                self._rep.send_string(self._answer(parts))

    def _answer(self, parts: list[bytes]) -> str:
        if len(parts) > 1:
            if self.kind == "ancient" and not parts[0].startswith(b"notify"):
                return "Notification mal-formatted or missing: 'subject'"
            if self.reply is None:
                self._inlet.send_multipart(parts)
            return self.reply or ("Message forwarded." if self.kind == "pupil" else "Notification received")
        text = parts[0].decode()
        ports: dict[str, int | None] = {"PUB_PORT": self.pub_port, "SUB_PORT": self.sub_port}
        if self.kind == "labwire":
            ports |= {"PUSH_PORT": self.push_port, "RPC_PORT": self.rpc_port}
        if text in ports:
            return str(ports[text])
        if text[:1] in {"R", "r"}:
            return "OK"
        if text[:1] == "v":
            return self.version
        return repr(time.monotonic() + self.offset_s) if text[:1] == "t" else "Unknown command."
