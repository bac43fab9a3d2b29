"""Signals that ask a process to end are told, and what was ignored stays ignored."""

from __future__ import annotations

import signal
import threading

import pytest

from labwire.signals import ASKED_TO_END, told_to_end


def test_each_signal_is_told_and_afterwards_all_is_as_before() -> None:
    numbers = (signal.SIGINT, *ASKED_TO_END)
    before, told = [signal.getsignal(number) for number in numbers], list[signal.Signals]()
    with told_to_end(told.append):
        for number in numbers:
            signal.raise_signal(number)
    assert told == [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    assert [signal.getsignal(number) for number in numbers] == before


def test_handlers_are_put_back_after_an_error() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ZeroDivisionError), told_to_end(print):
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_hang_up_that_is_ignored_stays_ignored() -> None:
    before, told = signal.signal(signal.SIGHUP, signal.SIG_IGN), list[signal.Signals]()
    try:
        with told_to_end(told.append):
            signal.raise_signal(signal.SIGHUP)
        assert told == []
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_on_another_thread_nothing_changes() -> None:
    found = list[object]()

    def look() -> None:
        with told_to_end(print):
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGTERM)]
