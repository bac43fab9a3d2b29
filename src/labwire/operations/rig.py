"""Operations on the rig as a whole."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, TypeAlias

import msgspec

from labwire.operations.actors import ActorStatus
from labwire.operations.service import Service, operation

ConfigTree: TypeAlias = dict[str, Any]


class RigStatus(msgspec.Struct, frozen=True):
    """The state of a rig at a glance."""

    name: str
    version: str
    pid: int
    uptime_s: float
    rig_time_s: float
    remote: str
    """Address of the Remote: ``tcp://127.0.0.1:50020``."""
    pub_port: int
    sub_port: int
    push_port: int
    rpc_port: int
    log_file: str
    actors: list[ActorStatus]
    messages_in: int = 0
    """Messages that publishers handed to the bus since start."""
    messages_out: int = 0
    """Messages that the bus handed to subscribers since start."""
    slow_subscribers_cut: int = 0


class RigOperations(Service):
    """See the rig."""

    service = "rig"

    @operation(changes=False)
    @abstractmethod
    def status(self) -> RigStatus:
        """Tell how the rig is: addresses, actors, counters."""

    @operation(changes=False)
    @abstractmethod
    def config(self) -> ConfigTree:
        """Show the configuration that the rig runs with, defaults included."""
