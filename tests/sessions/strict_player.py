"""A reader of Pupil Player's format that knows nothing of labwire, strict where the real Player is.

Its rules were taken from the real Player's behaviour: an info file with floats, data and timestamps of equal length,
timestamps from the data where they are missing, and every video with timestamps.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import av
import msgpack
import numpy as np

TEXTS = ("recording_software_name", "recording_software_version", "recording_name", "system_info")
FLOATS = ("start_time_system_s", "start_time_synced_s", "duration_s")


def load_info(folder: Path) -> dict[str, Any]:
    info = json.loads((folder / "info.player.json").read_text())
    assert info["meta_version"] == "2.3"
    assert info["min_player_version"] == "2.0"
    assert set(info) == {"meta_version", "min_player_version", "recording_uuid", *TEXTS, *FLOATS}
    uuid.UUID(info["recording_uuid"])
    for key in FLOATS:
        assert type(info[key]) is float, key
    for key in TEXTS:
        assert type(info[key]) is str, key
    return info


def load_data(folder: Path, name: str) -> list[tuple[str, dict[str, Any], float]]:
    """Return (topic, datum, timestamp) of a .pldata file; raises as the Player does where they disagree."""
    topics: list[str] = []
    data: list[dict[str, Any]] = []
    with (folder / f"{name}.pldata").open("rb") as file:
        for topic, payload in msgpack.Unpacker(file, raw=False, strict_map_key=False):
            topics.append(topic)
            data.append(msgpack.unpackb(payload, raw=False, strict_map_key=False))
    try:
        timestamps = list(np.load(folder / f"{name}_timestamps.npy"))
    except FileNotFoundError:
        timestamps = [datum["timestamp"] for datum in data]
    if len(timestamps) != len(data):
        raise ValueError(f"{name}: {len(data)} data, {len(timestamps)} timestamps")
    return list(zip(topics, data, timestamps, strict=True))


def load_video(folder: Path, name: str) -> tuple[list[int], list[float]]:
    """Return pts and timestamps of a video whose every picture is decoded."""
    with av.open(str(folder / f"{name}.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        assert stream.time_base.denominator == 65535
        pts = [frame.pts for frame in container.decode(stream)]
    timestamps = np.load(folder / f"{name}_timestamps.npy")
    assert timestamps.dtype == np.float64
    return [one for one in pts if one is not None], list(timestamps)


def check_folder(folder: Path) -> None:
    """Open everything that the Player would open."""
    load_info(folder)
    for path in folder.glob("*.pldata"):
        load_data(folder, path.stem)
    for path in folder.glob("*.mp4"):
        pts, timestamps = load_video(folder, path.stem)
        assert len(pts) == len(timestamps)
        assert pts == sorted(set(pts))
