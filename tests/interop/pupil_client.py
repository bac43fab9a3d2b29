"""What the tests with the official client of Pupil Core share."""

from __future__ import annotations

import time

import pytest
from pupil_labs.pupil_core_network_client import Message, Subscription

LIMIT_MS = 20_000


def next_of(subscription: Subscription, topic: str) -> Message:
    """Return the next message of a topic; the client's own subscription gives None when the time is up."""
    deadline = time.monotonic() + LIMIT_MS / 1000
    while time.monotonic() < deadline:
        message = subscription.recv_new_message(timeout_ms=LIMIT_MS)
        if message and message.topic == topic:
            return message
    pytest.fail(f"no {topic} within {LIMIT_MS} ms")
