"""A small HTTP client for tests, and rigs with a dashboard."""

from __future__ import annotations

import http.client
import json
from typing import Any, NamedTuple
from urllib.parse import urlsplit


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(url: str, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> Reply:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 0, timeout=30)
    sent = {"Content-Type": "application/json"} if body is not None else {}
    try:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection.request(method, path, data, {**sent, **(headers or {})})
        response = connection.getresponse()
        return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


def get(url: str, path: str, **headers: str) -> Reply:
    return ask(url, "GET", path, headers={key.replace("_", "-"): value for key, value in headers.items()})


def post(url: str, path: str, body: object = None, **headers: str) -> Reply:
    return ask(url, "POST", path, body, {key.replace("_", "-"): value for key, value in headers.items()})
