"""The benchmark of instruments: ``python -m benchmarks.instruments [--quick] [--rounds N] [--out FOLDER]``.

One run measures the instrument server, each kind of its queues, and the bare echoes that limit it, in turn, and prints
tables; with --out it also writes them and a plot there. It ends by itself, after about half a minute per round.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from benchmarks.common import Case, Results, conditions, interleave, plot
from benchmarks.instruments import limits, report
from benchmarks.instruments.calls import KINDS, Counts, cases, possible_kinds
from benchmarks.instruments.limits import BoostEcho, SocketEcho
from benchmarks.instruments.peers import installed_packages, peer_cases
from benchmarks.instruments.remote import remote_cases
from labwire.instruments.server import InstrumentServer

SWITCH_INTERVAL_S = 0.0005
"""As the instruments' process of a rig sets it."""


class Size(NamedTuple):
    """How much is measured in one round."""

    counts: Counts
    remote: int
    remote_s: float


FULL = Size(Counts(calls=4000, commands=20_000, kills=10, waveforms=50, instruments=10), remote=2000, remote_s=2.0)
QUICK = Size(Counts(calls=40, commands=200, kills=1, waveforms=2, instruments=2), remote=20, remote_s=0.2)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.instruments", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="tiny counts: shows that it works, not how fast")
    parser.add_argument("--rounds", type=int, default=0, help="default 7; 1 with --quick")
    parser.add_argument("--out", type=Path, help="folder for instruments.txt and instruments.png")
    asked = parser.parse_args(arguments)
    rounds = asked.rounds or (1 if asked.quick else 7)
    size = QUICK if asked.quick else FULL
    results, missing = measure(size, rounds)
    lines = conditions(
        ["msgspec", "numpy", "pyzmq", *installed_packages()],
        command="NOTHING with two params",
        many_instruments=size.counts.instruments,
        switch_interval=f"{SWITCH_INTERVAL_S * 1e3:g} ms",
        rounds=rounds,
        quick=asked.quick,
    )
    text = "\n".join([*lines, *report.tables(results, missing)])
    print(text)
    if asked.out:
        plot(asked.out / "instruments.png", report.panels(results, missing), results, "\n".join(lines))
        (asked.out / "instruments.txt").write_text(text + "\n")
        print(f"written to {asked.out}")
    return 0


def measure(size: Size, rounds: int) -> tuple[Results, dict[str, str]]:
    """Run all cases, round by round; return what could not be measured as well, and why."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="labwire-benchmark-"))
        server = stack.enter_context(InstrumentServer())
        kinds = possible_kinds(server)
        missing: dict[str, str] = {kind: why for kind, why in kinds.items() if why}
        all_cases: list[Case] = []
        boost_echo = stack.enter_context(BoostEcho())
        if boost_echo.missing:
            missing[limits.BOOST] = boost_echo.missing
        else:
            all_cases.append(Case(limits.BOOST, lambda: boost_echo.samples(size.counts.calls)))
        socket_echo = stack.enter_context(SocketEcho())
        all_cases.append(Case(limits.SOCKET, lambda: socket_echo.samples(size.counts.calls)))
        for kind in KINDS:
            if kind not in missing:
                all_cases += cases(server, kind, size.counts)
        all_cases += stack.enter_context(peer_cases(size.counts.calls // 4, missing))
        results = interleave(all_cases, rounds, say=_say)
        server.close()  # the rig is measured without it
        remote = stack.enter_context(remote_cases(folder, size.remote, size.remote_s))
        more = interleave(remote, rounds, say=_say)
        results.rounds.update(more.rounds)
        results.other_load.update(more.other_load)
        return results, missing


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
