"""Entry of a worker's process: ``python -m labwire.instruments.worker.process``, started by an instrument server.

Standard input is both the order and the lifeline: its first line is the `WorkerSpec` as JSON, the end of the file means
that the server has died. Standard error carries the log, see `labwire.instruments.worker.log`.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys

import msgspec

from labwire.errors import LabwireError
from labwire.instruments.queues.open import open_pair
from labwire.instruments.worker.limits import apply_limits, drop_privileges
from labwire.instruments.worker.log import log_to_stderr
from labwire.instruments.worker.spec import WorkerSpec
from labwire.instruments.worker.worker import log, run_worker
from labwire.wire.instrument_message import PROFILES

_STDIN = 0


def main() -> int:
    """Run the worker that standard input describes; return the exit status."""
    parent = os.getppid()
    spec = msgspec.json.decode(_read_line(), type=WorkerSpec)
    log_to_stderr(spec.log_level)
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server alone
    signal.signal(signal.SIGTERM, _end)
    sys.path[:0] = [path for path in spec.python_path if path not in sys.path]
    lifeline = _keep_lifeline(spec)
    try:
        with open_pair(spec.queue, spec.name, PROFILES[spec.profile], socket_fd=spec.socket_fd) as pair:
            return run_worker(spec, pair, confine=lambda: confine(spec), lifeline_fd=lifeline, parent_pid=parent)
    except LabwireError as error:
        log.error("%s: %s", spec.name, error)
        return error.codes.exit_code


def confine(spec: WorkerSpec) -> None:
    """Take this process's privileges away and set its limits.

    Raises:
        ResourceError: The system refuses; the message says what.
    """
    drop_privileges()
    apply_limits(spec.limits)


def _end(_number: int, _frame: object) -> None:
    # As an exception, so that what the driver's code holds open is closed and the instrument is left in a safe state.
    raise SystemExit(128 + signal.SIGTERM)


def _keep_lifeline(spec: WorkerSpec) -> int:
    """Take what ties this process to its server out of the reach of a driver, and of what a driver starts."""
    lifeline = os.dup(_STDIN)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, _STDIN)
    os.close(nothing)
    if spec.socket_fd is not None:
        os.set_inheritable(spec.socket_fd, False)
    return lifeline


def _read_line() -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        chunk = os.read(_STDIN, 1)
        if not chunk:
            raise SystemExit(0)  # the server died before it gave the order
        data += chunk
    return data


if __name__ == "__main__":
    sys.exit(main())
