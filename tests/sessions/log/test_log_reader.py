"""A log gives back what was recorded, whole or cut off anywhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from labwire.errors import NotFoundError, ProtocolError
from labwire.operations.recordable import SessionStart
from labwire.sessions.log import bus_log
from labwire.sessions.log.bus_log import BusLog
from labwire.sessions.log.log_reader import LogReader
from tests.sessions.making import START_NS, datum, received, session_in
from tests.sessions.recorded import record_session


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[bytes, ...]]]:
    return record_session(tmp_path_factory.mktemp("log"), raw_in_log=True)


def test_messages_come_back_part_for_part(recorded: tuple[Path, list[tuple[bytes, ...]]]) -> None:
    folder, sent = recorded
    with LogReader.open(folder) as log:
        messages = list(log.messages())
        assert log.topics["pupil.0"] == 60
        assert log.check_crc() == 0
    assert [message.parts for message in messages] == sent
    assert [message.is_map for message in messages[-4:]] == [False, False, True, True]
    times = [message.log_time_ns for message in messages]
    assert times == sorted(times)


def test_topics_and_times_can_be_chosen(recorded: tuple[Path, list[tuple[bytes, ...]]]) -> None:
    folder, sent = recorded
    with LogReader.open(folder) as log:
        everything = list(log.messages())
        chosen = list(log.messages(prefixes=["frame.", "raw"]))
        assert [message.parts for message in chosen] == [parts for parts in sent if parts[0][:5] in {b"frame", b"raw"}]
        middle = everything[60].log_time_ns
        early, late = list(log.messages(end_ns=middle)), list(log.messages(start_ns=middle))
    assert early + late == everything
    assert early[-1].log_time_ns < middle <= late[0].log_time_ns


def test_a_log_that_was_cut_off_gives_what_is_whole(
    recorded: tuple[Path, list[tuple[bytes, ...]]], tmp_path: Path
) -> None:
    folder, sent = recorded
    whole = (folder / "bus.mcap").read_bytes()
    for size in range(0, len(whole), 997):
        (tmp_path / "bus.mcap").write_bytes(whole[:size])
        with LogReader.open(tmp_path) as log:
            parts = [message.parts for message in log.messages()]
        assert parts[:-1] == sent[: max(0, len(parts) - 1)]
        assert not parts or parts[-1][:2] == sent[len(parts) - 1][:2], "only raw parts of the last may be missing"


def test_messages_without_a_channel_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labwire.sessions.log.mcap_format.MAX_CHANNELS", 3)
    log, session = BusLog(raw_in_log=True), session_in(tmp_path)
    sent = [
        datum("a", 1.0),
        [b"b", b"\x80"],
        [b"c", b"\x80", b"raw"],
        [b"b", b"\x80", b"raw"],
        [b"d" * 5000],
        datum("a", 2.0),
    ]
    _append(log, session, sent)
    with LogReader.open(tmp_path) as reader:
        assert [message.parts for message in reader.messages()] == [tuple(parts) for parts in sent]
        assert [message.parts for message in reader.messages(prefixes=["b"])] == [tuple(sent[1]), tuple(sent[3])]


def _append(log: BusLog, session: SessionStart, sent: list[list[bytes]]) -> None:
    log.prepare(session)
    log.start()
    for number, parts in enumerate(sent):
        log.append(received(parts, at_s=100.0 + number))
    log.stop()
    assert Path(session.path, bus_log.FILE_NAME).stat().st_size


def test_a_log_of_many_stretches_is_read_from_where_it_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labwire.sessions.log.mcap_writer._FLUSH_BYTES", 300)
    monkeypatch.setattr("labwire.sessions.log.mcap_writer.CHUNK_BYTES", 300)
    log, session = BusLog(), session_in(tmp_path)
    sent = [datum("a", float(number), filling="x" * 50) for number in range(40)]
    _append(log, session, sent)
    with LogReader.open(tmp_path) as reader:
        assert len(reader.stretches) > 5
        late = list(reader.messages(start_ns=START_NS + 30 * 10**9))
        assert [message.parts for message in late] == [tuple(parts) for parts in sent[30:]]
        damaged = bytearray((tmp_path / "bus.mcap").read_bytes())
        damaged[reader.stretches[2].end - 2] ^= 1
    (tmp_path / "bus.mcap").write_bytes(damaged)
    with LogReader.open(tmp_path) as reader:
        assert reader.check_crc() == 1


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        LogReader.open(tmp_path)
    (tmp_path / "bus.mcap").write_bytes(b"something else altogether")
    with pytest.raises(ProtocolError):
        LogReader.open(tmp_path)


def mapped_kb() -> int:
    """Return how much of mapped files counts as this process's memory."""
    status = Path("/proc/self/status")
    found = re.search(r"RssFile:\s+(\d+) kB", status.read_text()) if status.exists() else None
    if found is None:
        pytest.skip("the system does not tell")
    return int(found[1])


def test_a_long_log_does_not_fill_the_memory_while_it_is_read(tmp_path: Path) -> None:
    log, session = BusLog(), session_in(tmp_path)
    _append(log, session, [datum("a", float(number), filling="x" * 100_000) for number in range(400)])
    with LogReader.open(tmp_path) as reader:
        before = mapped_kb()
        most = max(mapped_kb() for _ in reader.messages())
        assert reader.check_crc() == 0
        most = max(most, mapped_kb())
    assert most - before < 20_000, "of 40,000 kB"
