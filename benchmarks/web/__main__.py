"""The benchmark of the live path: ``python -m benchmarks.web [--quick] [--rounds N] [--out FOLDER]``.

A one-megapixel JPEG at 30 Hz and 6,000 points a second go over the bus of a real rig to 1 and to 8 WebSocket clients.
The latency is from the publisher's call to the bytes at the client; beside it stands a bare echo of the same bytes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.common import Case, Panel, Results, conditions, cpu_s, interleave, plot, table, verdict
from benchmarks.web.viewer import FIELDS, PICTURE_HZ, PICTURES, POINTS
from labwire.client import Rig
from labwire.testing.processes import running_process
from labwire.testing.rig import RunningRig, running_rig

PICTURE_BYTES = 250_000
"""What a camera's JPEG of one megapixel has."""
POINTS_HZ = 6000
CLIENTS = (1, 8)
LATENCY_AIM_MS = 25.0
CPU_AIM_PERCENT = 5.0


class Size(NamedTuple):
    """How much is measured in one round."""

    seconds: float


class Side(NamedTuple):
    """What is measured beside the latency, by round."""

    frames_hz: list[float]
    cpu_percent: list[float]


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.web", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a moment each: shows that it works, not how fast")
    parser.add_argument("--rounds", type=int, default=0, help="default 5; 1 with --quick")
    parser.add_argument("--out", type=Path, help="folder for web.txt and web.png")
    asked = parser.parse_args(arguments)
    rounds = asked.rounds or (1 if asked.quick else 5)
    results, sides = measure(Size(1.0 if asked.quick else 8.0), rounds)
    lines = conditions(
        ["starlette", "uvicorn", "websockets", "pyzmq"],
        picture=f"{PICTURE_BYTES} bytes at {PICTURE_HZ} Hz",
        points=f"{POINTS_HZ}/s in messages of {len(FIELDS)}",
        rounds=rounds,
        quick=asked.quick,
    )
    text = "\n".join([*lines, report(results, sides)])
    print(text)
    if asked.out:
        asked.out.mkdir(parents=True, exist_ok=True)
        panel = Panel("publisher to WebSocket client", "ms", list(sides))
        plot(asked.out / "web.png", [panel], results, "\n".join(lines))
        (asked.out / "web.txt").write_text(text + "\n")
        print(f"written to {asked.out}")
    return 0


def measure(size: Size, rounds: int) -> tuple[Results, dict[str, Side]]:
    """Run all cases, round by round."""
    sides: dict[str, Side] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="labwire-benchmark-")))
        rig = stack.enter_context(running_rig(folder, 'name = "benchmark"', web=True))
        client = stack.enter_context(rig.connect())
        echo_pid, echo_url = stack.enter_context(running_echo())
        cases: list[Case] = []
        for clients in CLIENTS:
            live = ["live", rig.ready.web.replace("http", "ws") + "/live"]
            cases.append(_case(f"dashboard, {clients}", clients, size, sides, live, _web_pid(client), rig))
            cases.append(_case(f"bare echo, {clients}", clients, size, sides, ["echo", echo_url], echo_pid, None))
        return interleave(cases, rounds, say=lambda text: print(text, file=sys.stderr)), sides


def _case(
    name: str, clients: int, size: Size, sides: dict[str, Side], target: Sequence[str], pid: int, rig: RunningRig | None
) -> Case:
    side = sides[name] = Side([], [])

    def run() -> Sequence[float]:
        with ExitStack() as stack:
            if rig:
                stack.enter_context(publishing(rig.connect))
            before_s, begun_s = cpu_s(pid), time.monotonic()
            command = [sys.executable, "-m", "benchmarks.web.viewer", *target, str(clients), str(size.seconds)]
            done = subprocess.run(
                [*command, str(PICTURE_BYTES)], stdout=subprocess.PIPE, check=True, timeout=60 + size.seconds
            )
            lasted_s = time.monotonic() - begun_s
            said = json.loads(done.stdout)
            side.cpu_percent.append(100 * (cpu_s(pid) - before_s) / lasted_s)
            side.frames_hz.append(sum(said["counts"]) / clients / size.seconds)
            return [1000 * latency for latency in said["latencies_s"]]

    return Case(name, run)


@contextmanager
def publishing(connect: Callable[[], Rig]) -> Generator[None]:
    """Publish pictures and points at their rates beside a block."""
    end = threading.Event()

    def paced(rate_hz: float, publish: Callable[[Rig], object]) -> None:
        with connect() as rig:
            begun_s, count = time.monotonic(), 0
            while not end.wait(max(0.0, begun_s + count / rate_hz - time.monotonic())):
                publish(rig)
                count += 1

    picture = b"\xff\xd8" + bytes(PICTURE_BYTES - 4) + b"\xff\xd9"
    values = dict.fromkeys(FIELDS, 0.5)

    def publish_picture(rig: Rig) -> None:
        rig.publish(PICTURES, {"sent_s": time.monotonic(), "format": "jpeg"}, [picture])

    def publish_points(rig: Rig) -> None:
        rig.publish(POINTS, {"timestamp": time.monotonic(), **values})

    threads = [
        threading.Thread(target=paced, args=(PICTURE_HZ, publish_picture)),
        threading.Thread(target=paced, args=(POINTS_HZ / len(FIELDS), publish_points)),
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        end.set()
        for thread in threads:
            thread.join()


@contextmanager
def running_echo() -> Generator[tuple[int, str]]:
    """Run the bare echo; yields its process number and address."""
    command = [sys.executable, "-m", "benchmarks.web.echo"]
    with running_process(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout
        yield process.pid, process.stdout.readline().decode().strip()


def _web_pid(client: Rig) -> int:
    return next(actor.pid or 0 for actor in client.actors.list() if actor.name == "web")


def report(results: Results, sides: dict[str, Side]) -> str:
    """Return the table."""
    columns = (
        "server, clients",
        "min ms",
        "median",
        "p99",
        "aim",
        "images/s each",
        "% of a core",
        "aim",
        "others' load",
    )
    rows: list[Sequence[str]] = []
    for name, side in sides.items():
        case = results.summary(name)
        cpu, frames = (_middle(values) for values in (side.cpu_percent, side.frames_hz))
        ours = name == f"dashboard, {CLIENTS[0]}"
        aims = (
            verdict(round(case.median, 1), LATENCY_AIM_MS, at_most=True) if "dashboard" in name else "",
            verdict(round(cpu, 1), CPU_AIM_PERCENT, at_most=True) if ours else "",
        )
        load = _middle(results.other_load[name])
        latency = (f"{value:.1f}" for value in (case.least, case.median, case.p99))
        rows.append((name, *latency, aims[0], f"{frames:.1f}", f"{cpu:.1f}", aims[1], f"{load:.2f}"))
    return table("", columns, rows)


def _middle(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


if __name__ == "__main__":
    sys.exit(main())
