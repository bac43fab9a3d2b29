"""Whatever a disk does to a session, those who read it find what is left, or say what is wrong; nothing else."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from labwire.errors import LabwireError
from labwire.sessions.check.verify import verify_session
from labwire.sessions.reading.session_reader import open_session
from labwire.sessions.replay.replay_source import open_source

VECTOR = Path(__file__).parents[1] / "vectors" / "session-1"
FILES = ("bus.mcap", "world.mp4", "pupil.pldata", "world_timestamps.npy", "pupil_timestamps.npy", "session.json")


def damage(folder: Path, dice: random.Random) -> None:
    """Change a byte, cut a file off, or put something into it; the log most often."""
    for _ in range(dice.choice((1, 1, 2, 8))):
        path = folder / dice.choice(("bus.mcap",) * 5 + FILES)
        data = bytearray(path.read_bytes())
        at = dice.randrange(len(data) or 1)
        match dice.randrange(3):
            case 0 if data:
                data[at] = dice.randrange(256)
            case 1:
                del data[at:]
            case _:
                data[at:at] = dice.randbytes(dice.randrange(1, 40))
        path.write_bytes(data)


def replay(folder: Path) -> None:
    source = open_source(folder)
    try:
        for _ in source.messages(0.0):
            pass
    finally:
        source.close()


def read(folder: Path) -> None:
    with open_session(folder) as session:
        for topic in session:
            assert all("time_s" in row for row in session[topic].rows())
        for pictures in session.pictures.values():
            assert len([picture.jpeg for picture in pictures]) == len(pictures)
        assert session._repr_html_()


def test_damaged_sessions_are_read_or_refused(tmp_path: Path, seed: int, soak: Callable[[int, int], int]) -> None:
    dice = random.Random(seed)
    for turn in range(soak(40, 1500)):
        folder = Path(shutil.copytree(VECTOR, tmp_path / str(turn)))
        damage(folder, dice)
        verify_session(folder, keep=False)
        for look in (replay, read):
            with suppress(LabwireError):
                look(folder)
        shutil.rmtree(folder)
