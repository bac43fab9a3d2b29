"""Operations on the actors of a rig."""

from __future__ import annotations

from abc import abstractmethod
from typing import TypeAlias

import msgspec

from labwire.errors import NotFoundError, StateError
from labwire.operations.service import Service, operation


class ActorStatus(msgspec.Struct, frozen=True):
    """One actor of the rig."""

    name: str
    actor_class: str
    """Dotted name: ``labwire.actors.recorder:Recorder``."""
    state: str
    """``starting``, ``running``, ``silent`` (its process lives, but has not said so for 5 s), ``stopping``,
    ``stopped``, ``backing_off`` (died, starts again) or ``remote``."""
    pid: int | None = None
    restarts: int = 0
    uptime_s: float = 0.0
    """Since its process was started; of one on another computer, since it joined."""
    services: list[str] = []
    """Operations it offers, by service; of one that starts again, what it offered before."""
    last_error: str = ""
    host: str = ""
    """Computer that it runs on; empty: the rig's own."""


ActorList: TypeAlias = list[ActorStatus]


class Actors(Service):
    """See and steer the actors of the rig."""

    service = "actors"

    @operation(changes=False)
    @abstractmethod
    def list(self) -> ActorList:
        """List the actors of the rig, in the order of the rig file."""

    @operation(errors=(NotFoundError,))
    @abstractmethod
    def restart(self, name: str) -> ActorStatus:
        """Start an actor that is stopped; one that runs is stopped first.

        Args:
            name: Name of the actor in the rig.
        """

    @operation(errors=(NotFoundError, StateError))
    @abstractmethod
    def stop(self, name: str) -> ActorStatus:
        """Stop an actor; it stays stopped until it is restarted.

        Args:
            name: Name of the actor in the rig.
        """
