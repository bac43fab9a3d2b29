"""Workers and their queues need Linux; whoever asks for them elsewhere is told so once, clearly."""

from __future__ import annotations

import sys

from labwire.errors import ResourceError

PLATFORM = "linux"
TEXT = (
    "needs Linux: workers and their queues use its shared memory, futexes and process descriptors. "
    "Run the rig on a Linux computer; `labwire call` and the Python client reach it from any other"
)


def check_linux(what: str) -> None:
    """Check that this is Linux.

    Args:
        what: What needs it.

    Raises:
        ResourceError: It is not.
    """
    if sys.platform != PLATFORM:
        raise ResourceError(f"{what} {TEXT}", platform=sys.platform)
