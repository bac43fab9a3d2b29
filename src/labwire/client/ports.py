"""The ports of a rig, as its Remote tells them."""

from __future__ import annotations

import msgspec

from labwire.client.remote import Remote
from labwire.errors import ProtocolError


class Ports(msgspec.Struct, frozen=True):
    """Ports of a rig."""

    pub: int
    sub: int
    push: int | None
    """Reliable sends; None at a real Pupil Core, which does not tell."""
    rpc: int | None
    """Operations; None at a real Pupil Core, which has none."""


def ask_ports(remote: Remote) -> Ports:
    """Ask a Remote for its ports.

    Raises:
        PeerGoneError: Nobody is there.
        DeadlineError: No answer in time.
        ProtocolError: It does not answer as a Remote does.
    """
    pub, sub, push = (_ask_port(remote, command) for command in ("PUB_PORT", "SUB_PORT", "PUSH_PORT"))
    if pub is None or sub is None:
        raise ProtocolError(f"{remote.url} does not tell its ports: is it a rig?", url=remote.url)
    # Only a labwire rig knows its push port. Pupil Core must not be asked for the other one: it takes everything that
    # begins with an R for the command to start a recording.
    return Ports(pub, sub, push, None if push is None else _ask_port(remote, "RPC_PORT"))


def _ask_port(remote: Remote, command: str) -> int | None:
    reply = remote.ask([command.encode()])
    return int(reply) if reply.isascii() and reply.isdecimal() and int(reply) < 1 << 16 else None
