"""Where ``physiology_server`` logs: into a file of its own; warnings to standard error too, and all of it if asked."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from labwire.cli.server_flags import PROGRAM
from labwire.cli.vitals_line import show_line
from labwire.errors import ResourceError

_KEPT = 20
_BRIEF = f"{PROGRAM}: %(message)s"
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@contextmanager
def logging_to(folder: Path, *, debug: bool, stderr: bool) -> Generator[Path]:
    """Log what labwire says into a new file while the block runs; gives its path.

    Args:
        folder: Where log files are; the oldest beyond twenty are removed.
        debug: Log what debugging needs.
        stderr: Log all of it to standard error as well; False: only what a person must know.

    Raises:
        ResourceError: There is no place for a log file.
    """
    path = folder / f"{PROGRAM}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_oldest(folder)
        handlers: list[logging.Handler] = [logging.FileHandler(path, encoding="utf-8")]
    except OSError as error:
        raise ResourceError(
            f"no log file can be written to {folder}: {error.strerror}; the environment variable XDG_STATE_HOME names "
            "another place",
            path=str(path),
        ) from error
    terminal = _TerminalHandler()
    if not stderr:
        terminal.setLevel(logging.WARNING)
    handlers.append(terminal)
    logger = logging.getLogger("labwire")
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    logger.propagate = False
    for handler in handlers:
        handler.setFormatter(logging.Formatter(_BRIEF if handler is terminal and not stderr else _FORMAT))
        logger.addHandler(handler)
    try:
        yield path
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()
        logger.setLevel(level)
        logger.propagate = propagate


class _TerminalHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            if sys.stderr.isatty():
                show_line("")
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            pass  # nobody is there to read it; the file has it


def _remove_oldest(folder: Path) -> None:
    for path in sorted(folder.glob(f"{PROGRAM}-*.log"))[: 1 - _KEPT]:
        path.unlink(missing_ok=True)
