"""Who gets in: names against DNS rebinding, origins against other sites, tokens, networks."""

from __future__ import annotations

import socket

import pytest

from labwire.errors import RefusedError
from labwire.web.gate import COOKIE, Gate

TOKEN = "abcdefghijklmnop-1234"
HERE = {"host": "127.0.0.1:8080"}


def gate(token: str = "", names: tuple[str, ...] = (), allow: tuple[str, ...] = ()) -> Gate:
    return Gate(token=token, names=names, allow=allow)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8080", "localhost", "LOCALHOST:1", "[::1]:8080", "192.168.1.7:8080", socket.gethostname(), "bench.lab"],
)
def test_addresses_and_known_names_are_let_in(host: str) -> None:
    gate(names=("Bench.lab",)).check("POST", {"host": host}, "127.0.0.1")


@pytest.mark.parametrize(
    "host", ["evil.example", "", "localhost.evil.example", "127.0.0.1.evil.example", "[::1", "a b"]
)
def test_a_name_that_somebody_points_here_is_refused(host: str) -> None:
    for method in ("GET", "POST", "CONNECT"):
        with pytest.raises(RefusedError, match="not a name of this rig"):
            gate().check(method, {"host": host}, "127.0.0.1")


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_page_of_another_site_may_not_steer(headers: dict[str, str]) -> None:
    for method in ("POST", "DELETE", "CONNECT"):
        with pytest.raises(RefusedError, match="may not steer"):
            gate().check(method, {**HERE, **headers}, "127.0.0.1")


@pytest.mark.parametrize("headers", [{}, {"origin": "http://127.0.0.1:8080"}, {"sec-fetch-site": "same-origin"}])
def test_its_own_page_and_programs_may(headers: dict[str, str]) -> None:
    gate().check("POST", {**HERE, **headers}, "127.0.0.1")


def test_networks_that_may_connect() -> None:
    guarded = gate(allow=("192.168.1.0/24",))
    guarded.check("GET", HERE, "192.168.1.9")
    guarded.check("GET", HERE, "127.0.0.1")
    for address in ("192.168.2.9", "nonsense", "2001:db8::1"):
        with pytest.raises(RefusedError):
            guarded.check("GET", HERE, address)


@pytest.mark.parametrize(
    "headers",
    [{"authorization": f"Bearer {TOKEN}"}, {"authorization": f"bearer  {TOKEN}"}, {"cookie": f"a=b; {COOKIE}={TOKEN}"}],
)
def test_the_token_is_shown_by_header_or_cookie(headers: dict[str, str]) -> None:
    gate(TOKEN).check_token(headers)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer "},
        {"authorization": TOKEN},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": "Bearer \udcff"},
        {"cookie": f"{COOKIE}=wrong"},
        {"cookie": "}{"},
    ],
)
def test_nothing_else_will_do(headers: dict[str, str]) -> None:
    with pytest.raises(RefusedError, match="token"):
        gate(TOKEN).check_token(headers)
    gate().check_token(headers)
