"""Runs one actor: joins the bus, says hello, serves its callbacks and operations, ends cleanly."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import socket
import time
import traceback
from types import ModuleType
from typing import Any

import msgspec
import zmq

from labwire.bus.actor import Actor, ActorContext, Notification
from labwire.bus.far_peer import notice_loss
from labwire.bus.fault_log import FaultLog
from labwire.bus.log_handler import BusLogHandler
from labwire.bus.loop import Loop
from labwire.bus.operation_server import OperationServer
from labwire.bus.publisher import Publisher
from labwire.bus.rpc_client import RpcClient
from labwire.clock import RigClock, monotonic_s
from labwire.clock_offset import measure_offset
from labwire.errors import ConfigError, LabwireError, PeerGoneError
from labwire.names import NOTIFY
from labwire.operations.service import offered_by
from labwire.signals import ASKED_TO_END, told_to_end
from labwire.strict import Strict, find_mistakes, is_strict, nearest
from labwire.wire.bus_message import decode_payload, encode_payload
from labwire.wire.rpc_message import Hello

READY_LIMIT_S = 10.0
_READY_STEP_MS = 20
_READY_TOPIC = "bus.ready"
_ALWAYS_HEARD = ("meta.should_doc", "clock.changed")
_FOLLOW_CLOCK_S = 10.0  # clocks of two computers drift apart by up to 0.1 ms a second
_ROUND_TRIPS = 10
_OFFSET_TOPIC = "clock.offset"
_HELLO_S = 1.0
_BATCH = 100
NOISY_HZ = 10.0
"""The spec: who needs more than ten notifications a second has data, not notifications."""


class Wiring(msgspec.Struct, frozen=True):
    """Addresses of a rig."""

    remote_url: str
    pub_url: str
    sub_url: str
    push_url: str
    rpc_url: str


class ActorSpec(msgspec.Struct, frozen=True):
    """Everything that a process needs to run one actor."""

    name: str
    actor_class: str
    """``module:Class``."""
    wiring: Wiring
    config: dict[str, Any] = {}
    clock_fd: int | None = None
    """Descriptor of the rig's clock; None on another computer, where the offset is measured."""
    rig_name: str = ""
    rig_config: dict[str, Any] = {}
    log_level: str = "INFO"
    incarnation: int = 0
    """How often the rig has started this actor before."""
    python_path: list[str] = []
    """Folders to look for the class in, besides the usual ones."""
    inherited_fds: list[int] = []
    """Descriptors of the rig that its options name, besides the clock's."""


def load_class(dotted: str) -> type[Actor]:
    """Import an actor's class from ``module:Class``.

    Raises:
        ConfigError: There is no such module or class, the module cannot be imported, or the class is not an actor.
    """
    module_name, colon, class_name = dotted.partition(":")
    if not colon:
        raise ConfigError(f"{dotted!r} does not name a class: write 'module:Class'")
    module = _import(module_name, dotted)
    loaded = getattr(module, class_name, None)
    if loaded is None:
        near = nearest(class_name, [one for one, value in vars(module).items() if isinstance(value, type)])
        text = f"{dotted!r}: module {module_name!r} has no class {class_name!r}"
        raise ConfigError(f"{text}; did you mean {near!r}?" if near else text)
    if not (isinstance(loaded, type) and issubclass(loaded, Actor)):
        raise ConfigError(f"{dotted!r} is not a labwire Actor: subclass labwire.Actor")
    if not is_strict(loaded.Config):
        raise ConfigError(f"{dotted!r}: the class Config of its options must be a subclass of labwire.strict.Strict")
    return loaded


