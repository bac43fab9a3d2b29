from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.bounded import POLICIES, BoundedQueue, Policy
from labwire.errors import DeadlineError, QueueFullError, StateError, UsageError


def test_items_come_out_in_the_order_they_went_in() -> None:
    queue = BoundedQueue[int](10, "fail")
    for item in range(10):
        assert queue.put(item)
    assert [queue.get(0) for _ in range(10)] == list(range(10))


def test_drop_old_keeps_the_newest() -> None:
    queue = BoundedQueue[int](3, "drop_old")
    assert [queue.put(item) for item in range(5)] == [True, True, True, False, False]
    queue.close()
    assert list(queue) == [2, 3, 4]
    assert queue.statistics().dropped == 2


def test_drop_new_keeps_the_oldest() -> None:
    queue = BoundedQueue[int](3, "drop_new")
    assert [queue.put(item) for item in range(5)] == [True, True, True, False, False]
    queue.close()
    assert list(queue) == [0, 1, 2]
    assert queue.statistics().dropped == 2


def test_fail_raises_and_counts_nothing_as_dropped() -> None:
    queue = BoundedQueue[int](1, "fail")
    queue.put(0)
    with pytest.raises(QueueFullError, match="1 items"):
        queue.put(1)
    assert (queue.get(), queue.statistics().received, queue.statistics().dropped) == (0, 1, 0)


def test_conflate_keeps_the_newest_of_each_key_in_the_place_of_the_first() -> None:
    queue = BoundedQueue[str](10, "conflate", key_of=lambda item: item[0])
    for item in ("a1", "b1", "a2", "a3"):
        queue.put(item)
    queue.close()
    assert list(queue) == ["a3", "b1"]
    assert queue.statistics().dropped == 2


def test_conflate_without_keys_holds_one_item() -> None:
    queue = BoundedQueue[int](10, "conflate")
    assert [queue.put(item) for item in range(3)] == [True, False, False]
    queue.close()
    assert list(queue) == [2]


def test_conflate_is_bounded_in_its_keys() -> None:
    queue = BoundedQueue[int](2, "conflate", key_of=lambda item: item)
    for item in range(5):
        queue.put(item)
    queue.close()
    assert list(queue) == [3, 4]


def test_block_waits_for_room() -> None:
    queue = BoundedQueue[int](1, "block")
    queue.put(0)
    producer = threading.Thread(target=queue.put, args=(1,))
    producer.start()
    assert [queue.get(10), queue.get(10)] == [0, 1]
    producer.join(10)
    assert queue.statistics().dropped == 0


def test_block_gives_up_at_its_deadline_without_taking_the_item() -> None:
    queue = BoundedQueue[int](1, "block")
    queue.put(0)
    with pytest.raises(DeadlineError):
        queue.put(1, timeout_s=0.001)
    queue.close()
    assert list(queue) == [0]


def test_one_big_item_leaves_room_for_several_small_ones_that_wait() -> None:
    queue = BoundedQueue[bytes](10, "block", depth_bytes=10)
    queue.put(bytes(10))
    producers = [threading.Thread(target=queue.put, args=(bytes(5),)) for _ in range(2)]
    for producer in producers:
        producer.start()
    assert len(queue.get(10)) == 10
    for producer in producers:
        producer.join(10)
    assert queue.statistics().used_bytes == 10


def test_bytes_are_bounded_but_one_item_is_always_let_in() -> None:
    queue = BoundedQueue[bytes](10, "drop_old", depth_bytes=100)
    assert queue.put(bytes(1000))
    assert not queue.put(bytes(60))
    assert queue.put(bytes(40))
    assert not queue.put(bytes(1))
    statistics = queue.statistics()
    assert (statistics.used, statistics.used_bytes, statistics.dropped, statistics.dropped_bytes) == (2, 41, 2, 1060)


def test_get_raises_at_its_deadline_and_at_the_end() -> None:
    queue = BoundedQueue[int](1, "fail")
    with pytest.raises(DeadlineError):
        queue.get(0)
    queue.close()
    with pytest.raises(StateError, match="closed"):
        queue.get()


def test_closing_frees_who_waits_and_counts_what_comes_late() -> None:
    queue = BoundedQueue[int](1, "block")
    queue.put(0)
    results: list[bool] = []
    producer = threading.Thread(target=lambda: results.append(queue.put(1)))
    producer.start()
    queue.close()
    producer.join(10)
    assert results == [False]
    assert list(queue) == [0]
    assert queue.statistics().dropped == 1


@pytest.mark.parametrize("make", [lambda: BoundedQueue[int](0, "fail"), lambda: BoundedQueue[int](1, "drop")])  # type: ignore[arg-type]
def test_impossible_queues_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(UsageError):
        make()


@given(
    policy=st.sampled_from([policy for policy in POLICIES if policy != "block"]),
    depth=st.integers(1, 5),
    depth_bytes=st.none() | st.integers(1, 20),
    steps=st.lists(st.none() | st.binary(max_size=12), max_size=40),
)
def test_every_item_is_delivered_dropped_or_inside(
    policy: Policy, depth: int, depth_bytes: int | None, steps: list[bytes | None]
) -> None:
    queue = BoundedQueue[bytes](depth, policy, depth_bytes=depth_bytes)
    for step in steps:
        try:
            queue.get(0) if step is None else queue.put(step)
        except (DeadlineError, QueueFullError):
            pass
        s = queue.statistics()
        assert s.received == s.delivered + s.dropped + s.used
        assert s.used <= depth
        assert depth_bytes is None or s.used <= 1 or s.used_bytes <= depth_bytes
