"""A warning that may come by the thousand: the first is logged, then the second, fourth, eighth..., with the count."""

from __future__ import annotations

import logging


class SparseLog:
    """Logs ever fewer of many warnings of a kind, and counts them all."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self.count = 0

    def warning(self, text: str, *args: object) -> None:
        """Count a warning, and log it if its number is a power of two."""
        self.count += 1
        if self.count & (self.count - 1) == 0:
            tail = f" (number {self.count} of its kind)" if self.count > 1 else ""
            self._log.warning(text + tail, *args)
