"""The benchmark of sessions: ``python -m benchmarks.sessions [--quick] [--rounds N] [--out FOLDER]``.

One run measures the recorder, the check, the exports and the replay, and the plain writes and waits that limit them, in
turn, and prints tables; with --out it also writes them and a plot there. It ends by itself, after about half a minute
per round.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.common import Case, Panel, Results, conditions, interleave, plot, table, verdict
from benchmarks.sessions import reading, writing
from labwire.sessions.reading.export import FORMATS
from labwire.testing.rig import running_rig

RIG = '[web]\nenabled = false\n[actors.replay]\nclass = "labwire.actors.replay:ReplayActor"\nsession = "{session}"\n'
JITTER_AIM_US = 1000.0

MESSAGES = (writing.PLAIN, writing.LIBRARY, writing.LOG, writing.ALL)
PICTURES = (writing.PLAIN_PICTURES, writing.PICTURES)
READS = (reading.READ, reading.VERIFY, *map(reading.export_name, FORMATS))
REPLAYS = (reading.SLEEP, reading.SENT, reading.HEARD)


class Size(NamedTuple):
    """How much is measured in one round."""

    messages: int
    pictures: int
    replay_s: float


FULL = Size(messages=50_000, pictures=500, replay_s=3.0)
QUICK = Size(messages=300, pictures=5, replay_s=0.2)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sessions", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="tiny counts: shows that it works, not how fast")
    parser.add_argument("--rounds", type=int, default=0, help="default 5; 1 with --quick")
    parser.add_argument("--out", type=Path, help="folder for sessions.txt and sessions.png")
    asked = parser.parse_args(arguments)
    rounds = asked.rounds or (1 if asked.quick else 5)
    size = QUICK if asked.quick else FULL
    results = measure(size, rounds)
    lines = conditions(
        ["msgspec", "numpy", "pyzmq", "mcap", "pyarrow"],
        message=f"{len(writing.payload(0))} bytes",
        messages=size.messages,
        replay=f"{reading.RATE_HZ:g}/s",
        rounds=rounds,
        quick=asked.quick,
    )
    text = "\n".join([*lines, "", *tables(results)])
    print(text)
    if asked.out:
        panels = [
            Panel("recording of messages", "messages/s", MESSAGES, logarithmic=True),
            Panel("recording of pictures", "MB/s", PICTURES),
            Panel("reading", "MB of the log a second", READS, logarithmic=True),
            Panel("lateness of a replay", "µs", REPLAYS, logarithmic=True),
        ]
        plot(asked.out / "sessions.png", panels, results, "\n".join(lines))
        (asked.out / "sessions.txt").write_text(text + "\n")
        print(f"written to {asked.out}")
    return 0


def measure(size: Size, rounds: int) -> Results:
    """Run all cases, round by round."""
    with tempfile.TemporaryDirectory(prefix="labwire-benchmark-") as name:
        folder = Path(name)
        session = reading.make_session(folder / "to replay", size.replay_s)
        rig_folder = folder / "rig"
        rig_folder.mkdir()
        with running_rig(rig_folder, RIG.format(session=session)) as running, running.connect() as rig:
            rig.replay.pause()
            cases = [
                *writing.cases(folder, size.messages, size.pictures),
                *reading.reading_cases(folder, size.messages),
                Case(reading.SLEEP, lambda: reading.sleep_samples(round(size.replay_s * reading.RATE_HZ))),
                Case(reading.SENT, lambda: reading.sent_samples(session)),
                Case(reading.HEARD, lambda: reading.heard_samples(rig, session)),
            ]
            return interleave(cases, rounds, say=lambda text: print(text, file=sys.stderr))


def tables(results: Results) -> Iterator[str]:
    """Yield the tables as text."""
    size_bytes = len(writing.payload(0))
    columns = ("messages/s", "least", "median", "most", "MB/s", "of the limit", "others' load")
    yield table("", columns, [_messages(results, name, size_bytes) for name in MESSAGES])
    columns = ("pictures, MB/s", "least", "median", "most", "of the limit", "others' load")
    yield table("", columns, [_rates(results, name, writing.PLAIN_PICTURES) for name in PICTURES])
    columns = ("log, MB/s", "least", "median", "most", "of reading", "others' load")
    yield table("", columns, [_rates(results, name, reading.READ) for name in READS])
    columns = ("late by µs", "min", "median", "p99", "aim", "others' load")
    yield table("", columns, [_late(results, name) for name in REPLAYS])


def _messages(results: Results, name: str, size_bytes: int) -> Sequence[str]:
    case = results.summary(name)
    figures = [f"{value:,.0f}" for value in (case.least, case.median, case.most)]
    share = f"{results.ratio(name, writing.PLAIN):.1%}"
    return name, *figures, f"{case.median * size_bytes / 1e6:.1f}", share, _load(results, name)


def _rates(results: Results, name: str, against: str) -> Sequence[str]:
    case = results.summary(name)
    figures = [f"{value:,.1f}" for value in (case.least, case.median, case.most)]
    return name, *figures, f"{results.ratio(name, against):.1%}", _load(results, name)


def _late(results: Results, name: str) -> Sequence[str]:
    case = results.summary(name)
    aim = verdict(round(case.median), JITTER_AIM_US, at_most=True) if name != reading.SLEEP else ""
    return name, *(f"{value:,.1f}" for value in (case.least, case.median, case.p99)), aim, _load(results, name)


def _load(results: Results, name: str) -> str:
    loads = sorted(results.other_load[name])
    return f"{loads[len(loads) // 2]:.2f}"


if __name__ == "__main__":
    sys.exit(main())
