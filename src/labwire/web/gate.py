"""Who gets in: Host against DNS rebinding, Origin against other sites, a token beyond loopback, read-only mode.

A browser sends what any page tells it to; what it cannot fake is Host, Origin and Sec-Fetch-Site. A DNS name that an
attacker points at this computer shows itself in Host: so names are only let in if they are known, addresses always.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Iterable, Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from labwire.errors import RefusedError

COOKIE = "labwire_token"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Gate:
    """Decides about one request at a time, from its headers alone.

    >>> gate = Gate(token="", names=["bench.lab"])
    >>> gate.check("GET", {"host": "bench.lab:8080"}, "10.0.0.9")
    >>> gate.check("GET", {"host": "evil.example"}, "10.0.0.9")
    Traceback (most recent call last):
    labwire.errors.RefusedError: 'evil.example' is not a name of this rig: add it to names in [web]

    Args:
        token: What callers have to show; empty means nothing.
        names: Names under which the page may be reached, besides addresses, ``localhost`` and this computer's name.
        allow: Networks that may connect, besides this computer; empty means all.
    """

    def __init__(self, *, token: str, names: Iterable[str] = (), allow: Iterable[str] = ()) -> None:
        self._token = token.encode()
        own = socket.gethostname().casefold()
        self._names = {"localhost", own, *(name.casefold() for name in names)}
        self._networks = [ipaddress.ip_network(network, strict=False) for network in allow]

    def check(self, method: str, headers: Mapping[str, str], address: str) -> None:
        """Let a request pass that may go anywhere without a token.

        Args:
            method: HTTP method; a WebSocket counts as ``CONNECT``.
            headers: Names in lower case.
            address: Where it comes from.

        Raises:
            RefusedError: It may not.
        """
        self._check_address(address)
        host = headers.get("host", "")
        self._check_host(host)
        site = headers.get("sec-fetch-site", "")
        origin = headers.get("origin")
        if method in _SAFE:
            return
        if site in {"cross-site", "same-site"} or (origin is not None and urlsplit(origin).netloc != host):
            raise RefusedError(
                f"a page of {(origin or 'another site')[:80]} may not steer this rig", origin=(origin or "")[:80]
            )

    def check_token(self, headers: Mapping[str, str]) -> None:
        """Let a request pass that shows the token, in ``Authorization: Bearer`` or in the cookie of the page.

        Raises:
            RefusedError: It does not.
        """
        if self._token and not any(self.is_token(shown) for shown in _shown(headers)):
            raise RefusedError("this rig asks for its token: `labwire run` names the file that holds it")

    def is_token(self, text: str) -> bool:
        """Compare in a time that does not depend on where the difference is."""
        return hmac.compare_digest(text.encode("utf-8", "surrogateescape"), self._token)

    @property
    def needs_token(self) -> bool:
        """Whether there is a token."""
        return bool(self._token)

    def _check_address(self, address: str) -> None:
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            raise RefusedError(f"{address[:80]!r} is not an address") from None
        if self._networks and not ip.is_loopback and not any(ip in network for network in self._networks):
            raise RefusedError(f"{ip} is not in [network] allow", address=str(ip))

    def _check_host(self, host: str) -> None:
        name = _host_of(host)
        if name in self._names or _is_address(name):
            return
        raise RefusedError(f"{name[:80]!r} is not a name of this rig: add it to names in [web]", host=name[:80])


def _host_of(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").casefold().removesuffix(".")
    except ValueError:
        return host


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _shown(headers: Mapping[str, str]) -> Iterable[str]:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.casefold() == "bearer":
        yield token.strip()
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return
    if cookie is not None:
        yield cookie.value
