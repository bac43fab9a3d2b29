"""The benchmark of the bus: ``python -m benchmarks.bus [--quick] [--rounds N] [--out FOLDER]``.

One run measures labwire and its peers in turn and prints tables; with --out it also writes them and a plot there. All
of it stays on loopback and ends by itself, after about a minute per round.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from benchmarks.bus import report
from benchmarks.bus.confirmation import Confirmations, check_confirmations
from benchmarks.bus.latency import Counts, Peers, latency_cases
from benchmarks.bus.peers import Peer
from benchmarks.bus.processor import processor_cases
from benchmarks.bus.throughput import Workers, throughput_cases
from benchmarks.common import Results, conditions, interleave, plot


class Size(NamedTuple):
    """How much is measured in one round."""

    latencies: Counts
    messages: int
    cpu_s: float
    confirmations: int


FULL = Size(Counts(tight=2000, spaced=300), messages=60_000, cpu_s=3.0, confirmations=10_000)
QUICK = Size(Counts(tight=20, spaced=3), messages=1_000, cpu_s=0.1, confirmations=50)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bus", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny counts: shows that it works, not how fast")
    parser.add_argument("--rounds", type=int, default=0, help="default 7; 1 with --quick")
    parser.add_argument("--out", type=Path, help="folder for bus.txt and bus.png")
    asked = parser.parse_args(arguments)
    rounds = asked.rounds or (1 if asked.quick else 7)
    results, confirmations = measure(QUICK if asked.quick else FULL, rounds)
    lines = conditions(
        ["pyzmq", "msgspec", "msgpack"], payload="300 bytes", rounds=rounds, quick=asked.quick, transport="tcp loopback"
    )
    text = "\n".join([*lines, *report.tables(results, confirmations)])
    print(text)
    if asked.out:
        plot(asked.out / "bus.png", report.panels(), results, "\n".join(lines))
        (asked.out / "bus.txt").write_text(text + "\n")
        print(f"written to {asked.out}")
    return 0


def measure(size: Size, rounds: int) -> tuple[Results, Confirmations]:
    """Run all cases, round by round."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="labwire-benchmark-"))
        rig = stack.enter_context(Peer("rig", folder))
        roles = ("bus", "proxy", "reply", "reply-again", "reply-with-poller")
        bus, proxy, *replies = (stack.enter_context(Peer(role)) for role in roles)
        workers = Workers(Path(folder))
        stack.callback(workers.close)
        between = {"rig": rig, "bus": bus, "proxy": proxy}
        cases = [
            *stack.enter_context(latency_cases(Peers(rig, bus, proxy, *replies), size.latencies)),
            *throughput_cases(workers, between, size.messages),
            *processor_cases(workers, between, size.cpu_s),
        ]
        results = interleave(cases, rounds, say=lambda text: print(text, file=sys.stderr))
        return results, check_confirmations(rig, size.confirmations)


if __name__ == "__main__":
    sys.exit(main())
