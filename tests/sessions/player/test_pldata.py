from __future__ import annotations

from pathlib import Path

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.sessions.player.pldata import encode_record_head, encode_topic, read_records
from labwire.sessions.player.pldata_repair import repair_pldata
from labwire.wire.bus_message import encode_payload
from tests.sessions.strict_player import load_data


@pytest.mark.parametrize("size", [0, 1, 31, 32, 255, 256, 65535, 65536])
def test_records_are_what_the_reference_encoder_makes(size: int) -> None:
    topic, payload = "t" * size, b"p" * size
    assert encode_topic(topic.encode()) + encode_record_head(size) + payload == msgpack.packb(
        [topic, payload], use_bin_type=True
    )


def record(topic: str, timestamp: float, size: int = 0) -> bytes:
    payload = encode_payload({"timestamp": timestamp, "x": "y" * size})
    return encode_topic(topic.encode()) + encode_record_head(len(payload)) + payload


RECORDS = [record("pupil.0", 0.5), record("pupil.1" * 20, 1.5, 300), record("pupil" * 100, 2.5, 70_000), record("p", 3)]


def test_records_are_read_back() -> None:
    found = list(read_records(b"".join(RECORDS)))
    assert [one.timestamp for one in found] == [0.5, 1.5, 2.5, 3.0]
    assert found[-1].end == sum(map(len, RECORDS))


@given(cut=st.integers(0, sum(map(len, RECORDS))))
def test_a_file_cut_anywhere_opens_after_repair(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("data")
    path = folder / "pupil.pldata"
    path.write_bytes(b"".join(RECORDS)[:cut])
    whole = sum(sum(map(len, RECORDS[: n + 1])) <= cut for n in range(len(RECORDS)))

    repaired = repair_pldata(path)

    assert repaired.count == whole
    assert repaired.wrote_timestamps
    assert [timestamp for _, _, timestamp in load_data(folder, "pupil")] == [0.5, 1.5, 2.5, 3.0][:whole]
    assert path.read_bytes() == b"".join(RECORDS[:whole])
    again = repair_pldata(path)
    assert (again.count, again.torn_bytes, again.wrote_timestamps) == (whole, 0, False)
    assert len(list(folder.iterdir())) == 2


@given(rubbish=st.binary(max_size=300))
def test_rubbish_at_the_end_is_cut(tmp_path_factory: pytest.TempPathFactory, rubbish: bytes) -> None:
    folder = tmp_path_factory.mktemp("data")
    path = folder / "pupil.pldata"
    path.write_bytes(RECORDS[0] * 2 + b"\0" + rubbish)  # as a power failure may leave it
    assert repair_pldata(path).count == 2
    assert len(load_data(folder, "pupil")) == 2


def test_a_datum_without_a_timestamp_ends_the_whole_part(tmp_path: Path) -> None:
    payload = encode_payload({"x": 1})
    path = tmp_path / "a.pldata"
    path.write_bytes(RECORDS[0] + encode_topic(b"a") + encode_record_head(len(payload)) + payload)
    assert repair_pldata(path).count == 1
    assert len(load_data(tmp_path, "a")) == 1


def test_timestamps_that_disagree_are_replaced(tmp_path: Path) -> None:
    import numpy as np

    path = tmp_path / "a.pldata"
    path.write_bytes(RECORDS[0] * 3)
    np.save(tmp_path / "a_timestamps.npy", np.zeros(50))
    with pytest.raises(ValueError, match="3 data, 50 timestamps"):
        load_data(tmp_path, "a")
    assert repair_pldata(path).wrote_timestamps
    assert len(load_data(tmp_path, "a")) == 3


def test_a_cancelled_repair_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.pldata"
    path.write_bytes(RECORDS[0] * 3 + b"torn")

    def cancel(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        repair_pldata(path, cancel)
    assert path.read_bytes().endswith(b"torn")
    assert [one.name for one in tmp_path.iterdir()] == ["a.pldata"]
