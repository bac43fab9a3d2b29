"""``labwire worker``: a driver in this process, for a server that somebody else runs."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from cyclopts import Parameter
from cyclopts.validators import Number

from labwire.cli.connection import JsonFlag
from labwire.cli.fields import parse_fields
from labwire.cli.output import remark, write_json
from labwire.instruments.config import ProfileName
from labwire.instruments.linux import check_linux
from labwire.names import check_actor_name

NamedQueue: TypeAlias = Literal["boost", "posix"]


def worker(
    name: str,
    /,
    *options: str,
    driver: str,
    queue: NamedQueue = "boost",
    profile: ProfileName = "spec",
    heartbeat_s: Annotated[float, Parameter(validator=Number(gt=0, lte=86400))] = 1.0,
    log_level: str = "INFO",
    json: JsonFlag = False,
) -> int:
    """Run the driver of an instrument here, for a server that does not start it itself.

    Queues that exist already are joined, others are made, so that it does not matter who comes first. It ends when the
    server says SHUTDOWN, or with Ctrl-C.

    Args:
        name: Name of the instrument.
        options: Options of the driver: key=value.
        driver: Its class, `module:Class`, looked for in this folder too; or the name of an installed driver.
        queue: Kind of the queues; `boost` is what C++ programs know.
        profile: Layout of the messages: `spec`, `native`, or `iss` for the C++ instrument-script-server.
        heartbeat_s: Seconds between two signs of life.
        log_level: Which log messages to show: DEBUG, INFO, WARNING, ERROR.
        json: When the queues are there, print one line of JSON; errors are JSON too.
    """
    check_linux("`labwire worker`")
    check_actor_name(name)
    given = parse_fields(options)

    from labwire.instruments.queues.open import join_pair
    from labwire.instruments.supervision.name_lock import WorkerLock
    from labwire.instruments.worker.spec import WorkerSpec
    from labwire.instruments.worker.worker import run_worker
    from labwire.wire.instrument_message import PROFILES

    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)-8s %(name)s: %(message)s")
    sys.path.insert(0, str(Path.cwd()))
    spec = WorkerSpec(
        name=name, driver=driver, options=given, queue=queue, profile=profile, heartbeat_s=heartbeat_s, debug=_debug()
    )
    with WorkerLock(name), join_pair(queue, name, PROFILES[profile]) as pair:
        if json:
            write_json({"name": name, "queues": [pair.requests.name, pair.responses.name], "kind": queue})
        else:
            remark(f"serving {name} on {pair.requests.name} and {pair.responses.name} ({queue}); Ctrl-C ends it")
        return run_worker(spec, pair)


def _debug() -> bool:
    return os.environ.get("INSTRUMENT_IPC_DEBUG", "") not in {"", "0"}
