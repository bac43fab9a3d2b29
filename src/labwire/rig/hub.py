"""The hub's process: backbone, Remote, RPC broker and supervisor; starts a rig, keeps it, ends it."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from labwire.bus.actor_runner import ActorRunner, ActorSpec
from labwire.bus.rpc_broker import ENDED, SILENCE_S
from labwire.bus.rpc_port import RPC_INPROC
from labwire.errors import DeadlineError, LabwireError, codes_of
from labwire.operations.actors import ActorStatus
from labwire.operations.instrument_set import InstrumentSet
from labwire.operations.rig import RigStatus
from labwire.rig.assembly import INSTRUMENTS, STEWARD, actor_specs
from labwire.rig.hub_actor import HubActor
from labwire.rig.hub_ports import HubPorts, PortEvents
from labwire.rig.live_rig import LiveRig, ReadRig
from labwire.rig.rig_config import RigConfig, dump
from labwire.rig.supervisor import Child, State, Supervisor
from labwire.rig.web_door import WEB
from labwire.signals import HANGUP, told_to_end
from labwire.wire.rpc_message import Hello

SWITCH_INTERVAL_S = 0.0005
"""A busy Python thread beside the inlet costs a Remote request up to this; the default 5 ms was measured as 10 ms."""
READY_LIMIT_S = 20.0
STEWARD_LIMIT_S = 5.0
"""After so long the other actors start without the steward."""
_STATS_S = 1.0
_TICK_S = 1.0


class Ready(msgspec.Struct, frozen=True):
    """What ``labwire run --json`` prints when the rig is ready."""

    remote: str
    pub_port: int
    sub_port: int
    push_port: int
    rpc_port: int
    pid: int
    actors: list[str]
    name: str
    log_file: str
    exposed: bool
    """True if the rig listens beyond loopback."""
    failed: list[str]
    """Actors that did not come up; their reason is in ``labwire actors list``."""
    web: str = ""
    """Address of the dashboard; empty if there is none."""
    web_note: str = ""
    """What a person should know of it: why there is none, or why it is not at its usual port."""


class Hub:
    """A running rig.

    Args:
        config: The rig.
        folder: Folder of the rig file; classes of its actors are looked for there too.
        on_ready: Called once, when all actors run (or have failed to).
        say: Takes a line for the person at the terminal.
        console_fd: Descriptor that the steward prints to; None keeps it quiet.
        read: Reads the rig file again, for ``rig.reload``.

    Raises:
        PortTakenError: A port is in use; nothing is left running.
    """

    def __init__(
        self,
        config: RigConfig,
        *,
        folder: str,
        on_ready: Callable[[Ready], None],
        say: Callable[[str], None],
        console_fd: int | None = None,
        read: ReadRig | None = None,
    ) -> None:
        self._config, self._folder = config, folder
        # A copy: the steward's own standard error is a pipe that leads back here.
        self._console_fd = None if console_fd is None else os.dup(console_fd)
        self._on_ready, self._say, self._read = on_ready, say, read
        self._stop_asked = 0
        self._ready = self._others_started = False
        self._remote_names: set[str] = set()
        try:
            self._ports = HubPorts(
                config,
                PortEvents(
                    stranger_refused=self._stranger_refused,
                    peer_cut=self._peer_cut,
                    warning=self._inlet_warns,
                    fault=self._thread_fault,
                    actors_changed=lambda: self._post(self._actors_changed),
                ),
                self._is_supervised,
            )
        except LabwireError:
            self._close_console()
            raise
        self._wiring = self._ports.wiring

    def run(self) -> int:
        """Run until told to stop; return the exit status, which is not 0 if an actor had to be ended by force."""
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._ports.start()
        self._make_actor()
        logging.getLogger().setLevel(self._config.log.level)
        with told_to_end(self._told):
            try:
                self._runner.start()
                self._ports.watch_peers(self._runner.loop)
                self._start_actors()
                self._runner.loop.run()
            finally:
                self._actor.live.close()
                self.supervisor.end_all()
                self._runner.close()
                self._ports.close()
                self._close_console()
        return self._status_at_the_end()

    # --- start

    def _make_actor(self) -> None:
        assert self._ports.clock.fd is not None
        wiring = msgspec.structs.replace(self._wiring, rpc_url=RPC_INPROC)
        spec = ActorSpec(
            "hub",
            "labwire.rig.hub_actor:HubActor",
            wiring,
            clock_fd=os.dup(self._ports.clock.fd),
            rig_name=self._config.name,
            rig_config=dump(self._config),
            log_level=self._config.log.level,
        )
        self._runner = ActorRunner(HubActor, spec, self._ports.context)
        actor = self._runner.actor
        assert isinstance(actor, HubActor)
        self._actor = actor
        self.supervisor = Supervisor(
            self._runner.loop,
            on_died=self._child_died,
            on_stopped=self._child_stopped,
            on_stderr=lambda name, line: self._actor.log.warning("%s wrote: %s", name, line),
        )
        actor.supervisor = self.supervisor
        actor.live = LiveRig(
            self._config,
            folder=Path(self._folder),
            supervisor=self.supervisor,
            specs_of=self._specs_of,
            instruments=lambda: actor.service_of(InstrumentSet, target=INSTRUMENTS),
            read=self._read,
            on_change=lambda changes: actor.notify("rig.changed", **msgspec.structs.asdict(changes)),
            post=self._runner.loop.post,
        )
        actor.others = lambda: {hello.actor: tuple(hello.reacts_to) for hello in self._ports.broker.hellos()}
        actor.remote_actors = self._remote_actors
        actor.hub_status = self._status

    def _start_actors(self) -> None:
        for spec in self._specs_of(self._config):
            self.supervisor.add(spec).state = State.STARTING  # as soon as it is its turn
        self._ports.broker.starting = self.supervisor.starting
        # The steward first: it keeps the log, and what goes wrong while the others start must be in there.
        self.supervisor.start(self.supervisor.find(STEWARD))
        self._runner.loop.call_later(STEWARD_LIMIT_S, self._start_others)
        self._runner.loop.call_later(READY_LIMIT_S, self._announce)
        self._runner.loop.every(_STATS_S, self._publish_counters)

    def _specs_of(self, config: RigConfig) -> list[ActorSpec]:
        clock_fd = self._ports.clock.fd
        assert clock_fd is not None
        return actor_specs(
            config,
            self._wiring,
            clock_fd,
            folder=self._folder,
            console_fd=self._console_fd,
            web=self._ports.web,
        )

    def _start_others(self) -> None:
        if self._others_started or self._stop_asked:
            return
        self._others_started = True
        for child in self.supervisor.children.values():
            # Somebody may have asked meanwhile to stop it, or to start it at once.
            if child.state is State.STARTING and not child.alive:
                self.supervisor.start(child)

    def _actors_changed(self) -> None:
        self._tell_of_remote_actors()
        for hello in self._ports.broker.hellos():
            child = self.supervisor.children.get(hello.actor)
            if child and child.state is State.STARTING and child.process and child.process.pid == hello.pid:
                self.supervisor.is_ready(hello.actor, hello.services)
                self._actor.notify("actor.started", actor=hello.actor)
                if child.name == STEWARD and child.restarts:
                    self._actor.log.warning(
                        "the steward is back (%s): the log lacks what came meanwhile", child.last_error
                    )
        if self.supervisor.find(STEWARD).state is not State.STARTING:
            self._start_others()
        if self._others_started and all(
            child.state is not State.STARTING for child in self.supervisor.children.values()
        ):
            self._announce()

    def _tell_of_remote_actors(self) -> None:
        broker, ours = self._ports.broker, {"hub", *self.supervisor.children}
        while broker.gone:
            hello, why = broker.gone.popleft()
            if hello.actor in ours or hello.actor not in self._remote_names:
                continue
            self._remote_names.discard(hello.actor)
            if why == ENDED:
                self._actor.notify("actor.stopped", actor=hello.actor)
            else:
                self._actor.log.error("actor %s on %s %s", hello.actor, hello.host or "another computer", why)
                self._actor.notify("actor.died", actor=hello.actor, reason=why, last_error="", restarts=0)
        for name in {hello.actor for hello in broker.hellos()} - ours - self._remote_names:
            self._remote_names.add(name)
            self._actor.notify("actor.started", actor=name)

    def _announce(self) -> None:
        if self._ready or self._stop_asked:
            return
        self._ready = True
        children = self.supervisor.children.values()
        status = self._status([], 0.0)
        ready = Ready(
            status.remote,
            status.pub_port,
            status.sub_port,
            status.push_port,
            status.rpc_port,
            status.pid,
            ["hub", *(child.name for child in children if child.state is State.RUNNING)],
            status.name,
            status.log_file,
            self._config.network.exposed,
            failed := [child.name for child in children if child.state is not State.RUNNING],
            "" if WEB in failed else self._ports.web.url,
            self._ports.web.note,
        )
        self._actor.notify("rig.ready", actors=ready.actors, failed=ready.failed)
        self._on_ready(ready)

    # --- what happens meanwhile

    def _child_died(self, child: Child, why: str) -> None:
        self._ports.actor_died(child.name)
        self._actor.log.error("actor %s %s", child.name, why)
        if child.name == STEWARD:  # it is the one that would print it
            said = f" ({child.last_error})" if child.last_error not in why else ""
            self._say(f"actor {child.name} {why}{said}")
        self._actor.notify(
            "actor.died", actor=child.name, reason=why, last_error=child.last_error, restarts=child.restarts
        )
        if not self._stop_asked:
            self._actors_changed()

    def _child_stopped(self, child: Child) -> None:
        self._actor.notify("actor.stopped", actor=child.name)
        if not self._stop_asked:
            self._actors_changed()

    def _is_supervised(self, hello: Hello) -> bool:
        if hello.actor == "hub":
            return hello.pid == os.getpid()
        child = self.supervisor.children.get(hello.actor)
        return child is not None and child.process is not None and child.process.pid == hello.pid

    def _publish_counters(self) -> None:
        status = self._status([], 0.0)
        self._actor.emit("bus.hub", msgspec.structs.asdict(status), numbered=True)
        self._look_for_silence()

    def _look_for_silence(self) -> None:
        silent = self._ports.broker.silent(time.monotonic())
        for child in self.supervisor.children.values():
            if not self.supervisor.heard(child, silent=child.name in silent):
                continue
            if child.state is State.SILENT:
                text = "actor %s has been silent for %g s: its loop is busy, or its process (%s) stands still"
                self._actor.log.error(text, child.name, SILENCE_S, child.process and child.process.pid)
                self._actor.notify("actor.silent", actor=child.name, silent_s=SILENCE_S)
            else:
                self._actor.log.warning("actor %s answers again", child.name)
                self._actor.notify("actor.answers", actor=child.name)

    def _status(self, actors: list[ActorStatus], uptime_s: float) -> RigStatus:
        return self._ports.status(actors, uptime_s, self._runner.malformed)

    def _remote_actors(self) -> list[ActorStatus]:
        ours = {"hub", *self.supervisor.children}
        return [
            ActorStatus(hello.actor, hello.actor_class, "remote", hello.pid, 0, age_s, hello.services, host=hello.host)
            for hello, age_s in self._ports.broker.ages(time.monotonic())
            if hello.actor not in ours
        ]

    # --- stop

    def stop(self) -> None:
        """End the rig; on the loop's thread."""
        self._stop_asked += 1
        if self._stop_asked > 1:
            self._say("ending by force")
            self.supervisor.kill_all()
            self._runner.loop.stop()
            return
        self._stop_began_s = self._said_s = time.monotonic()
        self.supervisor.forced.clear()  # from now on they count
        self._actor.notify("rig.stopping")
        for child in self.supervisor.children.values():
            if child.name != STEWARD:
                self.supervisor.stop(child)
        self._runner.loop.every(0.02, self._await_children)

    def _stop_once(self) -> None:
        if not self._stop_asked:
            self.stop()

    def _await_children(self) -> None:
        alive = [child for child in self.supervisor.children.values() if child.alive]
        if not alive:
            self._runner.loop.stop()
            return
        if [child.name for child in alive] == [STEWARD]:
            self.supervisor.stop(alive[0])  # last, so that it logs how the others ended
        now_s = time.monotonic()
        if now_s - self._said_s > _TICK_S:
            self._said_s = now_s
            names = ", ".join(child.name for child in alive if child.name != STEWARD or len(alive) == 1)
            self._say(f"waiting for {names} to finish ({now_s - self._stop_began_s:.0f} s; Ctrl-C again to force)")

    def _status_at_the_end(self) -> int:
        if not self.supervisor.forced:
            return 0
        self._say(f"ended by force: {', '.join(self.supervisor.forced)}; what they had open may not be whole")
        return codes_of(DeadlineError).exit_code

    def _close_console(self) -> None:
        if self._console_fd is not None:
            os.close(self._console_fd)

    # --- signals and other threads

    def _told(self, number: signal.Signals) -> None:
        # A terminal that closes may say so twice; only a person's second Ctrl-C means "by force".
        self._post(self._stop_once if number == HANGUP else self.stop)

    def _post(self, callback: Callable[[], None]) -> None:
        if runner := getattr(self, "_runner", None):
            runner.loop.post(callback)

    def _stranger_refused(self, address: str) -> None:
        text = "refused a connection from %s: not in [network] allow"
        self._post(lambda: self._actor.log.warning(text, address))

    def _peer_cut(self, address: str, option: str) -> None:
        self._actor.log.warning(
            "cut %s at the port of %s: it sent what is not ZeroMQ, or a part of more than %d bytes",
            address,
            option,
            self._config.bus.max_message_bytes,
        )

    def _inlet_warns(self, text: str) -> None:
        self._post(lambda: self._actor.log.warning("%s", text))

    def _thread_fault(self, error: BaseException) -> None:
        self._post(lambda: self._actor.log.error("fault in the hub: %r", error, exc_info=error))


__all__ = ["Hub", "Ready"]
