"""Wait for conditions, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable

LIMIT_S = 20.0
"""How long a test waits for something that must happen: long enough for a busy machine."""

_STEP_S = 0.002


def wait_until(condition: Callable[[], object], what: str = "the condition", *, limit_s: float = LIMIT_S) -> None:
    """Wait for a condition that must come true.

    Args:
        condition: Called again and again.
        what: Its name, for the error.
        limit_s: How long to wait.

    Raises:
        AssertionError: It does not come true.
    """
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {limit_s:g} s")
        time.sleep(_STEP_S)