def _import(module_name: str, dotted: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except LabwireError:
        raise
    except ModuleNotFoundError as error:
        missing = str(error.name)
        if f"{module_name}.".startswith(f"{missing}."):
            places = "beside the rig file, or in the folder that `labwire actor` is started in"
            raise ConfigError(
                f"{dotted!r}: there is no module {missing!r} on the Python path, and no {missing}.py {places}"
            ) from error
        raise ConfigError(f"{dotted!r}: its module needs {missing!r}, which is not installed") from error
    except OSError:
        raise  # a device or file that may be there at the next try
    except Exception as error:
        *_, last = ["", *(f"{at.filename}, line {at.lineno}: " for at in traceback.extract_tb(error.__traceback__))]
        where = "" if isinstance(error, SyntaxError) else last  # its text says where
        raise ConfigError(f"{dotted!r}: its module fails: {where}{type(error).__name__}: {error}") from error


def read_config(actor_class: type[Actor], config: dict[str, Any], name: str) -> Strict:
    """Check the options of an actor against its `Config`.

    Raises:
        ConfigError: An option is unknown or has the wrong type.
    """
    mistakes = list(find_mistakes(config, actor_class.Config))
    if not mistakes:
        return msgspec.convert(config, actor_class.Config)
    lines = [mistake.in_a_line() for mistake in mistakes]
    known = ", ".join(actor_class.Config.__struct_fields__) or "none"
    raise ConfigError(f"actor {name!r}: {'; '.join(lines)} (its options: {known})")


class ActorRunner:
    """One actor and its connections to the rig.

    Args:
        actor_class: Class to run.
        spec: Name, options and addresses.
        context: ZeroMQ context; by default one of its own.
    """

    def __init__(self, actor_class: type[Actor], spec: ActorSpec, context: zmq.Context[Any] | None = None) -> None:
        self._spec = spec
        self._class = actor_class
        config = read_config(actor_class, spec.config, spec.name)
        self._context = context or zmq.Context()
        self._owns_context = context is None
        self._log = logging.getLogger(spec.name)
        self.loop = Loop(self._fault)
        self._faults = FaultLog(self._log, spec.actor_class, self.loop)
        self._clock = RigClock.create() if spec.clock_fd is None else RigClock.join(spec.clock_fd)
        wiring = spec.wiring
        self._publisher = Publisher(wiring.pub_url, wiring.push_url, context=self._context, name=spec.name)
        self._rpc = RpcClient(wiring.rpc_url, context=self._context)
        self._sub = self._context.socket(zmq.SUB)
        self._sub.linger = 0
        self._sub.rcvhwm = 10_000
        notice_loss(self._sub, wiring.sub_url)
        for subject in (*actor_class.hears, *_ALWAYS_HEARD):
            self._sub.subscribe(NOTIFY + subject)
        self._sub.connect(wiring.sub_url)
        self._log_handler = BusLogHandler(self._publisher, logging.getLevelNamesMapping()[spec.log_level])
        self.actor = self._make_actor(actor_class, config)
        self._refusal: LabwireError | None = None
        self._server = OperationServer(
            self.actor, self.loop, self._hello(), wiring.rpc_url, self._context, self._refused
        )
        self.malformed = 0
        self._reported = 0

    def start(self) -> None:
        """Join the bus, run ``on_start``, say hello.

        Raises:
            PeerGoneError: The bus does not answer.
            LabwireError: What ``on_start`` raised.
        """
        self._await_bus()
        logging.getLogger().addHandler(self._log_handler)
        if self._spec.clock_fd is None:
            self._follow_clock()
            self.loop.every(_FOLLOW_CLOCK_S, self._follow_clock)
        self.loop.watch(self._sub, self._take_notifications)
        self.actor.on_start()
        self._server.start()
        self.loop.every(_HELLO_S, self._server.say_hello)
        self.loop.every(_HELLO_S, self._report)

    def run(self) -> None:
        """Start, serve until told to stop, and end.

        Raises:
            LabwireError: It could not start, or the rig does not take it.
        """
        try:
            self.start()
            self.loop.run()
        finally:
            self.close()
        if self._refusal:
            raise self._refusal

    def rig_died(self) -> None:
        """Hear, on the loop, that the rig's main process is gone and the bus with it: the actor ends.

        Nobody answers any more, so what it still asks of others fails at once.
        """
        self.actor.context.rig_died_s = monotonic_s()
        self._rpc.give_up("the rig has died")
        self.loop.stop()

    def close(self) -> None:
        """Run ``on_stop`` and leave the bus; an error there is logged, and everything is closed all the same."""
        self.loop.unwatch(self._sub)
        try:
            self.actor.on_stop()
        except Exception as error:
            self._fault(error)
        self._server.close()
        self._faults.close()
        logging.getLogger().removeHandler(self._log_handler)
        self._leave_bus()

    def _leave_bus(self) -> None:
        self._rpc.close()
        self._publisher.close()
        self._sub.close()
        self.loop.close()
        self._clock.close()
        if self._owns_context:
            self._context.term()

    def _make_actor(self, actor_class: type[Actor], config: Strict) -> Actor:
        spec = self._spec
        try:
            return actor_class(
                ActorContext(
                    spec.name,
                    config,
                    self._clock,
                    self.loop,
                    self._publisher,
                    self._rpc,
                    self._context,
                    spec.wiring.sub_url,
                    spec.rig_name,
                    spec.rig_config,
                    spec.incarnation,
                )
            )
        except BaseException:
            self._leave_bus()
            raise

    def _refused(self, error: LabwireError) -> None:
        self._refusal = error
        self._log.error("%s", error)
        self.loop.stop()

    def _hello(self) -> Hello:
        cls = self._class
        return Hello(
            self._spec.name,
            self._spec.actor_class,
            [service.service for _, service in offered_by(self.actor)],
            list(cls.reacts_to),
            os.getpid(),
            socket.gethostname(),
        )

    def _await_bus(self) -> None:
        """Send on both roads until both come back: then the subscription holds and nothing goes into the void."""
        missing = {
            road: encode_payload({"actor": self._spec.name, "pid": os.getpid(), "road": road})
            for road in ("pub", "push")
        }
        send = {"pub": self._publisher.publish, "push": self._publisher.notify_raw}
        self._sub.subscribe(_READY_TOPIC)
        deadline = time.monotonic() + READY_LIMIT_S
        while missing:
            if time.monotonic() > deadline:
                raise PeerGoneError(f"{self._spec.name}: no bus answers at {self._spec.wiring.sub_url}")
            for road, body in missing.items():
                send[road](_READY_TOPIC, decode_payload(body))
            while self._sub.poll(_READY_STEP_MS):
                parts = self._sub.recv_multipart()
                if parts[0].startswith(NOTIFY.encode()):
                    self._take_notification(parts)
                missing = {road: body for road, body in missing.items() if parts[1:] != [body]}
        self._sub.unsubscribe(_READY_TOPIC)

    def _take_notifications(self) -> None:
        for _ in range(_BATCH):
            try:
                parts = self._sub.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._take_notification(parts)

    def _take_notification(self, parts: list[bytes]) -> None:
        try:
            notification = decode_payload(parts[1])
            subject = notification["subject"]
            if not isinstance(subject, str):
                raise TypeError
        except (LabwireError, LookupError, TypeError):
            self.malformed += 1  # somebody's mistake: counted here, and reported by the steward
            return
        try:
            if subject == "meta.should_doc":
                self._answer_should_doc()
            elif subject == "clock.changed" and self._spec.clock_fd is None:
                self._follow_clock()
            self.actor.on_notify(notification)
        except Exception as error:
            self._fault(error, notification)

    def _answer_should_doc(self) -> None:
        documents = {"subject": "meta.doc", "actor": self._spec.name, "doc": self._class.documentation()}
        self._publisher.notify({**documents, "class": self._class.__name__})

    def _report(self) -> None:
        """Tell the steward what only this process knows."""
        sent = self.actor.notifications_sent
        rate, self._reported = (sent - self._reported) / _HELLO_S, sent
        if rate > NOISY_HZ or self.malformed:
            report = {"actor": self._spec.name, "notifications_hz": rate, "malformed": self.malformed}
            self._publisher.publish("bus.report", report)

    def _follow_clock(self) -> None:
        """On another computer: measure the offset of rig time, follow it, and tell on the bus how well it is known."""
        remote = self._context.socket(zmq.REQ)
        remote.linger = 0
        remote.rcvtimeo = 2000
        remote.connect(self._spec.wiring.remote_url)

        def ask() -> float:
            remote.send(b"t")
            return float(remote.recv())

        try:
            offset = measure_offset(ask, _ROUND_TRIPS)
        except zmq.Again as error:
            raise PeerGoneError(f"the Remote at {self._spec.wiring.remote_url} does not answer") from error
        finally:
            remote.close()
        self._clock.follow_offset(offset.offset_s)
        measured = {**msgspec.structs.asdict(offset), "source": self._spec.name, "host": socket.gethostname()}
        self._publisher.publish_numbered(_OFFSET_TOPIC, {**measured, "timestamp": self._clock.now()})

    def _fault(self, error: BaseException, notification: Notification | None = None) -> None:
        self._faults.tell(error, notification)


def run_until_told(runner: ActorRunner, lifeline: int | None) -> None:
    """Run an actor until a signal asks it to end, its lifeline says ``stop`` or ends because the rig died.

    Args:
        runner: The actor.
        lifeline: Descriptor whose other end the rig holds; None for an actor that stands on its own.
    """

    def stop(_: signal.Signals) -> None:
        runner.loop.post(runner.loop.stop)

    if lifeline is not None:
        runner.loop.watch(lifeline, lambda: _read_lifeline(runner, lifeline))
    # In a rig, Ctrl-C is for the hub alone.
    with told_to_end(stop, ASKED_TO_END if lifeline is not None else (signal.SIGINT, *ASKED_TO_END)):
        runner.run()


def _read_lifeline(runner: ActorRunner, lifeline: int) -> None:
    with contextlib.suppress(BlockingIOError):
        data = os.read(lifeline, 4096)
        if not data:
            runner.loop.unwatch(lifeline)
            runner.rig_died()
        elif b"stop" in data:
            runner.loop.unwatch(lifeline)
            runner.loop.stop()


__all__ = ["ActorRunner", "ActorSpec", "Wiring", "load_class", "run_until_told"]
