"""``labwire call``: one command to an instrument, once or many times."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from labwire.cli.connection import HERE, Connection
from labwire.cli.fields import parse_fields
from labwire.cli.output import remark, write_json, write_line
from labwire.errors import DeadlineError, LabwireError, PeerGoneError, UsageError

if TYPE_CHECKING:
    from labwire.client import Rig
    from labwire.operations.instruments import Array, CommandResult

_TIMEOUT_MS = 5000

TimeoutMs = Annotated[int | None, Parameter(validator=Number(gte=1, lte=86_400_000), show_default=False)]


def call(
    name: str,
    verb: str,
    /,
    *params: str,
    timeout_ms: TimeoutMs = None,
    priority: Annotated[int, Parameter(validator=Number(gte=0, lte=1000))] = 0,
    repeat: Annotated[int, Parameter(validator=Number(gte=1))] = 1,
    every: Annotated[float, Parameter(validator=Number(gte=0))] = 0.0,
    save: Path | None = None,
    connection: Connection = HERE,
) -> None:
    """Send a command to an instrument, and print what it returns.

    Args:
        name: Name of the instrument; `labwire instruments` lists them.
        verb: The command; `labwire instruments NAME` lists them.
        params: Its parameters: key=value, or a JSON object. A value is JSON if it can be read so, otherwise text.
        timeout_ms: Milliseconds to wait for the answer; by default 5000.
        priority: Higher goes first among the commands that wait.
        repeat: Send it so often, one after the other.
        every: Seconds from the start of one to the start of the next; 0 goes on at once.
        save: Write the waveform that it returns to this file, as numpy reads it: `wave.npy`.
        connection: The rig to talk to.
    """
    if save and repeat > 1:
        raise UsageError("--save takes one waveform: it does not go with --repeat")
    sent = parse_fields(params)
    timeout_ms = timeout_ms or (round(connection.timeout_s * 1000) if connection.timeout_s else _TIMEOUT_MS)
    with connection.connect() as rig, hints(connection):
        unit = "" if connection.json else unit_of(rig, name, verb)
        began_s, durations_s = time.monotonic(), list[float]()
        for number in range(repeat):
            time.sleep(max(0.0, began_s + number * every - time.monotonic()))
            result = rig.instruments.call(name, verb, sent, timeout_ms=timeout_ms, priority=priority)
            durations_s.append(result.duration_s)
            print_result(result, unit, as_json=connection.json)
            if save:
                save_array(result.array, save)
    if repeat > 1 and not connection.json:
        mean_ms, best_ms = 1e3 * sum(durations_s) / repeat, 1e3 * min(durations_s)
        remark(f"{repeat} commands; an answer took {mean_ms:.3g} ms, at best {best_ms:.3g} ms")


def print_result(result: CommandResult, unit: str = "", *, as_json: bool = False) -> None:
    """Print what a command returned."""
    from labwire.cli.instrument_text import value_text

    if as_json:
        write_json(result)
        return
    value = result.array if result.array is not None else result.value
    if text := value_text(value, unit) or result.text:
        write_line(text)


def unit_of(rig: Rig, name: str, verb: str) -> str:
    """Return the unit of what a command returns, empty if that is not known."""
    with contextlib.suppress(LabwireError):
        for known in rig.instruments.describe(name).verbs:
            if verb in {known.name, known.method}:
                return known.unit
    return ""


def save_array(array: Array | None, path: Path) -> None:
    """Write a waveform as an ``.npy`` file."""
    from labwire.errors import needs_extra

    if array is None:
        raise UsageError(f"there is nothing to write to {path}: the command returned no waveform")
    with needs_extra("waveforms"):
        import numpy as np
    with path.open("wb") as file:
        np.save(file, array.numpy())


@contextlib.contextmanager
def hints(connection: Connection) -> Generator[None]:
    """Say what to do about errors of instruments, which are not those of the rig."""
    try:
        yield
    except (DeadlineError, PeerGoneError) as error:
        if "instrument" in error.data and "hint" not in error.data:
            error.data["hint"] = _hint(error, connection.flags)
        raise


def _hint(error: LabwireError, flags: str) -> str:
    name: Any = error.data["instrument"]
    tells = f"`labwire instruments{flags}` tells how it is"
    if isinstance(error, DeadlineError):
        return f"--timeout-ms waits longer; {tells}, `labwire instruments restart {name}{flags}` restarts it"
    return tells
