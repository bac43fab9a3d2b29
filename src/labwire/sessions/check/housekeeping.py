"""After a session: check it, then remove what a rule lets go. In a process of its own that gives way to all others.

The work is reading many gigabytes and counting: in the recorder it would cost messages.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import deque
from contextlib import suppress
from pathlib import Path

import msgspec

from labwire.clock import epoch_us
from labwire.errors import LabwireError
from labwire.operations.session_check import Pruned
from labwire.sessions.check.prune import prune_sessions
from labwire.sessions.check.verify import verify_session
from labwire.sessions.config import RetentionConfig

_LOWEST = 19
_MAX_WAITING = 100
_END_WITHIN_S = 5.0


class Kept(msgspec.Struct, frozen=True):
    """What was done after a session."""

    path: str
    whole: bool = False
    lossless: bool = False
    problems: list[str] = []
    removed: list[Pruned] = []
    error: str = ""
    """Why it could not be done; empty if it was."""


def keep_house(folder: Path, root: Path, rule: RetentionConfig) -> Kept:
    """Check a session, and prune all of them."""
    try:
        verified = verify_session(folder)
        rows: list[Pruned] = []
        prune_sessions(root, rule, now_epoch_us=epoch_us(), on_session=rows.append)
    except (LabwireError, OSError) as error:
        return Kept(str(folder), error=str(error))
    removed = [row for row in rows if row.removed]
    return Kept(str(folder), verified.whole, verified.lossless, verified.problems, removed)


class Housekeeper:
    """Does so for one session after the other, each in a process of its own.

    Args:
        root: Of all recordings.
        rule: What may go.
    """

    def __init__(self, root: Path, rule: RetentionConfig) -> None:
        self._root, self._rule = root, rule
        self._waiting: deque[Path] = deque(maxlen=_MAX_WAITING)  # one that falls out stays unverified, and so is kept
        self._process: subprocess.Popen[bytes] | None = None
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - until `close`

    def ended(self, folder: Path) -> None:
        """Hear that a session has ended."""
        self._waiting.append(folder)
        self._start_next()

    def poll(self) -> Kept | None:
        """Return what was done since the last time, None if nothing was; never waits. Call it every second or so."""
        process = self._process
        if process is None or process.poll() is None:
            return None
        self._process = None
        self._output.seek(0)
        output = self._output.read()
        self._start_next()
        with suppress(msgspec.DecodeError):
            return msgspec.json.decode(output, type=Kept)
        return Kept("", error=f"the check after a session ended with status {process.returncode}")

    def _start_next(self) -> None:
        if self._process is None and self._waiting:
            command = [sys.executable, "-m", __name__, str(self._waiting.popleft()), str(self._root)]
            rule = msgspec.json.encode(self._rule).decode()
            self._output.seek(0)
            self._output.truncate()  # a file and no pipe: nobody reads before it has ended
            self._process = subprocess.Popen([*command, rule], stdin=subprocess.DEVNULL, stdout=self._output)

    def close(self) -> None:
        """End; a check that is under way is given up, the session then stays unverified."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_WITHIN_S)
            process.kill()
            process.wait()
        self._output.close()


def main() -> None:
    """Do it for the session, the root and the rule that the command line names; print what was done as JSON."""
    folder, root, rule = sys.argv[1:]
    if hasattr(os, "nice"):
        os.nice(_LOWEST)
    done = keep_house(Path(folder), Path(root), msgspec.json.decode(rule, type=RetentionConfig))
    sys.stdout.write(msgspec.json.encode(done).decode())


if __name__ == "__main__":
    main()
