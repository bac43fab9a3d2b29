from __future__ import annotations

import threading

from labwire.sessions.record.message_queue import MessageQueue
from labwire.sessions.sink import ClockChange

CHANGE = ClockChange(0.0, 5.0, 3.0)


def test_messages_come_out_in_order_with_clock_changes_in_their_place() -> None:
    queue = MessageQueue(max_messages=10, max_bytes=1000)
    assert queue.put([b"a", b"1"], 1.0)
    queue.put_clock_change(CHANGE)
    assert queue.put([b"b"], 4.0)
    assert queue.waiting == 3
    assert queue.take_all() == [([b"a", b"1"], 1.0), (CHANGE, 3.0), ([b"b"], 4.0)]
    assert queue.waiting == 0


def test_what_does_not_fit_is_refused_and_counted() -> None:
    queue = MessageQueue(max_messages=3, max_bytes=10)
    assert [queue.put([b"x" * size], 0.0) for size in (4, 4, 4, 2, 0)] == [True, True, False, True, False]
    assert queue.refused == 2
    queue.put_clock_change(CHANGE)  # there is always room for it
    assert len(queue.take_all()) == 4
    assert queue.put([b"x" * 10], 0.0)


def test_one_message_above_the_bound_is_taken_by_an_empty_queue() -> None:
    queue = MessageQueue(max_messages=3, max_bytes=10)
    assert queue.put([b"x" * 100], 0.0)
    assert not queue.put([b"x"], 0.0)


def test_a_closed_queue_is_drained_and_then_ends() -> None:
    queue = MessageQueue(max_messages=3, max_bytes=10)
    queue.put([b"a"], 0.0)
    queue.close()
    assert not queue.put([b"b"], 0.0)
    assert queue.refused == 0
    assert len(queue.take_all()) == 1
    assert queue.take_all() == []
    queue.linger(60)  # returns at once


def test_many_producers_lose_nothing() -> None:
    queue = MessageQueue(max_messages=100_000, max_bytes=1 << 20)
    taken: list[bytes] = []

    def produce(name: bytes) -> None:
        for number in range(2000):
            assert queue.put([name, b"%d" % number], 0.0)

    def consume() -> None:
        while items := queue.take_all():
            taken.extend(b" ".join(parts) for parts, _ in items if not isinstance(parts, ClockChange))
            queue.linger(0.001)

    consumer = threading.Thread(target=consume)
    consumer.start()
    producers = [threading.Thread(target=produce, args=(name,)) for name in (b"a", b"b", b"c")]
    for producer in producers:
        producer.start()
    for producer in producers:
        producer.join()
    queue.close()
    consumer.join()
    for name in (b"a", b"b", b"c"):
        assert [text for text in taken if text.startswith(name)] == [b"%s %d" % (name, n) for n in range(2000)]
    assert len(taken) == 6000


def test_a_queue_that_fills_hurries_the_writer() -> None:
    queue = MessageQueue(max_messages=16, max_bytes=1000)
    for _ in range(4):
        queue.put([b"a"], 0.0)
    queue.linger(60)  # returns at once: an eighth is taken
