"""Shows how far long work is, on standard error."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import msgspec
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from labwire.cli.output import console
from labwire.operations.job import Job

R = TypeVar("R")

_DONE, _TOTAL = "done_", "total_"


def follow(job: Job[Any, R], *, quiet: bool = False) -> R:
    """Wait for a job and return its result; Ctrl-C asks it to end.

    Args:
        job: The job.
        quiet: Show no progress.

    Raises:
        KeyboardInterrupt: Ctrl-C; the job has been asked to end.
        LabwireError: What the job raised.
    """
    try:
        with progress_bar(quiet=quiet) as show:
            for report in job.progress():
                show(report)
        return job.result()
    except KeyboardInterrupt:
        job.cancel()
        raise


@contextlib.contextmanager
def progress_bar(*, quiet: bool = False) -> Generator[Callable[[Any], None]]:
    """Show a bar on a terminal; gives the function that takes the progress reports.

    Args:
        quiet: Show nothing.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda report: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=None)

        def show(report: Any) -> None:
            text, done, total = read_report(report)
            bars.update(task, description=text, completed=done, total=total)

        yield show


def read_report(report: Any) -> tuple[str, float | None, float | None]:
    """Return text, done and total of a progress report, whatever struct it is.

    Fields whose names begin with ``done_`` and ``total_`` are the numbers, the texts are the text.
    """
    fields: dict[str, Any] = msgspec.to_builtins(report) if isinstance(report, msgspec.Struct) else {"step": report}
    done = next((value for name, value in fields.items() if name.startswith(_DONE)), None)
    total = next((value for name, value in fields.items() if name.startswith(_TOTAL)), None)
    return " ".join(str(value) for value in fields.values() if isinstance(value, str)), done, total or None
