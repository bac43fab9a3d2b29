"""``labwire instruments``: which there are, what they can do, and the operations on them."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number

from labwire.cli.call import call, hints, print_result
from labwire.cli.connection import HERE, Connection
from labwire.cli.fields import parse_fields
from labwire.cli.operation_commands import command_of, connect, finish, service_app
from labwire.cli.output import console, remark, write_json, write_line
from labwire.errors import CommandFailedError, UsageError
from labwire.operations.instruments import (
    MAX_COMMANDS,
    CommandRequest,
    Instruments,
    InstrumentStatus,
    ResultList,
)
from labwire.operations.service import Service

if TYPE_CHECKING:
    from labwire.client import Rig

_TIMEOUT_MS = 5000


def instruments(name: str | None = None, /, *, connection: Connection = HERE) -> None:
    """List the instruments with their state; with a name, what that instrument can do.

    Args:
        name: Name of an instrument.
        connection: The rig to talk to.
    """
    if name is not None:
        describe(name, connection=connection)
        return
    with connect(connection) as rig:
        show_states(rig.instruments.list(), connection)


def show_states(rows: list[InstrumentStatus], connection: Connection) -> None:
    """Print the states of instruments."""
    if connection.json:
        write_json(rows)
    elif rows:
        from labwire.cli.instrument_text import error_lines, status_table

        out = console()
        out.print(status_table(rows))
        for line in error_lines(rows):
            out.print(line, soft_wrap=True)
    else:
        write_line("none")


def describe(name: str, /, *, connection: Connection = HERE) -> None:
    """Tell what an instrument can do: its verbs with parameters, units and ranges.

    Args:
        name: Name of the instrument.
        connection: The rig to talk to.
    """
    with connect(connection) as rig, hints(connection):
        api = rig.instruments.describe(name)
    if connection.json:
        write_json(api)
        return
    from labwire.cli.instrument_text import api_text

    write_line("\n".join(api_text(name, api)))


def run(
    file: Annotated[Path | None, Parameter(name="FILE")] = None,
    /,
    *,
    timeout_ms: Annotated[int, Parameter(validator=Number(gte=1, lte=86_400_000))] = _TIMEOUT_MS,
    keep_going: Annotated[bool, Parameter(negative="")] = False,
    connection: Connection = HERE,
) -> int:
    """Run a list of commands: one a line, as `labwire call` takes them, or as JSON.

    One instrument's commands run in their order, those of several instruments at the same time. Empty lines and
    lines that begin with # are left out.

    Args:
        file: The list; without it, standard input.
        timeout_ms: Milliseconds to wait for each answer.
        keep_going: Go on after a command has failed.
        connection: The rig to talk to.
    """
    commands = read_commands(_read(file), timeout_ms)
    with connect(connection) as rig:
        from labwire.cli.progress import follow

        job = rig.instruments.run(commands, stop_on_error=not keep_going)
        results: ResultList = follow(job, quiet=connection.json)
    for result in results:
        if connection.json:
            write_json(result)
        elif result.error:
            remark(f"{result.instrument} {result.verb}: {result.error}")
        else:
            print_result(result)
    failed = sum(bool(result.error) for result in results)
    if not connection.json:
        remark(f"{len(results)} of {len(commands)} commands ran, {failed} failed")
    return CommandFailedError().codes.exit_code if failed else 0


def read_commands(text: str, timeout_ms: int) -> list[CommandRequest]:
    """Read a list of commands.

    Raises:
        UsageError: A line is no command; the message has its number.
    """
    found: list[CommandRequest] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                found.append(_read_command(line.strip(), timeout_ms))
            except (UsageError, ValueError) as error:
                raise UsageError(f"line {number}: {error}", line=number) from error
    if not 0 < len(found) <= MAX_COMMANDS:
        raise UsageError(f"{len(found)} commands: there must be 1 to {MAX_COMMANDS}")
    return found


def _read_command(line: str, timeout_ms: int) -> CommandRequest:
    if line.startswith("{"):
        given = msgspec.json.decode(line, type=dict[str, Any])
        return msgspec.convert({"timeout_ms": timeout_ms, **given}, CommandRequest)
    words = shlex.split(line, comments=True)
    if len(words) < 2:
        raise UsageError(f"{line!r} is no command: write NAME VERB key=value ...")
    return CommandRequest(name=words[0], verb=words[1], params=parse_fields(words[2:]), timeout_ms=timeout_ms)


def _read(file: Path | None) -> str:
    if file is None:
        return sys.stdin.read()
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from error


def acquire(
    name: str,
    verb: str,
    /,
    *params: str,
    count: Annotated[int, Parameter(validator=Number(gte=1))] | None = None,
    only_to_bus: Annotated[bool, Parameter(negative="")] = False,
    connection: Connection = HERE,
) -> None:
    """Acquire continuously and print the blocks, until Ctrl-C.

    Args:
        name: Name of the instrument.
        verb: A continuous command; `labwire instruments NAME` lists them.
        params: Its parameters: key=value, or a JSON object.
        count: End after so many blocks.
        only_to_bus: Print nothing; the blocks go onto the bus as instrument.NAME.block all the same.
        connection: The rig to talk to.
    """
    with connect(connection) as rig, hints(connection):
        if only_to_bus:
            finish(rig.instruments.acquire(name, verb, parse_fields(params), window=0), connection)
            return
        from labwire.cli.instrument_text import value_text

        with rig.instrument(name).blocks(verb, parse_fields(params)) as blocks:
            for taken, block in enumerate(blocks, 1):
                if connection.json:
                    write_json(block)
                else:
                    write_line(f"{block.number}: {value_text(block.value if block.array is None else block.array)}")
                if taken == count:
                    break


@contextlib.contextmanager
def patient(connection: Connection) -> Generator[Any]:
    """Connect to a rig whose instruments are waited for as long as they may take, unless --timeout says otherwise."""
    with connect(connection) as rig:
        yield _Patient(rig)


class _Patient:
    """What the commands that are made from the table need of a rig."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    def service(self, service: type[Service], *, timeout_s: float | None) -> Service:
        return self._rig.instruments if timeout_s is None else self._rig.service(service, timeout_s=timeout_s)


def _steering(name: str) -> Callable[..., None]:
    def show(status: InstrumentStatus, connection: Connection) -> None:
        show_states([status], connection)

    return command_of(Instruments, Instruments.operations()[name], patient, show)


app = service_app(
    Instruments,
    patient,
    instead={
        "describe": describe,
        "call": call,
        "run": run,
        "acquire": acquire,
        **{name: _steering(name) for name in ("start", "stop", "restart", "cancel")},
    },
)
app.default(instruments)
