from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from labwire.sessions.player import timestamps
from labwire.sessions.player.timestamps import TimestampFile, encode_header, header_count, read_timestamps


@pytest.mark.parametrize("count", [0, 1, 7, 123_456_789])
def test_the_header_is_numpys_own(count: int, tmp_path: Path) -> None:
    array = np.lib.format.open_memmap(tmp_path / "a.npy", mode="w+", dtype="<f8", shape=(min(count, 9),))
    del array
    assert encode_header(min(count, 9)) == (tmp_path / "a.npy").read_bytes()[:128]
    assert len(encode_header(count)) == 128


def test_a_ready_file_is_valid_at_every_moment(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    file = TimestampFile(path, ready=True)
    assert np.load(path).shape == (0,)
    for number in range(5):
        file.append(number / 3)
    file.flush()
    assert np.load(path).shape == (0,)
    file.write_count()
    assert np.load(path).tolist() == [number / 3 for number in range(5)]
    file.append(9.0)
    file.close()
    assert np.load(path).tolist()[-1] == 9.0
    assert header_count(path) == 6


def test_a_file_that_must_not_be_seen_early_appears_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    file = TimestampFile(path, ready=False)
    file.append(1.5)
    file.flush()
    assert not path.exists()
    file.close()
    assert np.load(path).tolist() == [1.5]
    assert [one.name for one in tmp_path.iterdir()] == ["a.npy"]


def test_an_abandoned_file_leaves_nothing(tmp_path: Path) -> None:
    file = TimestampFile(tmp_path / "a.npy", ready=False)
    file.append(1.5)
    file.abandon()
    file.abandon()
    assert list(tmp_path.iterdir()) == []


def test_items_behind_a_stale_header_are_found(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.array([1.0, 2.0, 3.0]))
    assert header_count(path) == 3
    path.write_bytes(encode_header(1) + path.read_bytes()[128:] + b"torn")
    assert header_count(path) is None
    assert list(read_timestamps(path)) == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"x" * 200, b"\x93NUMPY\x01\x00" + b" " * 200])
def test_another_file_is_no_timestamps(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    assert header_count(path) is None
    with pytest.raises(ValueError, match="array of float64"):
        read_timestamps(path)


def test_both_byte_orders_write_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from array import array

    assert timestamps._little_endian(array("d", [1.0])) == np.array([1.0], "<f8").tobytes()
