"""Starts the actors' processes, notices at once when one dies, starts it again with back-off, stops them all."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import msgspec

from labwire.bus.actor_runner import ActorSpec
from labwire.bus.loop import Loop, Timer
from labwire.errors import ConfigError, MissingExtraError, NotFoundError, codes_of
from labwire.operations.actors import ActorStatus
from labwire.stderr_lines import StderrLines

FIRST_BACK_OFF_S = 0.25
LONGEST_BACK_OFF_S = 10.0
PROVEN_S = 30.0
"""An actor that ran for so long starts again without back-off."""
STOP_LIMIT_S = 15.0
"""How long an actor may take to finish before it is ended by force."""
TERMINATE_LIMIT_S = 2.0
KILL_LIMIT_S = 2.0
_LAST_READS = 16  # a process that outlives its parent may go on writing
_COMMAND = (sys.executable, "-m", "labwire.bus.actor_process")
_HOPELESS = {codes_of(ConfigError).exit_code, codes_of(MissingExtraError).exit_code}


class State(Enum):
    """Where an actor's process is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    SILENT = "silent"
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
    leaving: bool = False
    """It is forgotten when it has ended."""
    failed: bool = False
    """It stopped because it cannot run as it is: another try needs other options, or a person."""
    services: list[str] = field(default_factory=list[str])
    stderr: StderrLines = field(default_factory=StderrLines)
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
            [] if self.state is State.STOPPED else self.services,
            self.last_error,
        )


