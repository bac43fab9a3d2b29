"""``labwire send`` against a writer that stores nothing."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import zmq

from labwire.cli.main import main
from tests.images.loopback_writer import LoopbackWriter
from tests.ports import lasting_port


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["send", *words])
    return int(str(ended.value.code or 0))


@pytest.fixture
def address() -> str:
    return f"tcp://127.0.0.1:{lasting_port()}"


class Later(threading.Thread):
    """A writer that tries until the stream is there."""

    def __init__(self, address: str, **options: object) -> None:
        super().__init__()
        self._address, self._options = address, options
        self.images: list[int] = []
        self.ended = threading.Event()

    def run(self) -> None:
        while True:
            try:
                writer = LoopbackWriter(self._address, **self._options)  # pyright: ignore[reportArgumentType]
                break
            except ConnectionRefusedError:
                self.ended.wait(0.01)
        with writer:
            while writer.lost is None:
                self.ended.wait(0.01)
            self.images = [number for got in writer.runs.values() for number in got.order]


def test_a_run_is_streamed_and_told(address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "broker.json"
    config.write_text(json.dumps({"tcp_settings": {"addr": address, "nwriters": 2}}))
    writer = Later(address)
    writer.start()
    given = ["--config", str(config), "--images", "12", "--size", "64x32", "--images-per-file", "5", "--json"]
    assert run(*given, "--file-prefix", "test", "--wait-writers", "1", "--run-number", "7") == 0
    writer.join()
    told = json.loads(capsys.readouterr().out)
    assert (told["run_number"], told["images"], told["acknowledged"], told["dropped"]) == (7, 12, 12, 0)
    assert told["errors"] == []
    assert writer.images == list(range(12))


def test_zeromq_without_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    address = f"tcp://127.0.0.1:{lasting_port()}"
    with zmq.Context() as context, context.socket(zmq.PULL) as reader:
        reader.linger = 0
        reader.connect(address)
        given = ["--listen", f"zmq+{address}", "--images", "3", "--size", "64x32", "--file-prefix", "test"]
        assert run(*given, "--json") == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["images"], told["acknowledged"]) == (3, None)
        for _ in range(5):  # START, images, END
            assert reader.poll(20_000)
            assert reader.recv().startswith(b"\xd9\xd9\xf7")


def test_a_full_disk_is_the_exit_status_and_the_message(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    writer = Later(address, fail_from=4)
    writer.start()
    status = run("--listen", address, "--images", "12", "--size", "64x32", "--file-prefix", "test")
    writer.join()
    assert status == 10
    told = capsys.readouterr()
    assert "4 acknowledged; 8 failed" in told.out
    assert "/data is full" in told.err


def test_without_a_prefix_nothing_is_streamed(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--listen", address, "--images", "3", "--size", "64x32") == 0
    assert "nothing was streamed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "where to listen for writers"),
        (["--listen", "tcp://127.0.0.1:*", "--size", "64"], "WIDTHxHEIGHT"),
        (["--listen", "tcp://127.0.0.1:*", "--size", "0x64"], "WIDTHxHEIGHT"),
        (["--listen", "tcp://127.0.0.1:*", "--size", "99999x64"], "65536"),
        (["--listen", "tcp://127.0.0.1:*", "--replay", "/none.h5"], "there is no such file"),
        (["--listen", "tcp://127.0.0.1:*", "--dataset", "/x"], "--replay"),
        (["--listen", "nowhere"], "not an address"),
        (["--listen", "tcp://127.0.0.1:*", "--file-prefix", "a", "--timeout", "0"], "0 of 1 writers"),
    ],
)
def test_what_cannot_be_is_said(words: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words, "--images", "1") > 0
    assert why in capsys.readouterr().err
