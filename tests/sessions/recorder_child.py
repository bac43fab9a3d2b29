"""A process that records until it is killed, and tells through its output what it has handed to the recorder.

Each line on stdout: the number of the last message, and the monotonic time at which `put` had returned.
"""

from __future__ import annotations

import sys
import time

from labwire.clock import RigClock, monotonic_s
from labwire.sessions.config import RecorderConfig
from labwire.sessions.record.recording import SessionRecorder
from tests.sessions.making import datum, jpeg, picture_parts

_PICTURE_EVERY = 8
_PAUSE_S = 0.0005


def main(root: str) -> None:
    clock = RigClock.create()
    recorder = SessionRecorder(RecorderConfig(root=root, flush_s=0.2), clock)
    print(recorder.start("killed").rec_path, flush=True)
    number = 0
    while True:
        now_s = monotonic_s()
        stamp = clock.at(now_s)
        recorder.put(datum("pupil.0", stamp, number=number, filling="x" * 200), now_s)
        if number % _PICTURE_EVERY == 0:
            recorder.put(picture_parts("frame.world", stamp, jpeg(number % 50)), now_s)
        print(number, now_s, flush=True)
        number += 1
        time.sleep(_PAUSE_S)


if __name__ == "__main__":
    main(sys.argv[1])
