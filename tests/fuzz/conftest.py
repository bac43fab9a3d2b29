from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz.fuzzing import Fuzzing


@pytest.fixture
def fuzz(tmp_path: Path, seed: int, soak: Callable[[int, int], int]) -> Fuzzing:
    return Fuzzing(tmp_path, seed, soak)
