"""The benchmark of image streams: ``python -m benchmarks.images [--quick] [--rounds N] [--disk DIR] [--out DIR]``.

One run measures a stream to a writer that discards, writes to memory and writes to disk, and what limits each, in turn,
and prints tables; with --out it also writes them and a plot there. It ends by itself, after some 30 s per round.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.common import Case, Results, conditions, interleave, plot
from benchmarks.images import report
from benchmarks.images.limits import CExchange, Measured, RawZeroMq, h5py_pipeline, plain_write
from benchmarks.images.storing import store
from benchmarks.images.streams import PreviewLatency, WriterProcess, photons, plain_image
from labwire.images.compression import compress
from labwire.wire.image_array import as_numpy, flat_view


class Size(NamedTuple):
    """How much goes through in one case of one round."""

    mib: int
    stored_mib: int
    small_images: int
    previews: int


FULL = Size(mib=512, stored_mib=1024, small_images=3000, previews=60)
QUICK = Size(mib=32, stored_mib=16, small_images=50, previews=3)
_MIB = 1 << 20
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  folders of their own are made in it


class Bench:
    """Turns exchanges into cases: GB/s, or images/s, and the processor time of both sides beside it."""

    def __init__(self) -> None:
        self.cases: list[Case] = []
        self.cpu: dict[str, list[tuple[float, float, int]]] = {}
        """For each case and round: seconds of processor time, GB, images."""

    def add(
        self, name: str, images: int, image_bytes: int, run: Callable[[int], Measured], *, count: bool = False
    ) -> None:
        """Take a case: `run` moves so many images and tells how long it took."""

        def measure() -> list[float]:
            measured = run(images)
            gigabytes = images * image_bytes / 1e9
            self.cpu.setdefault(name, []).append((measured.cpu_s, gigabytes, images))
            return [(images if count else gigabytes) / measured.seconds]

        self.cases.append(Case(name, measure))


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.images", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny counts: shows that it works, not how fast")
    parser.add_argument("--rounds", type=int, default=0, help="default 7; 1 with --quick")
    parser.add_argument("--disk", type=Path, default=Path.cwd(), help="folder on the disk that is measured")
    parser.add_argument("--out", type=Path, help="folder for images.txt and images.png")
    asked = parser.parse_args(arguments)
    rounds = asked.rounds or (1 if asked.quick else 7)
    results, bench, missing = measure(QUICK if asked.quick else FULL, rounds, asked.disk)
    lines = conditions(
        ["numpy", "pyzmq", "h5py"],
        images_per_file=64,
        disk=asked.disk.absolute(),
        rounds=rounds,
        quick=asked.quick,
    )
    text = "\n".join([*lines, *report.tables(results, bench.cpu, missing)])
    print(text)
    if asked.out:
        plot(asked.out / "images.png", report.panels(results), results, "\n".join(lines))
        (asked.out / "images.txt").write_text(text + "\n")
        print(f"written to {asked.out}")
    return 0


def measure(size: Size, rounds: int, disk: Path) -> tuple[Results, Bench, dict[str, str]]:
    """Run all cases, round by round; return what could not be measured as well, and why."""
    bench, missing = Bench(), dict[str, str]()
    with ExitStack() as stack:
        memory = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else Path(tempfile.gettempdir())
        tmpfs, on_disk = (
            Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="labwire-benchmark-", dir=folder)))
            for folder in (memory, disk)
        )
        exchange = stack.enter_context(CExchange())
        if exchange.missing:
            missing["the C pair"] = exchange.missing
        raw = stack.enter_context(RawZeroMq())
        discarding = stack.enter_context(WriterProcess(tmpfs, "--discard"))
        storing = stack.enter_context(WriterProcess(tmpfs))
        durable = stack.enter_context(WriterProcess(on_disk, "--sync"))
        for mib in report.SIZES_MIB:
            array, images = plain_image(mib), max(size.mib // mib, 2)
            view, image_bytes = flat_view(array.data), mib * _MIB
            if not missing:
                bench.add(report.c_pair(mib), images, image_bytes, lambda n, b=image_bytes: exchange.measure(n, b))
            bench.add(report.discard(mib), images, image_bytes, lambda n, a=array: discarding.measure(n, a))
            bench.add(report.raw_zeromq(mib), images, image_bytes, lambda n, v=view: raw.measure(n, v))
            if mib != report.STORED_MIB:
                continue
            stored = max(size.stored_mib // mib, 2)
            bench.add(report.TMPFS, stored, image_bytes, lambda n, a=array: storing.measure(n, a))
            bench.add(report.PLAIN_TMPFS, stored, image_bytes, lambda n, v=view: plain_write(tmpfs, n, v, sync=False))
            bench.add(report.STORED_TMPFS, stored, image_bytes, lambda n, a=array: store(tmpfs, n, a, sync=False))
            bench.add(report.DISK, stored, image_bytes, lambda n, a=array: durable.measure(n, a))
            bench.add(report.PLAIN_DISK, stored, image_bytes, lambda n, v=view: plain_write(on_disk, n, v, sync=True))
            bench.add(report.STORED_DISK, stored, image_bytes, lambda n, a=array: store(on_disk, n, a, sync=True))
            pixels = as_numpy(array)
            bench.add(report.H5PY, images, image_bytes, lambda n, p=pixels: h5py_pipeline(tmpfs, n, p))
        _add_small(bench, size, exchange, discarding, storing)
        latency = stack.enter_context(PreviewLatency())
        shown = plain_image(report.STORED_MIB)
        bench.cases.append(Case(report.PREVIEW, lambda: latency.samples(size.previews, shown)))
        return interleave(bench.cases, rounds, say=_say), bench, missing


def _add_small(
    bench: Bench, size: Size, exchange: CExchange, discarding: WriterProcess, storing: WriterProcess
) -> None:
    small = compress(_pixels_of(report.SMALL_BYTES))
    small_bytes, count = len(small.data), size.small_images
    if not exchange.missing:
        bench.add(report.SMALL_C, count, small_bytes, lambda n: exchange.measure(n, small_bytes), count=True)
    bench.add(report.SMALL, count, small_bytes, lambda n: discarding.measure(n, small), count=True)
    bench.add(report.SMALL_TMPFS, count, small_bytes, lambda n: storing.measure(n, small), count=True)


def _pixels_of(wanted_bytes: int) -> np.ndarray:
    """Return pixels that come to about so many bytes when compressed."""
    pixels = photons((512, 1024))
    rows = round(512 * wanted_bytes / len(compress(pixels).data))
    return photons((rows, 1024))


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
