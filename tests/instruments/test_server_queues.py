"""The server over each kind of queue and with each profile.

POSIX queues are mostly forbidden here; `test_posix_mq` runs the same where they are not.
"""

from __future__ import annotations

import pytest

from labwire.errors import ResourceError
from tests.instruments.everything import everything_once


@pytest.mark.parametrize("queue", ["socket", "boost", "posix"])
@pytest.mark.parametrize("profile", ["spec", "native", "iss"])
def test_everything_once(queue: str, profile: str) -> None:
    pytest.importorskip("numpy")
    try:
        everything_once(queue, profile)
    except ResourceError as error:
        pytest.skip(str(error))
