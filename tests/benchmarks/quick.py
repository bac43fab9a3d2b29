"""A benchmark with small counts, from end to end: what it prints, writes and plots."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FIGURE = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
LIMIT_S = 240.0
"""How long a benchmark with small counts may take on a busy machine."""


def run_benchmark(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a benchmark to its end, with small counts."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--quick", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)


def quick_run(name: str, folder: Path, *arguments: str) -> str:
    """Let a benchmark write its text and its plot into a folder; return the text, which it has printed as well."""
    pytest.importorskip("matplotlib", reason="the plot needs it: pip install labwire[demo]")
    done = run_benchmark(name, "--out", str(folder), *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (folder / f"{name}.txt").read_text()
    assert text in done.stdout
    assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    return text


def figures_of(row: str) -> list[float]:
    """Return the numbers in a row, without its name."""
    return [float(figure.replace(",", "")) for figure in FIGURE.findall(row)]


def table_in(text: str, title: str) -> dict[str, list[float]]:
    """Return the figures of each row of the table whose head begins with a title."""
    found = next(table for table in text.split("\n\n") if table.strip().startswith(title))
    _, rule, *rows = found.strip().splitlines()
    width = len(rule.partition("  ")[0])  # the line below the head is as long as the longest name
    return {row[:width].rstrip(): figures_of(row[width:]) for row in rows}
