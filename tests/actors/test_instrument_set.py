"""Instruments that are taken in and out while others run."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from labwire.actors.instrument_set import LiveInstruments
from labwire.errors import ConfigError, NotFoundError, StateError
from labwire.instruments.config import InstrumentConfig

CONFIG = {"driver": "lab:Dmm", "queue": "socket"}


class Bench:
    def __init__(self) -> None:
        self.instruments = {"DMM1": InstrumentConfig(driver="lab:Dmm")}
        self.asked: list[str] = []

        def at_once(work: Callable[[], None]) -> None:
            work()

        self.live = LiveInstruments(
            self.instruments,
            take_in=lambda name: self.asked.append(f"in {name}"),
            remove=lambda name: self.asked.append(f"out {name}"),
            beside=at_once,
        )


def test_one_comes_and_goes() -> None:
    bench = Bench()
    bench.live.take_in("PSU", CONFIG)
    assert bench.instruments["PSU"] == msgspec.convert(CONFIG, InstrumentConfig)
    bench.live.take_out("PSU")
    assert bench.asked == ["in PSU", "out PSU"]
    assert list(bench.instruments) == ["DMM1"]


def test_what_is_there_already_is_left_alone() -> None:
    bench = Bench()
    bench.live.take_in("DMM1", {"driver": "lab:Dmm"})
    with pytest.raises(StateError, match="DMM1' already"):
        bench.live.take_in("DMM1", CONFIG)
    assert bench.asked == []
    assert bench.instruments["DMM1"].queue == "boost"


def test_nonsense_is_refused() -> None:
    bench = Bench()
    with pytest.raises(ConfigError, match="PSU"):
        bench.live.take_in("PSU", {"queue": "pigeon"})
    with pytest.raises(NotFoundError, match="'NONE'"):
        bench.live.take_out("NONE")
    assert bench.asked == []
