"""The base of every actor: it has a name, reacts to notifications, emits data and notifications, logs, explains itself.

Source: ipc-backbone, "Message Reactor and Emitter Documentation".
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar, cast

import zmq

from labwire.bus.loop import Loop, Timer
from labwire.bus.publisher import Publisher
from labwire.bus.rpc_client import RpcClient
from labwire.clock import RigClock
from labwire.operations.service import CallOperation, Operation, Service, client_of
from labwire.strict import Strict
from labwire.wire.bus_message import Part

S = TypeVar("S", bound=Service)
Notification = dict[Any, Any]


class NoConfig(Strict):
    """An actor without options."""


@dataclass
class ActorContext:
    """What an actor is given when it is made; `labwire.bus.actor_runner` fills it in."""

    name: str
    options: Strict
    clock: RigClock
    loop: Loop
    publisher: Publisher
    rpc: RpcClient
    zmq_context: zmq.Context[Any]
    """For sockets of the actor's own."""
    sub_url: str
    """Where subscribers connect."""
    rig_name: str = ""
    rig_config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The whole configuration of the rig, defaults included, without secrets."""
    incarnation: int = 0
    """How often the rig has started this actor before; above 0 it goes on where another one died."""
    rig_died_s: float | None = None
    """When the rig died, on the monotonic clock; None while it lives. `Actor.on_stop` may want to know: nobody hears
    what it says then, and what it asks of other actors fails at once."""


class Actor:
    """A part of a rig on the bus. Subclass it, name the class in the rig file, and it runs in its own process.

    All callbacks run on one thread, the actor's loop: you never need a lock. What blocks belongs on a thread of its own
    that hands over with `post`.

    >>> class Alarm(Actor):
    ...     def on_notify(self, notification):
    ...         '''Ring when a recording fails.
    ...
    ...         Reacts to notifications:
    ...             ``recording.failed``: Rings.
    ...         '''
    ...         if notification["subject"] == "recording.failed":
    ...             self.log.warning("recording failed: %s", notification.get("reason"))
    """

    Config: ClassVar[type[Strict]] = NoConfig
    """Options of this actor: a `Strict` struct, filled from its table in the rig file."""
    reacts_to: ClassVar[tuple[str, ...]] = ()
    """Subjects it acts on, as prefixes. Tells the rig who answers, for instance, ``calibration.should_start``."""

    offers: Sequence[Service] = ()
    """Services that other objects implement for it, besides those that its own class does; set before `on_start`."""

    hears: ClassVar[tuple[str, ...]] = ("",)
    """Subjects that reach `on_notify`, as prefixes; all by default. An actor that names the few it needs sleeps while
    others pass. ``meta.should_doc`` is heard by all."""

    def __init__(self, context: ActorContext) -> None:
        self.context = context
        self.name = context.name
        self.options = context.options
        self.clock = context.clock
        self.log = logging.getLogger(context.name)
        self.notifications_sent = 0

    # --- to be overridden

    def on_start(self) -> None:
        """Get ready; the rig waits for it. An error here stops the actor, and the rig says why."""

    def on_stop(self) -> None:
        """Finish what is open; called once, on the loop."""

    def on_notify(self, notification: Notification) -> None:
        """React to a notification; its ``subject`` says what it is about."""

    # --- to be used

    def emit(self, topic: str, payload: Mapping[str, Any], raw: Sequence[Part] = (), *, numbered: bool = False) -> None:
        """Emit data.

        Args:
            topic: Any topic; subscribers match it by prefix.
            payload: A map of what MessagePack can hold; ``topic`` is added to it.
            raw: Parts that follow the payload as they are.
            numbered: Add ``seq``, so that labwire readers can count what they missed.
        """
        body = {"topic": topic, **payload}
        if numbered:
            self.context.publisher.publish_numbered(topic, body, raw)
        else:
            self.context.publisher.publish(topic, body, raw)

    def notify(self, subject: str, /, **fields: Any) -> None:
        """Send a notification to all actors, reliably; ``delay`` (seconds) sends it later."""
        self.notifications_sent += 1
        self.context.publisher.notify({"subject": subject, **fields})

    def every(self, interval_s: float, callback: Callable[[], None]) -> Timer:
        """Call back every `interval_s` seconds, on the loop."""
        return self.context.loop.every(interval_s, callback)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call back once after `delay_s` seconds, on the loop."""
        return self.context.loop.call_later(delay_s, callback)

    def post(self, callback: Callable[[], None]) -> bool:
        """Hand over from another thread: the loop calls back soon. False if too much is waiting already."""
        return self.context.loop.post(callback)

    def leave(self) -> None:
        """End this actor; the rig takes it for stopped on purpose."""
        self.context.loop.post(self.context.loop.stop)

    def service_of(self, service: type[S], *, target: str = "", timeout_s: float | None = None) -> S:
        """Return a typed proxy of a service of another actor; its calls block this actor's loop until answered.

        Args:
            service: The abstract class of the service.
            target: Name of the actor to ask; empty means whoever offers the service.
            timeout_s: Overrides the usual 10 s.
        """

        def call(operation: Operation, request: Any) -> Any:
            return self.context.rpc.call(operation, request, target=target, timeout_s=timeout_s)

        return client_of(service, cast("CallOperation", call))

    @classmethod
    def documentation(cls) -> str:
        """Return what ``notify.meta.doc`` says: the docstring of ``on_notify``, or of the class."""
        own = cls.on_notify is not Actor.on_notify
        return (inspect.getdoc(cls.on_notify) if own else "") or inspect.getdoc(cls) or ""
