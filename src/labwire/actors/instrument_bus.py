"""What instruments put on the bus: results that may be dropped, and blocks that wait for room."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from labwire.bounded import BoundedQueue
from labwire.bus.publisher import Publisher
from labwire.errors import DeadlineError, StateError
from labwire.instruments.calling.dispatch import Outcome
from labwire.instruments.recording import is_array
from labwire.names import INSTRUMENT
from labwire.wire.bus_message import Part

DEPTH = 10_000
DEPTH_BYTES = 128 << 20
_BATCH_S = 0.005
"""The feed looks so often, instead of being woken by each result: commands must not pay for the bus."""
_RETRY_S = 0.01


class InstrumentBus:
    """Publishes results on a thread of its own, in their order.

    Args:
        publisher: Where to.
        rig_time_at: Gives rig time for a moment on the monotonic clock.
        on_fault: Called with what goes wrong with a result.
    """

    def __init__(
        self, publisher: Publisher, rig_time_at: Callable[[float], float], on_fault: Callable[[Exception], None]
    ) -> None:
        self._publisher, self._rig_time_at, self._on_fault = publisher, rig_time_at, on_fault
        self._queue: BoundedQueue[Outcome] = BoundedQueue(DEPTH, "drop_new", depth_bytes=DEPTH_BYTES, size_of=_size_of)
        self.dropped: Counter[str] = Counter()
        """Results that did not get onto the bus, by instrument."""
        self._block_numbers: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run, name="results onto the bus")

    def start(self) -> None:
        """Publish from now on."""
        self._thread.start()

    def put(self, outcome: Outcome) -> None:
        """Take a result, from any thread; never waits. What there is no room for is counted."""
        if not self._queue.put(outcome):
            self.dropped[outcome.command.instrument_name] += 1

    def put_block(self, outcome: Outcome, cancelled: Callable[[], bool]) -> None:
        """Publish a block now; wait until the bus takes it, which holds the instrument up."""
        name = outcome.command.instrument_name
        topic = f"{INSTRUMENT}{name}.block"
        payload, raw = self._message(outcome, topic)
        # Not `publish_numbered`: that would count each try, and the tries would look like gaps.
        payload |= {"block": outcome.block, "seq": self._block_numbers[topic], "emitter": self._publisher.name}
        while not self._publisher.publish(topic, payload, raw):
            if cancelled() or self._queue.closed:
                self.dropped[name] += 1
                return
            time.sleep(_RETRY_S)
        self._block_numbers[topic] += 1

    def close(self) -> None:
        """Publish what is left, and end. Safe to call twice."""
        self._queue.close()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                outcome = self._queue.get(0)
            except DeadlineError:
                time.sleep(_BATCH_S)
                continue
            except StateError:
                return
            try:
                self._publish(outcome)
            except Exception as error:  # one result that cannot be sent must not end the feed
                self.dropped[outcome.command.instrument_name] += 1
                self._on_fault(error)

    def _publish(self, outcome: Outcome) -> None:
        name = outcome.command.instrument_name
        topic = f"{INSTRUMENT}{name}.result"
        payload, raw = self._message(outcome, topic)
        if not self._publisher.publish_numbered(topic, payload, raw):
            self.dropped[name] += 1

    def _message(self, outcome: Outcome, topic: str) -> tuple[dict[str, Any], list[Part]]:
        command, response, value = outcome.command, outcome.response, outcome.value
        payload: dict[str, Any] = {
            "topic": topic,
            "command_id": command.id,
            "instrument": command.instrument_name,
            "verb": command.verb,
            "params": command.params,
            "success": outcome.error is None,
            "timestamp": self._rig_time_at(outcome.done_s),
            "duration_s": outcome.duration_s,
        }
        if response is not None and response.text_response:
            payload["text"] = response.text_response
        if outcome.error is not None:
            payload |= {"error": outcome.error.message, "error_type": type(outcome.error).__name__}
        if is_array(value):
            payload |= {"dtype": value.dtype.str, "shape": list(value.shape)}
            return payload, [memoryview(value.reshape(-1)).cast("B") if value.size else b""]
        payload["value"] = value
        return payload, []


def _size_of(outcome: Outcome) -> int:
    return 200 + (outcome.value.nbytes if is_array(outcome.value) else 0)
