"""The thread that receives where no caller waits: futures, heartbeats, the first one, and what is left at death."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from labwire.errors import PeerGoneError
from labwire.instruments.exchange.exchange import Exchange
from labwire.instruments.queues.contract import SLICE_S

TICK_S = 0.5
"""How often an idle instrument's heartbeats are taken out of its queue."""
_ORPHANED_S = 2.0
"""A leader looks at least every `SLICE_S`; one that has not for so long is gone (Ctrl-C at the worst moment)."""
_LEADER_LEAVES_S = 0.02
_STEP_S = 0.002
_MANY = 200


class Standby:
    """The standby thread of one exchange; ends when the worker is dead and buried.

    Args:
        exchange: Whose.
        on_ready: Called once, after the first heartbeat.
        on_buried: Called last, with the number of calls that failed.
    """

    def __init__(self, exchange: Exchange, *, on_ready: Callable[[], None], on_buried: Callable[[int], None]) -> None:
        self._exchange, self._on_ready, self._on_buried = exchange, on_ready, on_buried
        self._announced = False
        self._thread = threading.Thread(target=self._run, name=f"labwire-standby-{exchange.instrument}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Wait for its end; False if it has not come."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        exchange = self._exchange
        while exchange.death is None:
            try:
                self._serve()
            except Exception as error:  # the queue itself fails in a way that nobody foresaw: the worker is lost
                exchange.lose(f"{type(error).__name__}: {error}")
        self._wait_for_leader()
        failed = exchange.bury()
        exchange.buried.set()
        exchange.pair.close()
        self._on_buried(failed)
        exchange.deliver_deferred()

    def _serve(self) -> None:
        exchange = self._exchange
        if exchange.ready and not self._announced:
            self._announced = True
            self._on_ready()
        if (exchange.ledger.unattended or not exchange.ready) and exchange.try_lead():
            self._lead()
        else:
            self._rest()

    def _lead(self) -> None:
        exchange = self._exchange
        try:
            while (exchange.ledger.unattended if self._announced else not exchange.ready) and exchange.death is None:
                now_s = time.monotonic()
                if now_s >= exchange.next_deadline_s:
                    self._expire(now_s)
                exchange.receive(min(SLICE_S, max(0.0, exchange.next_deadline_s - now_s)))
        except PeerGoneError as error:
            exchange.lose(str(error))
        finally:
            exchange.hand_on()

    def _rest(self) -> None:
        """Sleep until somebody rings; look after futures that somebody else receives for."""
        exchange = self._exchange
        wait_s = TICK_S
        if exchange.ledger.unattended:
            self._expire(time.monotonic())
            wait_s = min(TICK_S, max(0.0, exchange.next_deadline_s - time.monotonic()))
        if not exchange.standby_bell.acquire(timeout=wait_s) and not exchange.ledger.unattended:
            self._take_heartbeats()

    def _expire(self, now_s: float) -> None:
        """Fail the futures that are past their deadlines; look again at the next one, or in a slice."""
        exchange = self._exchange
        next_s = now_s + SLICE_S
        for call in tuple(exchange.ledger.unattended.values()):
            if not call.expired(now_s):
                next_s = min(next_s, call.deadline_s)
            elif (error := exchange.ledger.time_out(call)) is not None:
                call.deliver(error)
        exchange.next_deadline_s = next_s

    def _take_heartbeats(self) -> None:
        exchange = self._exchange
        if not exchange.try_lead():
            self._free_orphaned_role()
            return
        try:
            for _ in range(_MANY):
                if not exchange.receive(0):
                    break
        except PeerGoneError as error:
            exchange.lose(str(error))
        finally:
            exchange.hand_on()

    def _free_orphaned_role(self) -> None:
        exchange = self._exchange
        last_s = max(exchange.last_look_s, exchange.last_sign_s or 0.0)
        if exchange.leading and time.monotonic() - last_s > _ORPHANED_S:
            exchange.hand_on()  # at worst two receive for a moment, which the queue allows

    def _wait_for_leader(self) -> None:
        """Let the one who receives leave first: it has been woken."""
        exchange = self._exchange
        until_s = time.monotonic() + _LEADER_LEAVES_S
        while exchange.leading and time.monotonic() < until_s:
            exchange.standby_bell.acquire(timeout=_STEP_S)
