"""Ask the time service of a clock master how far its clock is from ours."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from labwire.clock_offset import ClockOffset, measure_offset
from labwire.errors import DeadlineError, PeerGoneError
from labwire.wire.time_sync import ANSWER_BYTES, SYNC, decode_time

ROUND_TRIPS = 60
"""As many as Pupil Core asks on one connection."""
TIMEOUT_S = 1.0


def ask_master(
    host: str, port: int, *, count: int = ROUND_TRIPS, monotonic: Callable[[], float] = time.monotonic
) -> ClockOffset:
    """Measure a master's clock minus the monotonic clock here.

    Args:
        host: Address of the master.
        port: TCP port of its time service.
        count: How often to ask.
        monotonic: Reads this computer's clock.

    Raises:
        PeerGoneError: It is not there, or it went away.
        DeadlineError: It does not answer within a second.
        ProtocolError: It answers something else.
    """
    try:
        with socket.create_connection((host, port), TIMEOUT_S) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return measure_offset(lambda: _ask(connection), count, monotonic)
    except TimeoutError as error:
        raise DeadlineError(f"the clock master at {host}:{port} does not answer within {TIMEOUT_S:g} s") from error
    except OSError as error:
        raise PeerGoneError(f"the clock master at {host}:{port} is gone: {error.strerror or error}") from error


def _ask(connection: socket.socket) -> float:
    connection.sendall(SYNC)
    answer = b""
    while len(answer) < ANSWER_BYTES:
        data = connection.recv(ANSWER_BYTES - len(answer))
        if not data:
            raise ConnectionResetError("it closed the connection")
        answer += data
    return decode_time(answer)
