"""Entry of an actor's process: ``python -m labwire.bus.actor_process``, started by the rig's supervisor.

Standard input is both the order and the lifeline: its first line is the `ActorSpec` as JSON, a line ``stop`` ends the
actor, and the end of the file means that the rig has died. Standard error carries what cannot go over the bus.
"""

from __future__ import annotations

import logging
import os
import select
import sys
import threading
import time

import msgspec

from labwire.bus.actor_runner import ActorRunner, ActorSpec, load_class, run_until_told
from labwire.errors import LabwireError

ORPHAN_LIMIT_S = 17.0
"""How long an actor may take to finish when the rig has died; a living rig would not wait longer either."""
_STDIN = 0


def main() -> int:
    """Run the actor that standard input describes; return the exit status."""
    os.dup2(2, 1)  # what an actor prints must not end up in the rig's own standard output
    spec = msgspec.json.decode(_read_line(), type=ActorSpec)
    logging.getLogger().setLevel(spec.log_level)
    sys.path[:0] = [path for path in spec.python_path if path not in sys.path]
    os.set_blocking(_STDIN, False)
    threading.Thread(target=_outlive_rig, name="lifeline", daemon=True).start()
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


def _outlive_rig() -> None:
    # The actor's loop sees the end of the lifeline too, and ends in good order, unless it hangs in the actor's code.
    lifeline = select.poll()
    lifeline.register(_STDIN, 0)  # the hang-up is told unasked
    lifeline.poll()
    time.sleep(ORPHAN_LIMIT_S)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
