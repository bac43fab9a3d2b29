"""``labwire queues``: the instruments' queues on this computer, looked at without taking a message out."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from labwire.cli.connection import HERE, Connection
from labwire.cli.output import console, remark, write_json, write_line
from labwire.errors import LabwireError, UsageError
from labwire.instruments.linux import check_linux

if TYPE_CHECKING:
    from rich.table import Table

    from labwire.instruments.queues.contract import QueueState

_LOOK_S = 0.3
_SHOWN_IDS = 5
_ALWAYS = 3  # columns that are shown though they are empty

Flag = Annotated[bool, Parameter(negative="")]


def queues(*, clean: Flag = False, yes: Flag = False, connection: Connection = HERE) -> None:
    """Show the instruments' queues on this computer, without taking a message out of them.

    Socket queues have no names: those of the rig that runs here are shown with its counters.

    Args:
        clean: Remove the queues that no living process uses, after a question.
        yes: Do not ask.
        connection: The rig whose socket queues are shown, too.
    """
    check_linux("`labwire queues`")
    from labwire.instruments.queues.inspection import queue_states, remove_stale

    if yes and not clean:
        raise UsageError("--yes answers the question of --clean: give both")
    states = queue_states()
    if not clean:
        show_queues([*states, *sockets_of(connection)], as_json=connection.json)
        return
    stale = [state for state in states if not state.used_by]
    if stale and not yes and not ask(stale):
        remark("nothing was removed")
        return
    removed = remove_stale([state.name for state in stale]) if stale else []
    if connection.json:
        write_json({"removed": removed})
    else:
        write_line(f"removed: {', '.join(removed)}" if removed else "nothing to remove: every queue is in use")


def ask(stale: Sequence[QueueState]) -> bool:
    """Ask whether to remove queues.

    Raises:
        UsageError: There is nobody to ask.
    """
    if not sys.stdin.isatty():
        raise UsageError("nobody can answer the question of --clean here: add --yes")
    remark("used by no living process:")
    for state in stale:
        remark(f"  {state.name} ({state.kind}, {state.waiting or 0} messages)")
    return input("remove them? [y/N] ").strip().casefold() in {"y", "yes"}


def sockets_of(connection: Connection) -> Iterator[QueueState]:
    """Yield the socket queues of a rig, as its server counts them; none if no rig runs there."""
    from labwire.instruments.queues.contract import DEPTH, QueueState

    try:
        socket.create_connection((connection.host, connection.port), _LOOK_S).close()
    except OSError:
        return
    with contextlib.suppress(LabwireError), connection.connect() as rig:
        for status in rig.instruments.list():
            if status.queue == "socket":
                pids = [] if status.pid is None else [status.pid]
                yield QueueState(f"socket of {status.name}", "socket", DEPTH, status.waiting, used_by=pids)


def show_queues(states: Sequence[QueueState], *, as_json: bool = False) -> None:
    """Print queues."""
    if as_json:
        write_json(states)
    elif states:
        console().print(_table(states))
    else:
        write_line("none")


def _table(states: Sequence[QueueState]) -> Table:
    from rich.text import Text

    from labwire.cli.show import make_table

    headings = ("name", "kind", "waiting", "messages", "blocked", "lock", "used by", "note")
    rows = [_row(state) for state in states]
    shown = [place for place in range(len(headings)) if place < _ALWAYS or any(row[place] for row in rows)]
    table = make_table(headings[place] for place in shown)
    table.columns[0].no_wrap = True  # a name that is cut tells nothing
    for row in rows:
        table.add_row(*(Text(row[place] or "-") for place in shown))
    return table


def _row(state: QueueState) -> tuple[str, ...]:
    waiting = "?" if state.waiting is None else str(state.waiting)
    ids = ", ".join(map(str, state.ids[:_SHOWN_IDS])) + (", …" if len(state.ids) > _SHOWN_IDS else "")
    types = ", ".join(f"{count} {kind}" for kind, count in state.types.items())
    blocked = ", ".join(
        f"{count} {who}"
        for count, who in ((state.blocked_senders, "sending"), (state.blocked_receivers, "receiving"))
        if count
    )
    lock = "" if state.lock_owner is None else f"thread {state.lock_owner}{'' if state.lock_owner_alive else ', dead'}"
    users = ", ".join(f"{pid}{' (this)' if pid == os.getpid() else ''}" for pid in state.used_by)
    messages = types + (f" (id {ids})" if ids else "")
    return state.name, state.kind, f"{waiting} of {state.depth}", messages, blocked, lock, users, state.note
