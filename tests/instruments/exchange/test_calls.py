from __future__ import annotations

import pytest

from labwire.instruments.exchange.calls import CallFuture


@pytest.mark.parametrize("ask", [CallFuture.result, CallFuture.exception])
def test_an_answer_may_come_while_its_future_is_asked(ask: object, monkeypatch: pytest.MonkeyPatch) -> None:
    future, helped = CallFuture(), list[str]()
    future.help_out = lambda: helped.append("helped")

    def done() -> bool:
        future.help_out = None  # what the thread does that delivers the answer
        future.set_result(7)
        return False

    monkeypatch.setattr(future, "done", done)
    assert callable(ask)
    assert ask(future, 1.0) == (7 if ask is CallFuture.result else None)
    assert helped == ["helped"]
