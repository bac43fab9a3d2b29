"""The signals that ask a process to end: Ctrl-C, SIGTERM, and the terminal that closes."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from typing import Any

HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)
"""The terminal was closed. Windows has no such signal."""
ASKED_TO_END = (signal.SIGTERM, *((HANGUP,) if HANGUP else ()))
"""What others send; Ctrl-C, SIGINT, comes from the person at the keyboard."""


@contextlib.contextmanager
def told_to_end(
    told: Callable[[signal.Signals], None], numbers: Sequence[signal.Signals] = (signal.SIGINT, *ASKED_TO_END)
) -> Generator[None]:
    """Within the block, have a function called for each signal that asks to end, instead of ending.

    A hang-up that this process was started to ignore stays ignored: that is what ``nohup`` is for. One closed terminal
    may send more than one hang-up, the system's and the shell's. On a thread other than the main one, nothing changes.

    Args:
        told: Called on the main thread, between any two of its steps, with the signal.
        numbers: Signals to take.
    """
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            if number != HANGUP or signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, lambda got, _: told(signal.Signals(got)))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
