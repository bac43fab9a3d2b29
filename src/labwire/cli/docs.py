"""``labwire docs``: what every actor reacts to and emits, in its own words.

Source: ipc-backbone, "Message Reactor and Emitter Documentation" and "Notification Overview".
"""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from labwire.cli.connection import HERE, Connection
from labwire.cli.output import write_json, write_line
from labwire.errors import DeadlineError, LabwireError, PeerGoneError
from labwire.wire.bus_message import BusMessage

if TYPE_CHECKING:
    from labwire.client import Rig

FIRST_S = 2.0
"""How long the first answer may take, and then the next as long as actors that are known to run have not answered."""
QUIET_S = 0.5
"""After the last answer, how long to wait for another of whom nobody knows."""
LIMIT_S = 10.0


def docs(*, connection: Connection = HERE) -> None:
    """Ask every actor for its documentation and print it, sorted by name."""
    with connection.connect() as rig, rig.subscribe("notify.meta.doc") as answers:
        rig.notify("meta.should_doc")
        found = gather(answers.recv, known=_running(rig))
    if not found:
        raise PeerGoneError(f"no actor at {connection.address} answered", hint="`labwire actors list` tells who runs")
    if connection.json:
        write_json([{key: payload.get(key) for key in ("actor", "class", "doc")} for payload in found])
    else:
        write_line("\n\n".join(documentation(payload) for payload in found))


def _running(rig: Rig) -> set[str]:
    try:
        return {actor.name for actor in rig.actors.list() if actor.state in {"running", "remote"}}
    except LabwireError:
        return set()  # Pupil Core has no such list


def gather(
    recv: Callable[[float], BusMessage],
    now_s: Callable[[], float] = time.monotonic,
    known: Collection[str] = (),
) -> list[dict[Any, Any]]:
    """Collect answers until none has come for a while; return them sorted by actor, one of each.

    Args:
        recv: Receives a message within so many seconds, or raises `DeadlineError`.
        now_s: The clock.
        known: Actors that should answer: as long as one has not, the while is longer.
    """
    found: dict[str, dict[Any, Any]] = {}
    end_s = now_s() + LIMIT_S
    while (left_s := end_s - now_s()) > 0:
        try:
            payload = recv(min(left_s, QUIET_S if found and found.keys() >= set(known) else FIRST_S)).payload
        except DeadlineError:
            break
        found[str(payload.get("actor", "?"))] = payload
    return [found[actor] for actor in sorted(found, key=str.casefold)]


def documentation(payload: dict[Any, Any]) -> str:
    """Return one answer as the spec's example prints it: the actor, a colon, its text indented below."""
    first, _, rest = str(payload.get("doc") or "").strip().partition("\n")
    below = textwrap.indent(textwrap.dedent(rest), "    ").rstrip()
    return f"{payload.get('actor', '?')}: {first}" + (f"\n{below}" if below else "")
