"""What a writer tells, for the tests."""

from __future__ import annotations

from typing import Any

from labwire.testing.waiting import wait_until


class Told(list[tuple[str, dict[str, Any]]]):
    """What a writer tells."""

    def hear(self, kind: str, data: dict[str, Any]) -> None:
        self.append((kind, data))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [data for told, data in self if told == kind]

    def wait(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait till so many of a kind were told."""
        wait_until(lambda: len(self.of(kind)) >= count, f"{count} x {kind}")
        return self.of(kind)
