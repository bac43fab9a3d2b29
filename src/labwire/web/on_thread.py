"""Blocking work beside the event loop, on threads that keep nobody from ending."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


async def on_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function on a thread of its own and wait for what it returns.

    An executor's threads are waited for when a process ends; one of these may wait for an instrument for a day.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[R] = loop.create_future()

    def run() -> None:
        try:
            value = function(*args, **kwargs)
        except BaseException as error:
            finish(future.set_exception, error)
        else:
            finish(future.set_result, value)

    def finish(set_it: Callable[[Any], None], value: Any) -> None:
        def unless_cancelled() -> None:
            if not future.done():
                set_it(value)

        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(unless_cancelled)

    threading.Thread(target=run, name="web request", daemon=True).start()
    return await future
