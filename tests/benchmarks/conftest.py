"""Benchmarks from end to end take longer than other tests, most of all beside others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.quick import LIMIT_S


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give those of this folder the time that one run of a benchmark may take, and some more."""
    for item in items:
        here = item.path.parent == Path(__file__).parent
        if here and not any(map(item.get_closest_marker, ("timeout", "soak"))):
            item.add_marker(pytest.mark.timeout(LIMIT_S + 60))
