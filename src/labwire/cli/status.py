"""``labwire status``: the rig at a glance."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from labwire.cli.connection import HERE, Connection
from labwire.cli.output import console, write_json
from labwire.cli.show import make_table, table_of
from labwire.cli.units import duration, label, size
from labwire.errors import LabwireError
from labwire.operations.bus import BusStats
from labwire.operations.rig import RigStatus

if TYPE_CHECKING:
    from labwire.client import Rig

_REFRESH_S = 1.0
_SHOWN_TOPICS = 12
# Counters that stay 0 while all is well, with what they say otherwise.
_TROUBLES = {
    "remote_refused": "requests to the Remote not understood",
    "unconfirmed": "messages to the Remote that the bus did not take in time",
    "malformed": "messages to the rig itself that could not be read",
    "strangers_refused": "connections from strangers refused",
}


def status(*, watch: Annotated[bool, Parameter(negative="")] = False, connection: Connection = HERE) -> None:
    """Tell how the rig is: addresses, actors, counters.

    Args:
        watch: Keep showing it, with rates by topic, until Ctrl-C; with --json one line each second.
        connection: The rig to talk to.
    """
    with connection.connect() as rig:
        if not watch:
            _show_once(rig, connection)
            return
        if connection.json:
            while True:
                write_json(rig.rig.status())
                time.sleep(_REFRESH_S)
        with Live(console=console(), auto_refresh=False) as live:
            while True:
                live.update(view(rig.rig.status(), stats_of(rig), recorder_of(rig)), refresh=True)
                time.sleep(_REFRESH_S)


def _show_once(rig: Rig, connection: Connection) -> None:
    state = rig.rig.status()
    if connection.json:
        write_json(state)
    else:
        console().print(view(state, stats_of(rig), recorder_of(rig)))


def stats_of(rig: Rig) -> BusStats | None:
    """Return the traffic on the bus; None if whoever counts it does not answer just now."""
    try:
        return rig.bus.stats()
    except LabwireError:
        return None


def recorder_of(rig: Rig) -> dict[Any, Any]:
    """Return the newest ``recorder.state``; empty if the rig has no recorder."""
    try:
        last = rig.bus.last("recorder.state")
    except LabwireError:
        return {}
    return last[0].payload if last else {}


def view(state: RigStatus, stats: BusStats | None, recorder: Mapping[Any, Any]) -> RenderableType:
    """Return what a person sees.

    Args:
        state: What the rig says of itself.
        stats: Traffic on the bus, if known.
        recorder: Newest ``recorder.state``.
    """
    parts: list[RenderableType] = [_head(state, recorder), Text(), table_of(state.actors)]
    if stats:
        parts += [Text(), *_traffic(stats)]
    for line in troubles(state, stats):
        parts.append(Text(line, style="yellow"))
    return Group(*parts)


def _head(state: RigStatus, recorder: Mapping[Any, Any]) -> Table:
    rows = {
        "rig": f'"{state.name}" runs since {duration(state.uptime_s)}, pid {state.pid}, labwire {state.version}',
        "Remote": state.remote,
        "ports": f"pub {state.pub_port}, sub {state.sub_port}, push {state.push_port}, rpc {state.rpc_port}",
        "rig time": f"{state.rig_time_s:.3f} s",
        "log": state.log_file,
    }
    if recorder:
        rows["recorder"] = recording(recorder)
    if state.delayed_pending:
        rows["delayed"] = f"{state.delayed_pending} notifications wait for their time"
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for heading, text in rows.items():
        table.add_row(Text(heading, style="bold"), Text(text))
    return table


def recording(recorder: Mapping[Any, Any]) -> str:
    """Return what the recorder does, and how long the disk lasts."""
    hours, free_bytes = _number(recorder.get("disk_hours")), _number(recorder.get("free_bytes"))
    disk = f"{size(free_bytes)} free" + (f" = {hours:,.0f} h" if hours else "")
    if not recorder.get("recording"):
        return f"not recording; {disk}"
    session = "/".join(PurePath(str(recorder.get("rec_path", ""))).parts[-2:])
    so_far = f"{duration(_number(recorder.get('duration_s')))}, {size(_number(recorder.get('written_bytes')))}"
    dropped = int(_number(recorder.get("dropped")))
    return f"{session}: {so_far}, {f'{dropped} DROPPED' if dropped else 'nothing dropped'}; {disk}"


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def _traffic(stats: BusStats) -> Iterator[RenderableType]:
    yield Text(f"bus: {stats.messages_hz:.0f} messages/s, {size(stats.bytes_hz)}/s, {len(stats.readers)} readers")
    busy = [row for row in stats.topics if row.messages_hz]
    if busy:
        table = make_table([label("topic"), "messages/s", "bytes/s"])
        for row in sorted(busy, key=lambda row: -row.messages_hz)[:_SHOWN_TOPICS]:
            table.add_row(*map(Text, (row.topic, f"{row.messages_hz:.1f}", size(row.bytes_hz))))
        yield table


def troubles(state: RigStatus, stats: BusStats | None) -> Iterator[str]:
    """Yield a line for each thing that should not be."""
    for name, text in _TROUBLES.items():
        if number := getattr(state, name):
            yield f"{number} {text}"
    if stats is None:
        yield "the steward does not answer: no statistics"
        return
    if stats.slow_subscribers_cut:
        yield f"{stats.slow_subscribers_cut} readers cut because they did not read"
    if missed := sum(gap.missed for gap in stats.gaps):
        yield f"{missed} messages missed by labwire readers"
    if stats.malformed:
        yield f"{stats.malformed} messages on the bus that nobody can read"
    if stats.noisy_notifiers:
        yield f"more than ten notifications a second from {', '.join(stats.noisy_notifiers)}"
