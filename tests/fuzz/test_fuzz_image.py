"""A moment of fuzzing the reader of image messages in every run, more under ``scripts/test --soak``."""

from __future__ import annotations

from tests.fuzz.fuzzing import Fuzzing
from tests.wire.image_golden import BYTES


def test_nothing_breaks_the_reader_of_image_messages(fuzz: Fuzzing) -> None:
    inputs = {str(number): data for number, data in enumerate(BYTES.values())}
    fuzz.run("fuzz_image", inputs, runs=30_000, soak_runs=3_000_000, max_bytes=4096)
