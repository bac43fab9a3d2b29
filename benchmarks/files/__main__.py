"""The benchmark of files: ``python -m benchmarks.files [--quick] [--rounds N] [--folder DIR] [--out FOLDER]``.

One run measures lines, frames and how soon they are seen, in turn, each beside what limits it or is usual, and prints
tables; with --out it also writes them and a plot there.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from benchmarks.common import Results, conditions, interleave, plot
from benchmarks.files import frames, lines, report, visible


class Size(NamedTuple):
    """How much is measured in one round."""

    lines: int
    frames: int
    seen: int
    buffered: int
    speed_up: float
    torn_s: float


LINE_ROUNDS = 7
FULL = Size(lines=5_000, frames=300, seen=40, buffered=150, speed_up=10, torn_s=4)
QUICK = Size(lines=300, frames=5, seen=5, buffered=60, speed_up=200, torn_s=0.1)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.files", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny counts: shows that it works, not how fast")
    parser.add_argument("--rounds", type=int, default=0, help="default 5; 1 with --quick")
    parser.add_argument("--folder", type=Path, help="a folder on the disk that is measured; default: the system's /tmp")
    parser.add_argument("--out", type=Path, help="folder for files.txt and files.png")
    asked = parser.parse_args(arguments)
    rounds, size = asked.rounds or (1 if asked.quick else 5), QUICK if asked.quick else FULL
    with tempfile.TemporaryDirectory(prefix="labwire-benchmark-", dir=asked.folder) as name:
        results, torn, disk = measure(Path(name), size, rounds)
    settings = {"rounds": rounds, "quick": asked.quick, "disk": disk, "line": "173 bytes", "batch": lines.BATCH}
    told = conditions(["msgspec", "numpy", "opencv-python-headless"], **settings)
    text = "\n".join([*told, *report.tables(results, torn)])
    print(text)
    if asked.out:
        plot(asked.out / "files.png", report.panels(), results, "\n".join(told))
        (asked.out / "files.txt").write_text(text + "\n")
        print(f"written to {asked.out}")
    return 0


def measure(folder: Path, size: Size, rounds: int) -> tuple[Results, list[frames.Torn], str]:
    """Run all cases, round by round; return the results, what was torn, and the file system's type."""
    # Lines in many short rounds: what is compared is then milliseconds apart, and meets the same load.
    results = interleave(lines.cases(folder, size.lines), rounds * LINE_ROUNDS, say=_say)
    others = [*frames.cases(folder, size.frames), *visible.cases(folder, size.seen, size.buffered, size.speed_up)]
    more = interleave(others, rounds, say=_say)
    results.rounds.update(more.rounds)
    results.other_load.update(more.other_load)
    return results, frames.count_torn(folder, size.torn_s), file_system(folder)


def file_system(folder: Path) -> str:
    """Return the type of the file system that a folder is on, as Linux tells it."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    here = str(folder.resolve())
    fits = [row for row in mounts if here == row[1] or here.startswith(row[1].rstrip("/") + "/")]
    return max(fits, key=lambda row: len(row[1]))[2] if fits else "unknown"


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
