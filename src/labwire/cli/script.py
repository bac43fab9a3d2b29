"""``labwire script``: a Python file of commands, with the rig at hand and a progress bar for its loops."""

from __future__ import annotations

import runpy
import sys
import traceback
from collections.abc import Iterable, Iterator, Sized
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from cyclopts import Parameter

from labwire.cli.connection import HERE, Connection
from labwire.cli.output import remark
from labwire.errors import LabwireError, UsageError

T = TypeVar("T")

_FAILED = 1


def script(
    file: Annotated[Path, Parameter(name="FILE.py")],
    /,
    *args: Annotated[str, Parameter(allow_leading_hyphen=True)],
    connection: Connection = HERE,
) -> int:
    """Run a Python file of commands to instruments.

    The file finds these names: `rig`, the rig; `instrument(NAME)`, an instrument of it; `progress(ITERABLE)`, which
    shows how far a loop is; `args`, what stands after the file.

    Args:
        file: The file.
        args: For the file; also in `sys.argv`.
        connection: The rig to talk to.
    """
    if not file.is_file():
        raise UsageError(f"there is no file {file}", path=str(file))
    with connection.connect() as rig:
        names = {"rig": rig, "instrument": rig.instrument, "progress": progress, "args": list(args)}
        return run_file(file, list(args), names, quiet=connection.json)


def run_file(file: Path, args: list[str], names: dict[str, Any], *, quiet: bool = False) -> int:
    """Run a Python file as a program; return the exit status.

    Args:
        file: The file.
        args: What it finds in ``sys.argv`` after its own name.
        names: What it finds as global names.
        quiet: Show no progress; say in an error's data, not on standard error, where it came from.

    Raises:
        LabwireError: The file let it out. Before it comes where: file and line.
    """
    before, path, shown = sys.argv, list(sys.path), progress.quiet
    sys.argv, sys.path[:0] = [str(file), *args], [str(file.absolute().parent)]
    progress.quiet = quiet
    try:
        runpy.run_path(str(file), init_globals=names, run_name="__main__")
    except LabwireError as error:
        line = next((frame.lineno for frame in reversed(list(_frames_of(error, file))) if _is_in(frame, file)), None)
        if quiet:  # standard error is for programs then: one line of JSON
            error.data.update(script=str(file), script_line=line)
        else:
            remark(f"{file}, line {line}:" if line else f"{file}:")
        raise
    except Exception as error:  # a mistake in the file is not one of labwire
        listed = traceback.StackSummary.from_list(list(_frames_of(error, file)))
        head = ["Traceback (most recent call last):\n", *listed.format()] if listed else []
        remark("".join([*head, *traceback.format_exception_only(error)]).rstrip())
        return _FAILED
    finally:
        sys.argv, sys.path[:], progress.quiet = before, path, shown
    return 0


def _frames_of(error: BaseException, file: Path) -> Iterator[traceback.FrameSummary]:
    """Yield the frames of an error from the file on, without those that called it."""
    inside = False
    for frame in traceback.extract_tb(error.__traceback__):
        inside = inside or _is_in(frame, file)
        if inside:
            yield frame


def _is_in(frame: traceback.FrameSummary, file: Path) -> bool:
    return frame.filename == str(file)


class _Progress:
    """Shows how far a loop is, on standard error; where that is no terminal it shows nothing."""

    quiet = False

    def __call__(self, iterable: Iterable[T], text: str = "", *, total: float | None = None) -> Iterator[T]:
        """Yield what the iterable yields.

        Args:
            iterable: What to loop over.
            text: What to write beside the bar.
            total: How many there are, if the iterable cannot tell.
        """
        if total is None and isinstance(iterable, Sized):
            total = len(cast("Sized", iterable))
        if self.quiet or not sys.stderr.isatty():
            yield from iterable
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        from labwire.cli.output import console

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console(stderr=True)) as bars:
            yield from bars.track(iterable, total=total, description=text)


progress = _Progress()
"""What a script's loops go through."""
