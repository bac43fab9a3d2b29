"""Starts the actors' processes, notices at once when one dies, starts it again with back-off, stops them all."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum

import msgspec

from labwire.bus.actor_runner import ActorSpec
from labwire.bus.loop import Loop, Timer
from labwire.errors import ConfigError, MissingExtraError, NotFoundError, codes_of
from labwire.operations.actors import ActorStatus

FIRST_BACK_OFF_S = 0.25
LONGEST_BACK_OFF_S = 10.0
PROVEN_S = 30.0
"""An actor that ran for so long starts again without back-off."""
STOP_LIMIT_S = 15.0
"""How long an actor may take to finish before it is ended by force."""
TERMINATE_LIMIT_S = 2.0
_STDERR_LINES = 20
_HOPELESS = {codes_of(ConfigError).exit_code, codes_of(MissingExtraError).exit_code}


class State(Enum):
    """Where an actor's process is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    BACKING_OFF = "backing_off"


@dataclass
class Child:
    """One actor's process and its story."""

    spec: ActorSpec
    state: State = State.STOPPED
    process: subprocess.Popen[bytes] | None = None
    pidfd: int = -1
    started_s: float = 0.0
    back_off_s: float = FIRST_BACK_OFF_S
    restarts: int = 0
    starts: int = 0
    start_again: bool = False
    services: list[str] = field(default_factory=list[str])
    stderr: deque[str] = field(default_factory=lambda: deque[str](maxlen=_STDERR_LINES))
    stderr_rest: bytes = b""
    last_error: str = ""
    timers: list[Timer] = field(default_factory=list[Timer])

    @property
    def name(self) -> str:
        """Name of the actor."""
        return self.spec.name

    @property
    def alive(self) -> bool:
        """True while there is a process."""
        return self.process is not None

    def status(self) -> ActorStatus:
        """Return what ``actors.list`` shows."""
        return ActorStatus(
            self.name,
            self.spec.actor_class,
            self.state.value,
            self.process.pid if self.process else None,
            self.restarts,
            time.monotonic() - self.started_s if self.process else 0.0,
            self.services,
            self.last_error,
        )


