"""``labwire actor``: an actor in a terminal of its own, on any computer."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import re
import sys
import traceback
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from labwire.cli.connection import DEFAULT_PORT, HERE, Connection
from labwire.cli.fields import parse_fields
from labwire.cli.output import remark
from labwire.errors import ConfigError, InternalError, LabwireError, ResourceError, StateError, UsageError
from labwire.names import check_actor_name

if TYPE_CHECKING:
    from labwire.bus.actor_runner import Wiring

_ADDRESS = re.compile(r"(?:tcp://)?(?P<host>\[[^\]]+\]|[^:\[\]]+)(?::(?P<port>\d{1,5}))?")


def actor(
    actor_class: Annotated[str, Parameter(name="MODULE:CLASS")],
    /,
    *options: str,
    rig: str | None = None,
    name: str | None = None,
    log_level: str = "INFO",
    connection: Connection = HERE,
) -> None:
    """Run an actor here, as a part of a rig that runs elsewhere.

    Args:
        actor_class: Module and class: `my_lab:Alarm`.
        options: Options of the actor, key=value; a value is JSON if it can be read so, otherwise text.
        rig: Where the rig's Remote is, HOST:PORT; the same as --host and --port.
        name: Name of the actor in the rig; by default that of its class, in small letters.
        log_level: Least serious level that is logged: DEBUG, INFO, WARNING, ERROR, CRITICAL.
        connection: The rig to talk to.
    """
    level = log_level.upper()
    if level not in logging.getLevelNamesMapping():
        raise UsageError(f"--log-level {log_level}: there is no such level; DEBUG, INFO, WARNING, ERROR, CRITICAL are")
    if ":" not in actor_class:
        hint = "`labwire actors` lists, stops and restarts the actors of a rig"
        raise ConfigError(f"{actor_class!r} does not name a class: write 'module:Class'", hint=hint)
    where = parse_address(rig, connection) if rig else connection
    called = check_actor_name(name or actor_class.rpartition(":")[2].lower())
    config = parse_fields(options)
    sys.path.insert(0, str(Path.cwd()))

    from labwire.bus.actor_runner import ActorRunner, ActorSpec, load_class, run_until_told

    loaded = load_class(actor_class)
    spec = ActorSpec(called, actor_class, wiring_of(where), config=config, log_level=level)
    _log_to_terminal(level)
    with _own_mistakes_told(loaded):
        runner = ActorRunner(loaded, spec)
        remark(f"labwire: {called} joins the rig at {where.address}; Ctrl-C ends it")
        run_until_told(runner, None)


@contextlib.contextmanager
def _own_mistakes_told(actor_class: type) -> Generator[None]:
    """Tell where a user's actor failed: what comes out of his code is no bug of labwire.

    Raises:
        ResourceError: The machine did not give it what it asked for.
        InternalError: Its code has a mistake.
    """
    try:
        yield
    except LabwireError:
        raise
    except Exception as error:
        module = sys.modules[actor_class.__module__]
        folder = Path(module.__file__ or "").parent
        lines = [
            f'File "{frame.filename}", line {frame.lineno}, in {frame.name}: {frame.line}'
            for frame in traceback.extract_tb(error.__traceback__)
            if Path(frame.filename).parent == folder
        ]
        dotted = f"{actor_class.__module__}:{actor_class.__qualname__}"
        if not lines or dotted.startswith("labwire."):
            raise
        kind = ResourceError if isinstance(error, OSError) else InternalError
        text = "\n  ".join([f"the actor {dotted} failed with {type(error).__name__}: {error}", *lines])
        raise kind(text, hint="mend the actor: the last of these lines of its code is where it happened") from error


def parse_address(text: str, connection: Connection = HERE) -> Connection:
    """Read ``HOST``, ``HOST:PORT`` or ``tcp://HOST:PORT``.

    Args:
        text: The address.
        connection: What else the options say.

    Raises:
        UsageError: It is none of these.
    """
    match = _ADDRESS.fullmatch(text)
    port = int(match["port"] or DEFAULT_PORT) if match else 0
    if not match or not 0 < port < 1 << 16:
        raise UsageError(f"{text!r} is not an address: write HOST:PORT, as 192.168.1.7:{DEFAULT_PORT}")
    return dataclasses.replace(connection, host=match["host"], port=port)


def wiring_of(where: Connection) -> Wiring:
    """Ask the Remote of a rig for its ports.

    Raises:
        PeerGoneError: No rig answers.
        StateError: What answers is not a labwire rig.
    """
    from labwire.bus.actor_runner import Wiring

    with where.connect() as rig:
        ports = rig.ports
    if ports.push is None or ports.rpc is None:
        raise StateError(f"{where.address} is not a labwire rig: it does not tell its PUSH_PORT and RPC_PORT")
    urls = (f"tcp://{where.host}:{port}" for port in (where.port, ports.pub, ports.sub, ports.push, ports.rpc))
    return Wiring(*urls)


def _log_to_terminal(level: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-8s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
