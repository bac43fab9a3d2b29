"""The benchmark of vital signs: ``python -m benchmarks.vitals [--photo P] [--seed N] [--films NAME ...] [--out DIR]``.

A person made of one photograph, with known pulse and breathing, is filmed under every difficulty in turn, and what the
monitor says is held against the truth. Any photograph of one face will do, and any seed. One process, one thread; the
whole set takes about ten minutes. Then the whole program looks at a network camera on this computer, for two minutes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2

from benchmarks.common import conditions
from benchmarks.vitals.plot import plot
from benchmarks.vitals.program import CAMERAS, run_program
from benchmarks.vitals.report import tables
from benchmarks.vitals.run import Seen, see
from benchmarks.vitals.scenario import Scenario, scenarios, without_pulse
from benchmarks.vitals.subject import NoPhotoError, subject_of

QUICK_S, QUICK_FPS, QUICK_CAMERA_S = 13.0, 15.0, 1.0


def main(arguments: list[str] | None = None) -> int:
    """Film, measure, print, and write what was asked for."""
    asked = _parsed(arguments)
    cv2.setNumThreads(1)  # so that the cost is what one thread needs
    try:
        subject_of(asked.photo)
    except NoPhotoError as error:
        print(error, file=sys.stderr)
        return 2
    seconds = QUICK_S if asked.quick else asked.seconds
    films = [see_and_say(one) for one in chosen(scenarios(asked.photo, asked.seed, seconds), asked)]
    empty = [see_and_say(one) for one in chosen(without_pulse(asked.photo, asked.seed, seconds), asked)]
    cameras = [camera._replace(seconds=QUICK_CAMERA_S) for camera in CAMERAS] if asked.quick else CAMERAS
    programs = [run_program(camera, asked.photo) for camera in cameras if not asked.films]
    lines = conditions(
        ["numpy", "opencv-python-headless", "av"],
        photo=Path(asked.photo).name,
        seed=asked.seed,
        seconds=f"{seconds:g}",
        quick=asked.quick,
    )
    text = "\n".join([*lines, *tables(films, empty, programs)])
    print(text)
    if asked.out:
        asked.out.mkdir(parents=True, exist_ok=True)
        (asked.out / "vitals.txt").write_text(text + "\n")
        plot(asked.out / "vitals.png", films, empty, "\n".join(lines))
        print(f"written to {asked.out}")
    return 0


def chosen(all_of_them: Sequence[Scenario], asked: argparse.Namespace) -> list[Scenario]:
    """Return the films that were asked for."""
    if asked.quick:
        return [replace(one, seconds=QUICK_S, fps=QUICK_FPS) for one in all_of_them[:1]]
    return [one for one in all_of_them if not asked.films or any(text in one.name for text in asked.films)]


def see_and_say(scenario: Scenario) -> Seen:
    """Show a film, and tell that it is being shown."""
    print(f"{scenario.name} ({scenario.seconds:g} s)", file=sys.stderr, flush=True)
    return see(scenario)


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vitals", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--photo", default="hopper", help="hopper, astronaut, or the path of a photograph of one face")
    parser.add_argument("--seed", type=int, default=1, help="of everything random in the films")
    parser.add_argument("--seconds", type=float, default=45.0, help="length of a film")
    parser.add_argument("--films", nargs="*", help="only films whose name contains one of these")
    parser.add_argument(
        "--quick", action="store_true", help="a short film of each kind: shows that it works, not how well"
    )
    parser.add_argument("--out", type=Path, help="folder for vitals.txt and vitals.png")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