class Supervisor:
    """All actors' processes of a rig. Everything happens on the loop's thread.

    Args:
        loop: The hub's loop.
        on_died: Called with the child and a sentence when a process ended that nobody had asked to.
        on_stderr: Called with an actor's name and a line that it wrote to standard error.
    """

    def __init__(
        self, loop: Loop, *, on_died: Callable[[Child, str], None], on_stderr: Callable[[str, str], None]
    ) -> None:
        self._loop = loop
        self._on_died, self._on_stderr = on_died, on_stderr
        self.children: dict[str, Child] = {}

    def add(self, spec: ActorSpec) -> Child:
        """Take an actor in, without starting it."""
        child = self.children[spec.name] = Child(spec)
        return child

    def find(self, name: str) -> Child:
        """Return a child by name.

        Raises:
            NotFoundError: There is none.
        """
        if child := self.children.get(name):
            return child
        raise NotFoundError(f"no actor {name!r} in this rig; there are: {', '.join(self.children) or 'none'}")

    def start(self, child: Child, pass_fds: Iterable[int] = ()) -> None:
        """Start an actor's process."""
        self._cancel_timers(child)
        clock = () if child.spec.clock_fd is None else (child.spec.clock_fd,)
        child.process = subprocess.Popen(
            [sys.executable, "-m", "labwire.bus.actor_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(*clock, *pass_fds, *_fds_of(child.spec)),
            process_group=0,  # Ctrl-C is for the hub alone
        )
        child.state, child.started_s, child.start_again = State.STARTING, time.monotonic(), False
        assert child.process.stdin
        assert child.process.stderr
        with contextlib.suppress(BrokenPipeError):  # it died at once: the pidfd tells
            spec = msgspec.structs.replace(child.spec, incarnation=child.starts)
            child.process.stdin.write(msgspec.json.encode(spec) + b"\n")
            child.process.stdin.flush()
        child.starts += 1
        os.set_blocking(child.process.stderr.fileno(), False)
        child.pidfd = os.pidfd_open(child.process.pid)
        self._loop.watch(child.pidfd, lambda: self._ended(child))
        self._loop.watch(child.process.stderr.fileno(), lambda: self._read_stderr(child))

    def is_ready(self, name: str, services: list[str]) -> None:
        """Note that an actor has said hello."""
        child = self.children.get(name)
        if child and child.state is State.STARTING:
            child.state, child.services = State.RUNNING, services

    def stop(self, child: Child) -> None:
        """Ask an actor to finish; after `STOP_LIMIT_S` it is terminated, then killed."""
        self._cancel_timers(child)
        child.start_again = False
        if child.process is None:
            child.state = State.STOPPED
            return
        if child.state is not State.STOPPING:
            child.state = State.STOPPING
            assert child.process.stdin
            with contextlib.suppress(OSError):
                child.process.stdin.write(b"stop\n")
                child.process.stdin.flush()
            child.timers = [
                self._loop.call_later(STOP_LIMIT_S, lambda: self._signal(child, signal.SIGTERM)),
                self._loop.call_later(STOP_LIMIT_S + TERMINATE_LIMIT_S, lambda: self._signal(child, signal.SIGKILL)),
            ]

    def restart(self, child: Child) -> None:
        """Stop an actor if it runs, and start it."""
        child.back_off_s, child.last_error = FIRST_BACK_OFF_S, ""
        if child.process is None:
            self.start(child)
            return
        self.stop(child)
        child.start_again = True

    def kill_all(self) -> None:
        """End every process by force."""
        for child in self.children.values():
            child.start_again = False
            self._cancel_timers(child)
            child.state = State.STOPPING if child.process else State.STOPPED
            self._signal(child, signal.SIGKILL)

    def _signal(self, child: Child, number: signal.Signals) -> None:
        if child.process:
            child.process.send_signal(number)

    def _ended(self, child: Child) -> None:
        process = child.process
        assert process
        assert process.stdin
        assert process.stderr
        code = process.wait()
        self._read_stderr(child)
        if rest := child.stderr_rest.decode("utf-8", "replace").strip():
            child.stderr.append(rest)
        child.stderr_rest = b""
        self._loop.unwatch(child.pidfd)
        self._loop.unwatch(process.stderr.fileno())
        os.close(child.pidfd)
        with contextlib.suppress(OSError):  # flushing "stop" to a dead process
            process.stdin.close()
        process.stderr.close()
        child.process, child.services = None, []
        self._cancel_timers(child)
        asked = child.state is State.STOPPING
        child.state = State.STOPPED
        if not asked and code != 0:
            self._died(child, code)
        elif child.start_again:
            self.start(child)

    def _died(self, child: Child, code: int) -> None:
        child.last_error = (child.stderr[-1] if child.stderr else "") or _why(code)
        if code in _HOPELESS:
            self._on_died(child, f"cannot run: {child.last_error}")
            return
        if time.monotonic() - child.started_s > PROVEN_S:
            child.back_off_s = FIRST_BACK_OFF_S
        child.state = State.BACKING_OFF
        child.timers = [self._loop.call_later(child.back_off_s, lambda: self._start_again(child))]
        self._on_died(child, f"{_why(code)}; starts again in {child.back_off_s:g} s")
        child.back_off_s = min(LONGEST_BACK_OFF_S, child.back_off_s * 2)

    def _start_again(self, child: Child) -> None:
        child.restarts += 1
        self.start(child)

    def _read_stderr(self, child: Child) -> None:
        assert child.process
        assert child.process.stderr
        fd = child.process.stderr.fileno()
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            return
        if not data:
            self._loop.unwatch(fd)
        *lines, child.stderr_rest = (child.stderr_rest + data)[-65536:].split(b"\n")
        for line in lines:
            text = line.decode("utf-8", "replace").rstrip()
            child.stderr.append(text)
            self._on_stderr(child.name, text)

    def _cancel_timers(self, child: Child) -> None:
        for timer in child.timers:
            timer.cancel()
        child.timers = []


def _fds_of(spec: ActorSpec) -> tuple[int, ...]:
    """Descriptors that an actor of ours is given by number in its options."""
    fd = spec.config.get("console_fd")
    return (fd,) if isinstance(fd, int) else ()


def _why(code: int) -> str:
    if code < 0:
        try:
            return f"ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"ended by signal {-code}"
    return f"ended with exit code {code}"