class Supervisor:
    """All actors' processes of a rig. Everything happens on the loop's thread.

    Args:
        loop: The hub's loop.
        on_died: Called with the child and a sentence when a process ended that nobody had asked to.
        on_stopped: Called when one ended that was asked to, or on its own accord, and does not start again.
        on_stderr: Called with an actor's name and a line that it wrote to standard error.
    """

    def __init__(
        self,
        loop: Loop,
        *,
        on_died: Callable[[Child, str], None],
        on_stopped: Callable[[Child], None] = lambda _: None,
        on_stderr: Callable[[str, str], None],
    ) -> None:
        self._loop = loop
        self._on_died, self._on_stopped, self._on_stderr = on_died, on_stopped, on_stderr
        self.children: dict[str, Child] = {}
        self.forced: list[str] = []
        """Actors that did not finish when they were asked to."""

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

    def starting(self) -> list[str]:
        """Return the names of actors that are about to run; safe from any thread.

        One that has failed and is tried again is none of them: it may fail again, and `status` says why.
        """
        children = list(self.children.values())
        return [child.name for child in children if child.state is State.STARTING and not child.last_error]

    def start(self, child: Child) -> None:
        """Start an actor's process; if the system does not give one, that counts as a death."""
        self._cancel_timers(child)
        child.started_s, child.start_again, child.stderr = time.monotonic(), False, StderrLines()
        child.failed = False
        spec = msgspec.structs.replace(child.spec, incarnation=child.starts)
        child.starts += 1
        try:
            child.process = process = _spawn(spec)
        except OSError as error:
            child.last_error = str(error)
            self._died(child, f"could not be started: {error}")
            return
        child.state = State.STARTING
        child.pidfd = os.pidfd_open(process.pid)
        self._loop.watch(child.pidfd, lambda: self._ended(child))
        self._loop.watch(_stderr_of(process), lambda: self._pass_on_stderr(child))

    def remove(self, child: Child) -> None:
        """Stop an actor and forget it."""
        child.leaving = True
        self.stop(child)
        if child.process is None:
            self._forget(child)

    def is_ready(self, name: str, services: list[str]) -> None:
        """Note that an actor has said hello."""
        child = self.children.get(name)
        if child and child.state is State.STARTING:
            child.state, child.services = State.RUNNING, services

    def heard(self, child: Child, *, silent: bool) -> bool:
        """Note whether an actor that runs still says that it does; return whether that is news."""
        before, after = (State.RUNNING, State.SILENT) if silent else (State.SILENT, State.RUNNING)
        if child.state is not before:
            return False
        child.state = after
        return True

    def stop(self, child: Child) -> None:
        """Ask an actor to finish; after `STOP_LIMIT_S` it is terminated, then killed."""
        child.start_again = child.failed = False
        if child.state is State.STOPPING:
            return
        self._cancel_timers(child)
        if child.process is None:
            child.state = State.STOPPED
            return
        child.state = State.STOPPING
        _write_lifeline(child.process, b"stop\n")
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

    def end_all(self) -> None:
        """End every process by force and wait until it is gone."""
        self.kill_all()
        for child in self.children.values():
            if child.process:
                with contextlib.suppress(subprocess.TimeoutExpired):  # the system itself cannot end it: a hung device
                    child.process.wait(KILL_LIMIT_S)
                    self._ended(child)

    def _signal(self, child: Child, number: signal.Signals) -> None:
        if child.process:
            child.process.send_signal(number)

    def _ended(self, child: Child) -> None:
        process = child.process
        assert process
        code = process.wait()
        for _ in range(_LAST_READS):
            if not self._read_stderr(child):
                break
        self._loop.unwatch(child.pidfd)
        self._loop.unwatch(_stderr_of(process))
        os.close(child.pidfd)
        _close_pipes(process)
        child.process = None
        self._cancel_timers(child)
        asked, child.state = child.state is State.STOPPING, State.STOPPED
        if asked and code < 0:
            self.forced.append(child.name)
        if not asked and code in _HOPELESS:
            child.last_error, child.failed = child.stderr.last, True
            self._on_died(child, f"cannot run: {child.last_error}")
        elif not asked and code != 0:
            # What a process wrote before it was killed says nothing of why.
            child.last_error = (child.stderr.last if code > 0 else "") or _why(code)
            self._died(child, _why(code))
        elif child.start_again:
            self.start(child)
        elif child.leaving:
            self._forget(child)
        else:
            self._on_stopped(child)

    def _forget(self, child: Child) -> None:
        self.children.pop(child.name, None)
        self._on_stopped(child)

    def _died(self, child: Child, why: str) -> None:
        if time.monotonic() - child.started_s > PROVEN_S:
            child.back_off_s = FIRST_BACK_OFF_S
        child.state = State.BACKING_OFF
        child.timers = [self._loop.call_later(child.back_off_s, lambda: self._start_again(child))]
        self._on_died(child, f"{why}; starts again in {child.back_off_s:g} s")
        child.back_off_s = min(LONGEST_BACK_OFF_S, child.back_off_s * 2)

    def _start_again(self, child: Child) -> None:
        child.restarts += 1
        self.start(child)

    def _pass_on_stderr(self, child: Child) -> None:
        self._read_stderr(child)

    def _read_stderr(self, child: Child) -> bool:
        """Pass on what an actor has written; False if there was nothing."""
        assert child.process
        fd = _stderr_of(child.process)
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            return False
        if not data:
            self._loop.unwatch(fd)
        for line in child.stderr.take(data, time.monotonic()):
            self._on_stderr(child.name, line)
        return bool(data)

    def _cancel_timers(self, child: Child) -> None:
        for timer in child.timers:
            timer.cancel()
        child.timers = []


def _spawn(spec: ActorSpec) -> subprocess.Popen[bytes]:
    clock = () if spec.clock_fd is None else (spec.clock_fd,)
    process = subprocess.Popen(
        _COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=(*clock, *spec.inherited_fds),
        process_group=0,  # Ctrl-C is for the hub alone
    )
    os.set_blocking(_stderr_of(process), False)
    _write_lifeline(process, msgspec.json.encode(spec) + b"\n")
    return process


def _write_lifeline(process: subprocess.Popen[bytes], data: bytes) -> None:
    assert process.stdin
    with contextlib.suppress(OSError):  # it has died: the pidfd tells
        process.stdin.write(data)
        process.stdin.flush()


def _stderr_of(process: subprocess.Popen[bytes]) -> int:
    assert process.stderr
    return process.stderr.fileno()


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stderr):
        if pipe:
            with contextlib.suppress(OSError):  # flushing "stop" to a dead process
                pipe.close()


def _why(code: int) -> str:
    if code < 0:
        try:
            return f"ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"ended by signal {-code}"
    return f"ended with exit code {code}"
