"""Operations on the rig as a whole."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, TypeAlias

import msgspec

from labwire.errors import ConfigError, NotFoundError, StateError
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
    parts_in: int = 0
    """Message parts that publishers handed to the bus since start."""
    parts_out: int = 0
    """Message parts that the bus took out again, before they fan out to subscribers."""
    remote_requests: int = 0
    remote_refused: int = 0
    """Requests to the Remote that were not understood."""
    unconfirmed: int = 0
    """Remote messages that the bus did not take in time."""
    undelivered: int = 0
    """Messages from any road into the hub that the bus did not take in time."""
    delayed_pending: int = 0
    """Delayed notifications that are waiting."""
    malformed: int = 0
    """Messages to the hub itself that could not be read."""
    peers_cut: int = 0
    """Connections that were cut because a peer sent what is not ZeroMQ, or too much at once."""
    strangers_refused: int = 0
    """Connections from addresses outside ``[network] allow``."""


class RigChanges(msgspec.Struct, frozen=True):
    """What has changed in a rig that runs. Parts are named as their tables in the rig file: ``cameras.top``."""

    added: list[str]
    """They are being started."""
    removed: list[str]
    """They are being stopped."""
    changed: list[str]
    """Started again with other options; instruments without a pause for the others."""
    waiting: list[str]
    """Tables that count only when the whole rig is started again."""


class RigOperations(Service):
    """See the rig, and change it while it runs."""

    service = "rig"

    @operation(changes=False)
    @abstractmethod
    def status(self) -> RigStatus:
        """Tell how the rig is: addresses, actors, counters."""

    @operation(changes=False)
    @abstractmethod
    def config(self) -> ConfigTree:
        """Show the configuration that the rig runs with, defaults included."""

    @operation(errors=(ConfigError, StateError))
    @abstractmethod
    def add(self, part: str, options: ConfigTree = {}) -> RigChanges:  # noqa: B006 - never changed
        """Add a part to the rig that runs, a camera or an instrument for example; the rig file stays as it is.

        Args:
            part: Its table in a rig file: ``cameras.top``, ``instruments.DMM2``, ``recorder``.
            options: The keys of that table.
        """

    @operation(errors=(ConfigError, NotFoundError, StateError))
    @abstractmethod
    def remove(self, name: str) -> RigChanges:
        """Take a part out of the rig that runs; it finishes what it does. The rig file stays as it is.

        Args:
            name: Of the part: ``top`` or ``cameras.top``, ``recorder``.
        """

    @operation(errors=(ConfigError, StateError))
    @abstractmethod
    def reload(self) -> RigChanges:
        """Read the rig file again, and make the rig what it says; parts that are as they were go on untouched.

        A file with a mistake changes nothing: the classes and options of new and changed actors are looked at first.
        """
