"""One clock with other computers: Pupil Time Sync v1, as clock master or as follower."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import msgspec

from labwire.bus.access import LOOPBACK, parse_networks
from labwire.bus.actor import Actor, ActorContext, Notification
from labwire.clock_offset import ClockOffset
from labwire.errors import LabwireError, ProtocolError
from labwire.strict import Strict
from labwire.time_sync.ask_master import ask_master
from labwire.time_sync.config import TimeSyncConfig
from labwire.time_sync.steering import Steering
from labwire.time_sync.time_service import TimeService
from labwire.time_sync.zre_node import NodeEvent, ZreNode
from labwire.wire.time_sync import (
    GROUP_SUFFIX,
    Announcement,
    Election,
    decode_announcement,
    encode_announcement,
    rank_of,
)

_ASK_EVERY_S = 10.0
_RETRY_S = 1.0
_STEP_S = 0.01  # at a rate of 5 ms/s a clock that is slewed back goes back by 50 µs at most


class TimeSyncOptions(Strict):
    """Options of the time sync actor; the rig fills them in."""

    time_sync: TimeSyncConfig = TimeSyncConfig()
    listen: str = "127.0.0.1"
    allow: list[str] = []


class TimeSync(Actor):
    """Shares one clock with Pupil Core and other rigs, by Pupil Time Sync v1."""

    Config = TimeSyncOptions
    options: TimeSyncOptions
    hears = ("recording.started", "recording.stopped", "recording.failed")

    def __init__(self, context: ActorContext) -> None:
        super().__init__(context)
        sync = self.options.time_sync
        self._group = sync.prefix + GROUP_SUFFIX
        self._networks = parse_networks([*LOOPBACK, self.options.listen, *self.options.allow])
        self._election = Election[bytes]()
        self._addresses: dict[bytes, tuple[str, str]] = {}
        self._steering = Steering()
        self._has_been_master = self._has_been_synced = self._recording = self._told_of_waiting = False
        self._tie_breaker = random.random()
        self._master: bytes | None = None
        self._role = ""
        self._end, self._ask_now = threading.Event(), threading.Event()
        self._asker = threading.Thread(target=self._ask_for_ever, name="clock of the master", daemon=True)
        self._target: tuple[str, str, int] | None = None
        """Name, address and port of the master, read by the asker's thread."""
        self._slew_began: float | None = None
        """Offset when slewing began; None while nothing is slewed."""
        self._stepped_s = 0.0
        self._service: TimeService
        self._node: ZreNode

    def on_start(self) -> None:
        """Begin to serve the time, and look for others."""
        sync, listen = self.options.time_sync, self.options.listen
        self._service = TimeService(self.clock.now, listen, self._allows)
        try:
            self._node = ZreNode(
                sync.node_name or self.context.rig_name or self.name,
                [self._group],
                self._on_event,
                listen=listen,
                allows=self._allows,
                beacon_port=sync.beacon_port,
            )
        except LabwireError:
            self._service.close()
            raise
        self._asker.start()
        self.call_later(_ASK_EVERY_S / 5, self._elect)  # the first beacons have come by then

    def on_stop(self) -> None:
        """Leave the others."""
        if self._asker.is_alive():
            self._end.set()
            self._ask_now.set()
            self._asker.join()
        for part in (getattr(self, "_node", None), getattr(self, "_service", None)):
            if part:
                part.close()

    def on_notify(self, notification: Notification) -> None:
        """Share one clock with other computers, by Pupil Time Sync v1.

        Reacts to notifications:
            ``recording.started``: Rig time does not jump from now on; it is slewed at most.
            ``recording.stopped``: It may jump again.

        Emits notifications:
            ``time_sync.role``: This rig is the clock master, or follows another one.
            ``time_sync.waiting``: Rig time is more than 10 ms off, and waits for the end of the recording.
            ``clock.changed``: Rig time was set to that of the master.

        Emits data:
            ``clock.offset``: Every 10 s while it follows: how far the master's clock is from the monotonic one here.
        """
        subject = notification["subject"]
        if "source" in notification:
            return  # another rig's recording, which this one has joined
        if subject == "recording.started":
            self._recording = True
        elif subject in {"recording.stopped", "recording.failed"}:
            self._recording = self._told_of_waiting = False
            self._ask_now.set()

    # --- who is master

    def _on_event(self, event: NodeEvent) -> None:
        """On the node's thread."""
        self.post(lambda: self._heard(event))

    def _heard(self, event: NodeEvent) -> None:
        if event.what == "gone":
            self._election.leave(event.uuid)
        elif event.group != self._group:
            return
        elif event.what == "joined":
            self._announce()
        elif event.what == "left":
            self._election.leave(event.uuid)
        else:
            try:
                self._election.announce(event.uuid, decode_announcement(event.content))
            except ProtocolError as error:
                self.log.warning("%s at %s: %s", event.name, event.address, error)
                return
            self._addresses[event.uuid] = event.name, event.address
        if self._role:
            self._elect()

    def _elect(self) -> None:
        leader = self._election.leader(None if self.options.time_sync.role == "follower" else self._rank())
        if leader:
            (master, announced), role = leader, "follower"
            name, address = self._addresses[master]
            self._target = name, address, announced.port
        else:
            name, address, master = "", "", None
            role = "master" if self.options.time_sync.role == "auto" else "alone"
            self._target = None
        if (role, master) == (self._role, self._master):
            return
        self._role, self._master = role, master
        self._has_been_master |= role == "master"
        self.log.info("time sync: %s", {"master": "this rig is the clock master"}.get(role, f"{role} {name}".strip()))
        self.notify("time_sync.role", role=role, master=name, address=address, group=self._group)
        self._announce()
        self._ask_now.set()

    def _announce(self) -> None:
        if self.options.time_sync.role == "auto":
            self._node.shout(self._group, encode_announcement(Announcement(self._rank(), self._service.port)))

    def _rank(self) -> float:
        return rank_of(
            bias=self.options.time_sync.bias,
            has_been_master=self._has_been_master,
            has_been_synced=self._has_been_synced,
            tie_breaker=self._tie_breaker,
        )

    def _allows(self, address: str) -> bool:
        try:
            (ip,) = parse_networks([address])
        except ValueError:
            return False
        return any(ip.network_address in network for network in self._networks)

    # --- the master's clock

    def _ask_for_ever(self) -> None:
        """On a thread of its own."""
        pause_s = _ASK_EVERY_S
        while not self._end.is_set():
            if self._ask_now.wait(pause_s):
                self._ask_now.clear()
            target, pause_s = self._target, _ASK_EVERY_S + random.random()
            if target is None or self._end.is_set():
                continue
            name, host, port = target
            try:
                offset = ask_master(host, port)
            except LabwireError as error:
                self.log.warning("time sync: %s", error)
                pause_s = _RETRY_S
                continue
            self.post(lambda found=offset, name=name, host=host: self._measured(found, name, host))

    def _measured(self, offset: ClockOffset, name: str, host: str) -> None:
        if self._role != "follower":
            return
        measured: dict[str, Any] = {**msgspec.structs.asdict(offset), "source": name, "host": host}
        self.emit("clock.offset", {**measured, "timestamp": self.clock.now()}, numbered=True)
        before_s = self.clock.offset_s
        after_s = self._steering.aim(offset, before_s, may_jump=not self._recording)
        if after_s != before_s:
            self._change(before_s, after_s)
        elif self._steering.slewing:
            begins, self._stepped_s = self._slew_began is None, time.monotonic()
            self._slew_began = before_s
            if begins:
                self.call_later(_STEP_S, self._slew)
        elif offset.error_of(before_s) and self._recording and not self._told_of_waiting:
            self._told_of_waiting = True
            behind_s = offset.offset_s - before_s
            self.log.warning("rig time is %.3f s behind %s, and waits for the end of the recording", behind_s, name)
            self.notify("time_sync.waiting", behind_s=behind_s, master=name)
        if not self._has_been_synced:
            self._has_been_synced = True
            self._announce()

    def _slew(self) -> None:
        if self._slew_began is None:
            return
        now_s = time.monotonic()
        self.clock.follow_offset(self._steering.step(self.clock.offset_s, now_s - self._stepped_s))
        self._stepped_s = now_s
        if not self._steering.slewing:
            before_s, self._slew_began = self._slew_began, None
            self._tell_change(before_s, self.clock.offset_s)
        else:
            self.call_later(_STEP_S, self._slew)

    def _change(self, before_s: float, after_s: float) -> None:
        self._slew_began = None
        self.clock.follow_offset(after_s)
        self._tell_change(before_s, after_s)

    def _tell_change(self, before_s: float, after_s: float) -> None:
        self.notify(
            "clock.changed",
            offset_before_s=before_s,
            offset_after_s=after_s,
            monotonic_s=time.monotonic(),
            timestamp=self.clock.now(),
        )
