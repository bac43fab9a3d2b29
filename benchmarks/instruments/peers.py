"""The same command through the programs that others use for it, where they are installed.

Each device runs in a process of its own on this computer and does nothing with two numbers. As a program,
``python -m benchmarks.instruments.peers NAME`` is such a device; it tells where it can be found.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.bus.peers import Child
from benchmarks.common import Case
from benchmarks.instruments.drivers import PARAMS

ZPROCESS = "zprocess (BLACS), put and get"
SIPYCO = "sipyco (ARTIQ), call"
PYTANGO = "PyTango, command"
_ZPROCESS_DEVICE = Path(__file__).with_name("zprocess_device.py")
NAMES = (ZPROCESS, SIPYCO, PYTANGO)

Ask = Callable[[], object]


@contextmanager
def peer_cases(count: int, missing: dict[str, str]) -> Iterator[list[Case]]:
    """Start what is installed; yield its cases.

    Args:
        count: Round trips in each round.
        missing: Takes what is not installed, and how to install it.
    """
    found: list[Case] = []
    with ExitStack() as stack:
        for name, (module, install, ask_of) in _PEERS.items():
            if importlib.util.find_spec(module) is None:
                missing[name] = f"not installed: {install}"
                continue
            try:
                ask = stack.enter_context(ask_of())
            except Exception as error:  # a peer's own trouble is no reason to measure nothing
                missing[name] = f"it does not start: {type(error).__name__}: {error}"
                continue
            found.append(Case(name, lambda ask=ask: _samples(ask, count)))
        yield found


def installed_packages() -> list[str]:
    """Return the names of the packages that are measured beside ours."""
    names = ("zprocess", "sipyco", "pytango")
    return [name for name in names if any(importlib.metadata.distributions(name=name))]


def _samples(ask: Ask, count: int) -> list[float]:
    samples: list[float] = []
    for number in range(-20, count):
        start_s = time.perf_counter()
        ask()
        if number >= 0:
            samples.append((time.perf_counter() - start_s) * 1e6)
    return samples


@contextmanager
def _zprocess() -> Iterator[Ask]:
    import zprocess  # pyright: ignore[reportMissingImports]

    tree: Any = zprocess.ProcessTree(shared_secret=zprocess.security.generate_shared_secret())
    to_child, from_child, child = tree.subprocess(str(_ZPROCESS_DEVICE), startup_timeout=30)

    def ask() -> object:
        to_child.put(("NOTHING", PARAMS))
        return from_child.get(timeout=10)

    try:
        yield ask
    finally:
        child.terminate()
        child.wait()


@contextmanager
def _sipyco() -> Iterator[Ask]:
    from sipyco.pc_rpc import Client  # pyright: ignore[reportMissingImports]

    with Child("benchmarks.instruments.peers", "sipyco") as device:
        port = device.hear()["port"]
        client: Any = _retried(lambda: Client("127.0.0.1", port, "device", timeout=10))
        try:
            yield lambda: client.nothing(**PARAMS)
        finally:
            client.close_rpc()


@contextmanager
def _pytango() -> Iterator[Ask]:
    import tango  # pyright: ignore[reportMissingImports]

    with Child("benchmarks.instruments.peers", "pytango") as device:
        address = device.hear()["address"]
        proxy: Any = _retried(lambda: _pinged(tango.DeviceProxy(address)))
        values = [float(value) for value in PARAMS.values()]
        yield lambda: proxy.nothing(values)


def _pinged(proxy: Any) -> Any:
    proxy.ping()
    return proxy


def _retried(connect: Callable[[], Any]) -> Any:
    """Connect to a device that has only just begun to listen."""
    until_s = time.monotonic() + 10.0
    while True:
        try:
            return connect()
        except Exception:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.05)


_PEERS: dict[str, tuple[str, str, Callable[[], Any]]] = {
    ZPROCESS: ("zprocess", "pip install zprocess", _zprocess),
    SIPYCO: ("sipyco", "pip install git+https://github.com/m-labs/sipyco", _sipyco),
    PYTANGO: ("tango", "pip install pytango", _pytango),
}


# --- the devices


class Device:
    """What sipyco's server offers."""

    def nothing(self, range: float, samples: int) -> None:  # noqa: A002
        """Do nothing with two parameters."""


def _serve_sipyco() -> None:
    from sipyco.pc_rpc import simple_server_loop  # pyright: ignore[reportMissingImports]

    port = _free_port()
    print(json.dumps({"port": port}), flush=True)
    _end_with_standard_input()
    simple_server_loop({"device": Device()}, "127.0.0.1", port)


def _serve_pytango() -> None:
    from tango.server import Device as Base  # pyright: ignore[reportMissingImports]
    from tango.server import command, run  # pyright: ignore[reportMissingImports]

    class Nothing(Base):
        @command(dtype_in=("float",), dtype_out="float")
        def nothing(self, values: Any) -> float:
            return 0.0

    port = _free_port()
    print(json.dumps({"address": f"tango://127.0.0.1:{port}/benchmark/nothing/1#dbase=no"}), flush=True)
    _end_with_standard_input()
    arguments = ["Nothing", "1", "-ORBendPoint", f"giop:tcp:127.0.0.1:{port}", "-nodb", "-dlist", "benchmark/nothing/1"]
    run((Nothing,), args=arguments)


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def _end_with_standard_input() -> None:
    """Have this process end when whoever started it does."""
    import os
    import threading

    def wait() -> None:
        sys.stdin.read()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    {"sipyco": _serve_sipyco, "pytango": _serve_pytango}[sys.argv[1]]()
