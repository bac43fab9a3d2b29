"""Does a rig stay flat? ``python -m benchmarks.days [--minutes 10]``: memory, descriptors, threads, and their growth.

A rig with simulated eyes, an instrument, a clock shared with others and a recorder records session after session, while
clients come and go and an actor is killed now and then. After a warm-up its processes are looked at once a second, and
a line through what was seen tells how much each would grow in an hour.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.common import conditions, table
from labwire.client import Rig
from labwire.errors import LabwireError
from labwire.testing import RunningRig, running_rig

RIG = """
name = "days"

[web]
enabled = false

[sources.eyes]
kind = "simulated_eyes"

[sources.victim]
kind = "simulated_eyes"
rate_hz = 10.0

[instruments.{dmm}]
driver = "labwire.instruments.drivers.simulated:Multimeter"
queue = "socket"

[recorder]
disk_warn_bytes = 0
disk_stop_bytes = 0
"""
VICTIM = "victim"
SETTLED_S = 360.0
"""The steward keeps the statistics of five minutes: before, it has to grow."""
_PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024
_LEAST = 5


class Sample(NamedTuple):
    """One process at one moment."""

    at_s: float
    memory_kb: int
    """Resident."""
    descriptors: int
    threads: int


Seen = dict[str, list[Sample]]
"""By actor: only while it is the same process."""


class Growth(NamedTuple):
    """How a process changes with time."""

    actor: str
    memory_mb: float
    memory_mb_per_h: float
    descriptors: int
    descriptors_more: int
    """At the end minus at the beginning, of the medians of a fifth of the samples each."""
    threads: int
    threads_more: int


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.days", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long, after a warm-up of 6 minutes at most")
    asked = parser.parse_args(arguments)
    growths, done = measure(asked.minutes * 60, min(SETTLED_S, asked.minutes * 60))
    print("\n".join(conditions(["pyzmq", "msgspec"], minutes=asked.minutes, **done)))
    rows = [
        [
            growth.actor,
            f"{growth.memory_mb:.1f}",
            f"{growth.memory_mb_per_h:+.1f}",
            f"{growth.descriptors} ({growth.descriptors_more:+d})",
            f"{growth.threads} ({growth.threads_more:+d})",
        ]
        for growth in growths
    ]
    print(table("A rig over time", ["process", "MB", "MB per hour", "descriptors", "threads"], rows))
    return 0


def measure(duration_s: float, warm_up_s: float) -> tuple[list[Growth], dict[str, int]]:
    """Run the rig and return the growth of each process, and what was done meanwhile."""
    dmm = f"DAYS{os.getpid()}"
    with (
        tempfile.TemporaryDirectory(prefix="labwire-days-") as folder,
        running_rig(Path(folder), RIG.format(dmm=dmm)) as running,
        running.connect() as rig,
    ):
        done = {"sessions": 0, "kills": 0, "commands": 0, "clients": 0}
        _work(running, rig, dmm, done, warm_up_s, {})
        seen: Seen = {}
        _work(running, rig, dmm, done, duration_s, seen)
        return [growth_of(actor, samples) for actor, samples in seen.items() if len(samples) >= _LEAST], done


def _work(running: RunningRig, rig: Rig, dmm: str, done: dict[str, int], duration_s: float, seen: Seen) -> None:
    end_s, look_s, turn = time.monotonic() + duration_s, 0.0, 0
    pids: dict[str, int] = {}
    while time.monotonic() < end_s:
        turn += 1
        rig.record.start("days")
        with running.connect() as client, client.subscribe("pupil.") as eyes:
            done["clients"] += 1
            for _ in range(50):
                eyes.recv(20)
        with contextlib.suppress(LabwireError):  # its worker is being started
            for _ in range(20):
                rig.instrument(dmm).measure_voltage(range=10.0)
                done["commands"] += 1
        if turn % 5 == 0:
            _kill(rig)
            done["kills"] += 1
        rig.record.stop()
        done["sessions"] += 1
        if time.monotonic() >= look_s:
            look_s = time.monotonic() + 1.0
            _look(running, rig, pids, seen)


def _kill(rig: Rig) -> None:
    for actor in rig.actors.list():
        if actor.name == VICTIM and actor.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(actor.pid, signal.SIGKILL)


def _look(running: RunningRig, rig: Rig, pids: dict[str, int], seen: Seen) -> None:
    now = {actor.name: actor.pid for actor in rig.actors.list() if actor.pid and actor.name != VICTIM}
    now |= {one.name: one.pid for one in rig.instruments.list() if one.pid}
    for name, pid in {"hub": running.ready.pid, **now}.items():
        if pids.get(name) != pid:  # another process: begin anew
            pids[name], seen[name] = pid, []
        with contextlib.suppress(OSError):
            seen[name].append(look_at(pid))


def look_at(pid: int) -> Sample:
    """Return how a process is now."""
    process = Path("/proc") / str(pid)
    resident = int((process / "statm").read_text().split()[1]) * _PAGE_KB
    descriptors, threads = len(os.listdir(process / "fd")), len(os.listdir(process / "task"))
    return Sample(time.monotonic(), resident, descriptors, threads)


def growth_of(actor: str, samples: Sequence[Sample]) -> Growth:
    """Return how a process grows: a straight line through its memory, and the ends of the rest."""
    fifth = max(1, len(samples) // 5)
    first, last = samples[:fifth], samples[-fifth:]

    def more(of: int) -> int:
        return round(_median([one[of] for one in last]) - _median([one[of] for one in first]))

    slope_kb_s = _slope([(one.at_s, one.memory_kb) for one in samples])
    end = samples[-1]
    return Growth(
        actor,
        end.memory_kb / 1024,
        slope_kb_s * 3600 / 1024,
        end.descriptors,
        more(2),
        end.threads,
        more(3),
    )


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the median of the slopes of all pairs: one burst does not tilt it (Theil and Sen)."""
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for i, a in enumerate(points) for b in points[i + 1 :] if b[0] > a[0]]
    return _median(slopes) if slopes else 0.0


if __name__ == "__main__":
    sys.exit(main())
