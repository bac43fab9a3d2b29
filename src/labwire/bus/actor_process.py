"""Entry of an actor's process: ``python -m labwire.bus.actor_process``, started by the rig's supervisor.

Standard input is both the order and the lifeline: its first line is the `ActorSpec` as JSON, a line ``stop`` ends the
actor, and the end of the file means that the rig has died. Standard error carries what cannot go over the bus.
"""

from __future__ import annotations

import logging
import os
import sys

import msgspec

from labwire.bus.actor_runner import ActorRunner, ActorSpec, load_class, run_until_told
from labwire.errors import LabwireError

_STDIN = 0


def main() -> int:
    """Run the actor that standard input describes; return the exit status."""
    os.dup2(2, 1)  # what an actor prints must not end up in the rig's own standard output
    spec = msgspec.json.decode(_read_line(), type=ActorSpec)
    logging.getLogger().setLevel(spec.log_level)
    sys.path[:0] = [path for path in spec.python_path if path not in sys.path]
    os.set_blocking(_STDIN, False)
    try:
        runner = ActorRunner(load_class(spec.actor_class), spec)
        run_until_told(runner, _STDIN)
    except LabwireError as error:
        sys.stderr.write(f"{spec.name}: {error}\n")
        return error.codes.exit_code
    return 0


def _read_line() -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        chunk = os.read(_STDIN, 1)
        if not chunk:
            raise SystemExit(0)  # the rig died before it gave the order
        data += chunk
    return data


if __name__ == "__main__":
    sys.exit(main())
