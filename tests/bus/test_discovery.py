"""Rigs of the local network are found; here, of this computer. Needs zeroconf and a network that carries multicast."""

from __future__ import annotations

import gc
import importlib.util
import os
from collections.abc import Iterator

import pytest

from labwire.bus import discovery
from labwire.bus.discovery import Advertisement, FoundRig, find_rigs
from labwire.errors import ResourceError

pytestmark = pytest.mark.skipif(not importlib.util.find_spec("zeroconf"), reason="zeroconf is not installed")

HERE = ["127.0.0.1"]
NAME = f"test-{os.getpid()}"


@pytest.fixture
def told() -> Iterator[Advertisement]:
    try:
        advertisement = Advertisement(NAME, 50123, HERE, "1.2.3")
    except ResourceError as error:
        pytest.skip(str(error))
    yield advertisement
    advertisement.close()


def found() -> list[FoundRig]:
    return [rig for rig in find_rigs(2.5, addresses=HERE) if rig.name == NAME]


def test_a_rig_is_found_and_says_goodbye(told: Advertisement) -> None:
    for _ in range(5):
        if rigs := found():
            break
    else:
        pytest.fail("it was not found")
    (rig,) = rigs
    assert (rig.port, rig.addresses, rig.version, rig.host) == (50123, HERE, "1.2.3", os.uname().nodename)
    told.close()
    told.close()
    assert found() == []


def test_what_others_say_is_not_trusted() -> None:
    class Said:
        properties = {b"name": None, b"\xff": b"\xff"}
        server = None
        port = 5

        def parsed_addresses(self) -> list[str]:
            return []

    assert discovery._read(f"x.{discovery.SERVICE_TYPE}", Said()) == FoundRig("x", "", [], 5, "")


# What zeroconf leaves open when it fails to open is its own.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_network_without_multicast() -> None:
    with pytest.raises(ResourceError):
        find_rigs(0.1, addresses=["203.0.113.7"])
    gc.collect()
