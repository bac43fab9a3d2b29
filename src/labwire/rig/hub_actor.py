"""The hub as an actor: operations on rig and actors, plugins mapped to actors, answers that nobody else gives."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from labwire.bus.actor import Actor, ActorContext, Notification
from labwire.operations.actors import ActorList, Actors, ActorStatus
from labwire.operations.rig import ConfigTree, RigChanges, RigOperations, RigStatus
from labwire.rig.assembly import RECORDER
from labwire.rig.live_rig import LiveRig
from labwire.rig.rig_config import dump
from labwire.rig.supervisor import Child, State, Supervisor

REMOTE_DOC = """Send simple string messages to control the rig.

Commands:
    ``R``, ``R name``: Start recording, with an automatic or the given session name.
    ``r``: Stop recording.
    ``C``, ``c``: Start, stop the calibration.
    ``T 1234.56``: Make timestamps count from 1234.56 from now on.
    ``t``: Rig time; a float as string.
    ``v``: Version.
    ``PUB_PORT``, ``SUB_PORT``, ``PUSH_PORT``, ``RPC_PORT``: Ports of the bus.

Emits notifications:
    ``recording.should_start``
    ``recording.should_stop``
    ``calibration.should_start``
    ``calibration.should_stop``
    ``clock.changed``: The rig time was set.
    Any other message received through the Remote port."""

_NOBODY = {
    # Who asks for this hears from somebody, even if nobody in the rig can do it.
    "recording.should_start": ("recording.failed", "this rig has no recorder: add [recorder] to the rig file"),
    "calibration.should_start": ("calibration.failed", "this rig has no actor that calibrates"),
}
_PART_OF_PUPIL_ALWAYS_ON = {"Frame_Publisher", "Annotation_Capture", "Pupil_Remote", "Recorder"}


class HubActor(Actor, Actors, RigOperations):
    """Runs the bus, the Remote and the actors of the rig."""

    hears = ("start_plugin", "stop_plugin", *_NOBODY)

    def __init__(self, context: ActorContext) -> None:
        super().__init__(context)
        self._born_s = time.monotonic()
        self.supervisor: Supervisor
        self.live: LiveRig
        self.others: Callable[[], Mapping[str, tuple[str, ...]]] = dict
        """Names of the actors that have said hello, with what they react to."""
        self.remote_actors: Callable[[], list[ActorStatus]] = list
        self.hub_status: Callable[[list[ActorStatus], float], RigStatus]

    def on_notify(self, notification: Notification) -> None:
        """Start and stop the actors of the rig; host the bus and the Remote.

        Reacts to notifications:
            ``start_plugin``: Starts the actor of that name or class, if the rig file has it.
            ``stop_plugin``: Stops it.
            ``recording.should_start``: Answers ``recording.failed`` if the rig has no recorder.
            ``calibration.should_start``: Answers ``calibration.failed`` if no actor calibrates.

        Emits notifications:
            ``rig.ready``: All actors run.
            ``rig.stopping``: The rig is going down.
            ``actor.started``: An actor is ready.
            ``actor.stopped``: An actor ended on purpose.
            ``actor.died``: An actor ended that nobody had asked to.
            ``actor.silent``: An actor's process lives, but it has not said so for a while.
            ``actor.answers``: It does again.
            ``clock.changed``: Rig time was set by ``T``.
            ``rig.changed``: Parts were added, removed or changed while the rig runs.
        """
        subject = notification["subject"]
        if subject == "meta.should_doc":
            self.notify("meta.doc", actor="Pupil_Remote", doc=REMOTE_DOC, **{"class": "Inlet"})
        elif subject in {"start_plugin", "stop_plugin"}:
            self._plugin(subject, notification.get("name"))
        elif subject in _NOBODY and not self._somebody_reacts_to(subject):
            answer, reason = _NOBODY[subject]
            if subject == "recording.should_start" and (recorder := self.supervisor.children.get(RECORDER)):
                reason = f"the recorder does not run: {recorder.last_error or f'it is {recorder.state.value}'}"
            self.log.warning("%s: %s", subject, reason)
            self.notify(answer, reason=reason, timestamp=self.clock.now())

    def _somebody_reacts_to(self, subject: str) -> bool:
        return any(subject.startswith(prefix) for prefixes in self.others().values() for prefix in prefixes)

    def _plugin(self, subject: str, name: object) -> None:
        if not isinstance(name, str):
            self.log.error("%s without a 'name': nothing done", subject)
            return
        child = self._find_plugin(name)
        if child is None:
            if name not in _PART_OF_PUPIL_ALWAYS_ON:  # labwire does always what these do
                known = ", ".join(self.supervisor.children)
                self.log.error("%s: no actor %r in this rig; there are: %s", subject, name[:80], known)
        elif subject == "stop_plugin":
            self.supervisor.stop(child)
        elif not child.alive or child.state is State.STOPPING:  # what is about to end begins again
            self.supervisor.restart(child)

    def _find_plugin(self, name: str) -> Child | None:
        for child in self.supervisor.children.values():
            if name in {child.name, child.spec.actor_class.rpartition(":")[2]}:
                return child
        return None

    # --- operations

    def list(self) -> ActorList:
        """See `Actors.list`."""
        return [*(child.status() for child in self.supervisor.children.values()), *self.remote_actors()]

    def restart(self, name: str) -> ActorStatus:
        """See `Actors.restart`."""
        child = self.supervisor.find(name)
        self.supervisor.restart(child)
        return child.status()

    def stop(self, name: str) -> ActorStatus:
        """See `Actors.stop`."""
        child = self.supervisor.find(name)
        self.supervisor.stop(child)
        return child.status()

    def status(self) -> RigStatus:
        """See `RigOperations.status`."""
        return self.hub_status(self.list(), time.monotonic() - self._born_s)

    def config(self) -> ConfigTree:
        """See `RigOperations.config`."""
        return dump(self.live.config)

    def add(self, part: str, options: ConfigTree = {}) -> RigChanges:  # noqa: B006 - never changed
        """See `RigOperations.add`."""
        return self.live.add(part, options)

    def remove(self, name: str) -> RigChanges:
        """See `RigOperations.remove`."""
        return self.live.remove(name)

    def reload(self) -> RigChanges:
        """See `RigOperations.reload`."""
        return self.live.reload()
