from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from labwire.errors import DeviceError, ProtocolError, StateError
from labwire.sessions.file_names import FileNames
from labwire.sessions.player.player_format import PlayerFolder
from labwire.wire.bus_message import encode_payload, peek_header
from tests.sessions.making import START, datum, jpeg, open_fds, picture_parts, received, session_in
from tests.sessions.strict_player import check_folder, load_data, load_info


@pytest.fixture
def player(tmp_path: Path) -> Iterator[PlayerFolder]:
    player = PlayerFolder(FileNames())
    player.prepare(session_in(tmp_path))
    player.start()
    yield player
    player.stop()


def put(player: PlayerFolder, parts: list[bytes]) -> None:
    try:
        header = peek_header(parts[1]) if len(parts) > 1 else None
    except ProtocolError:
        header = None
    player.append(received(parts, header=header))


def test_the_folder_opens_from_the_first_second(player: PlayerFolder, tmp_path: Path) -> None:
    info = load_info(tmp_path)
    assert (info["start_time_synced_s"], info["start_time_system_s"]) == (1000.0, 1_700_000_000.0)
    assert (info["recording_uuid"], info["recording_name"], info["duration_s"]) == (START.uuid, "pilot", 0.0)
    text = (tmp_path / "info.player.json").read_text()
    assert text.startswith('{\n    "duration_s"')
    check_folder(tmp_path)
    assert load_data(tmp_path, "notify") == []
    put(player, datum("pupil.0", 1.5))
    player.flush()
    assert not list(tmp_path.glob("*_timestamps.npy"))
    assert len(load_data(tmp_path, "pupil")) == 1


def test_data_stand_by_first_topic_part(player: PlayerFolder, tmp_path: Path) -> None:
    topics = ["pupil.0.2d", "pupil.1.3d", "gaze.3d.01.", "annotation", "notify.recording.started", "pupil.0.2d"]
    for number, topic in enumerate(topics):
        put(player, datum(topic, number + 0.25, value=number, nested={"list": [1, 2.5, None]}))
    counters = player.stop()
    assert counters.written == counters.received == 6
    found = load_data(tmp_path, "pupil")
    assert [(topic, stamp) for topic, _, stamp in found] == [
        ("pupil.0.2d", 0.25),
        ("pupil.1.3d", 1.25),
        ("pupil.0.2d", 5.25),
    ]
    assert found[0][1] == {"topic": "pupil.0.2d", "timestamp": 0.25, "value": 0, "nested": {"list": [1, 2.5, None]}}
    assert {path.name for path in tmp_path.glob("*.pldata")} == {
        f"{name}.pldata" for name in ("pupil", "gaze", "annotation", "notify")
    }
    assert set(player.describe().files) == {path.name for path in tmp_path.iterdir()} - {
        path.name for path in tmp_path.glob("*.npy")
    }
    check_folder(tmp_path)


def test_only_messages_with_a_timestamp_are_data(player: PlayerFolder, tmp_path: Path) -> None:
    payloads: list[dict[Any, Any]] = [
        {"subject": "no timestamp"},
        {"timestamp": "12.5"},
        {"timestamp": None},
        {"timestamp": True},
        {"timestamp": float("nan")},
        {"timestamp": float("inf")},
    ]
    for payload in payloads:
        put(player, [b"notify.x", encode_payload(payload)])
    put(player, [b"notify.x"])
    put(player, [b"notify.x", b"\xc1"])
    put(player, [b"notify.x", b""])
    put(player, picture_parts("frame.world", 1.0, jpeg()))
    assert player.stop().written == 0
    assert load_data(tmp_path, "notify") == []
    assert [path.name for path in tmp_path.glob("*.pldata")] == ["notify.pldata"]


def test_timestamps_may_be_whole_numbers_and_keys_integers(player: PlayerFolder, tmp_path: Path) -> None:
    put(player, [b"a", encode_payload({"timestamp": 3})])
    put(player, [b"a", bytes(msgpack.packb({1: 2, "timestamp": 4.5}) or b"")])
    player.stop()
    assert [stamp for _, _, stamp in load_data(tmp_path, "a")] == [3.0, 4.5]


def test_a_topic_called_like_a_video_does_not_take_its_timestamps(player: PlayerFolder, tmp_path: Path) -> None:
    put(player, datum("world.x", 1.0))
    put(player, datum("eye0", 1.0))
    player.stop()
    assert {path.name for path in tmp_path.glob("*.pldata")} == {"world_2.pldata", "eye0_2.pldata", "notify.pldata"}


def test_topics_that_are_no_file_names(player: PlayerFolder, tmp_path: Path) -> None:
    for topic in ("../../etc/x", ".hidden", "", "a b/c", "ü", "con", "x" * 1000):
        put(player, datum(topic, 1.0))
    put(player, [b"\xff\xfe", encode_payload({"timestamp": 1.0})])
    counters = player.stop()
    assert (counters.written, counters.malformed) == (7, 1)
    assert all(path.parent == tmp_path for path in tmp_path.rglob("*"))
    check_folder(tmp_path)


def test_a_flood_of_kinds_of_data_is_bounded(player: PlayerFolder, tmp_path: Path) -> None:
    before = len(open_fds())
    for number in range(200):
        put(player, datum(f"kind{number}.x", 1.0))
    assert len(open_fds()) - before < 140
    counters = player.stop()
    assert (counters.written, counters.dropped) == (63, 137)
    assert "in the log only" in player.reasons["dropped"]
    check_folder(tmp_path)


def test_the_duration_is_written(player: PlayerFolder, tmp_path: Path) -> None:
    player.write_duration(12)
    assert load_info(tmp_path)["duration_s"] == 12.0


def test_user_info_has_the_name(tmp_path: Path) -> None:
    session = session_in(tmp_path)
    player = PlayerFolder(FileNames())
    player.prepare(type(session)(session.path, "a, b", *[getattr(session, f) for f in session.__struct_fields__[2:]]))
    player.stop()
    assert (tmp_path / "user_info.csv").read_text() == "name,a\\, b\n"


def test_a_full_disk_leaves_whole_files(player: PlayerFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(player, datum("pupil.0", 1.0))
    player.flush()
    for number in range(50):
        put(player, datum("pupil.0", number + 0.5))
    real, room = os.write, 40

    def write(fd: int, data: bytes) -> int:
        nonlocal room
        if room <= 0:
            raise OSError(28, "No space left on device")
        written = real(fd, data[:room])
        room -= written
        return written

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="space"):
        player.flush()
    assert len(load_data(tmp_path, "pupil")) == 1
    with pytest.raises(DeviceError, match="repair"):
        player.stop()
    assert len(load_data(tmp_path, "pupil")) == 1
    check_folder(tmp_path)


def test_after_a_full_disk_nothing_is_lost_once_there_is_room(
    player: PlayerFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    for number in range(50):
        put(player, datum("pupil.0", number + 0.5))
    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="space"):
        player.flush()
    monkeypatch.undo()
    player.stop()
    assert len(load_data(tmp_path, "pupil")) == 50


def test_wrong_moments(tmp_path: Path) -> None:
    player = PlayerFolder(FileNames())
    before = open_fds()
    with pytest.raises(StateError):
        player.start()
    player.prepare(session_in(tmp_path))
    with pytest.raises(StateError):
        player.prepare(session_in(tmp_path))
    put(player, datum("a", 1.0))  # not started
    player.stop()
    player.stop()
    with pytest.raises(DeviceError):
        PlayerFolder(FileNames()).prepare(session_in(tmp_path / "not there"))
    assert open_fds() == before
    assert not (tmp_path / "a.pldata").exists()
