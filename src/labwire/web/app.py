"""The web server's application: which path is what, who gets in, and the headers that keep browsers in bounds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import msgspec

from labwire.errors import (
    InternalError,
    LabwireError,
    NotFoundError,
    QueueFullError,
    RefusedError,
    TooLargeError,
    UsageError,
)
from labwire.web.answer import JSON, Answer, answer, answer_error
from labwire.web.api import Api, Request
from labwire.web.caller import find_caller
from labwire.web.docs_page import docs_page
from labwire.web.gate import COOKIE, Gate
from labwire.web.live import Live
from labwire.web.on_thread import on_thread
from labwire.web.openapi import openapi
from labwire.web.overview import Overview
from labwire.web.routes import MAX_BODY_BYTES
from labwire.web.static_files import static_answer

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_OPEN = frozenset({"/", "/health", "/api/login"})
_WRONG_TOKEN_S = 0.5
_COOKIE_S = 30 * 86400
_BUSY = 64
_log = logging.getLogger("web")


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is posted to ``/api/login``."""

    token: str


class Application:
    """An ASGI application.

    Args:
        gate: Who gets in.
        api: What can be asked of the rig.
        live: The WebSocket.
        overview: How the rig is, for machines.
        url: Where people find it.
    """

    def __init__(self, *, gate: Gate, api: Api, live: Live, overview: Overview, url: str) -> None:
        self._gate, self._api, self._live, self._overview, self._url = gate, api, live, overview, url
        self._busy = 0
        self._looks: Mapping[str, Callable[[], Answer]] = {
            "/openapi.json": lambda: answer(openapi()),
            "/docs": lambda: Answer(200, docs_page(url).encode(), "text/html; charset=utf-8"),
            "/metrics": overview.metrics,
            "/health": overview.health,
            "/ready": overview.ready,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        elif scope["type"] == "http":
            made = await self._answer(scope, receive)
            from starlette.responses import FileResponse, Response

            headers = {**SECURITY_HEADERS, **made.headers}
            if made.file:
                name = made.file.rpartition("/")[2]
                response = FileResponse(made.file, made.status, headers, made.media_type, filename=name)
            else:
                response = Response(made.body, made.status, headers, made.media_type)
            await response(scope, receive, send)

    # --- WebSocket

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.websockets import WebSocket

        socket = WebSocket(scope, receive, send)
        headers, (address, _) = _headers(scope), _client(scope)
        try:
            if scope["path"] != "/live":
                raise NotFoundError("the WebSocket is at /live")
            self._gate.check("CONNECT", headers, address)
            self._gate.check_token(headers)
        except LabwireError as error:
            await socket.close(1008, error.message[:100])  # before it is accepted: the browser sees 403
            return
        await socket.accept()
        await self._live.serve(socket)

    # --- HTTP

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        path, headers, method = scope["path"], _headers(scope), scope["method"].upper()
        address, port = _client(scope)
        try:
            self._gate.check(method, headers, address)
            if path not in _OPEN and not path.startswith("/static/"):
                try:
                    self._gate.check_token(headers)
                except RefusedError as error:
                    return answer_error(error, path, 401, WWW_Authenticate="Bearer")
            if path == "/api/login":
                return await self._login(method, headers, receive, address)
            if path.startswith("/api/"):
                return await self._ask(scope, receive, method, headers, (address, port))
            return await self._look(path, method, headers)
        except LabwireError as error:
            return answer_error(error, path)
        except Exception as error:
            _log.exception("%s %s", method, path)
            return answer_error(InternalError(f"the web server failed: {error!r}"), path)

    async def _look(self, path: str, method: str, headers: Mapping[str, str]) -> Answer:
        name = "index.html" if path == "/" else path.removeprefix("/static/") if path.startswith("/static/") else ""
        if path not in self._looks and static_answer(name, {}) is None:
            raise NotFoundError(f"nothing is at {path[:80]}; /docs lists what there is")
        if method not in {"GET", "HEAD"}:
            return _not_allowed(path, ["GET"])
        if found := static_answer(name, headers):
            return found
        return await on_thread(self._looks[path])

    async def _ask(
        self, scope: Scope, receive: Receive, method: str, headers: Mapping[str, str], client: tuple[str, int]
    ) -> Answer:
        path, method = scope["path"], "GET" if method == "HEAD" else method
        allowed = self._api.methods_of(path)
        if allowed and method not in allowed:
            return _not_allowed(path, allowed)
        body = await _read(receive)
        query = _query(scope.get("query_string", b""))
        caller = await on_thread(find_caller, headers, *client) if method != "GET" else find_caller({}, *client)
        request = Request(method, path, query, headers.get("content-type", ""), body, caller)
        return await self._on_a_thread(request)

    async def _on_a_thread(self, request: Request) -> Answer:
        # An instrument may take a day to answer: threads come as they are needed, up to a bound of our own.
        if self._busy >= _BUSY:
            problem = QueueFullError(f"{_BUSY} requests are waiting for the rig already: try again")
            return answer_error(problem, request.path, Retry_After="1")
        self._busy += 1
        try:
            return await on_thread(self._api.handle, request)
        finally:
            self._busy -= 1

    async def _login(self, method: str, headers: Mapping[str, str], receive: Receive, address: str) -> Answer:
        if method != "POST":
            return _not_allowed("/api/login", ["POST"])
        if headers.get("content-type", "").partition(";")[0].strip() != JSON:
            raise UsageError("/api/login: the body must be application/json")
        try:
            login = msgspec.json.decode(await _read(receive), type=Login)
        except (msgspec.DecodeError, ValueError) as error:
            raise UsageError(f"/api/login: {error}") from error
        if self._gate.needs_token and not self._gate.is_token(login.token):
            _log.warning("a wrong token from %s", address)
            await asyncio.sleep(_WRONG_TOKEN_S)
            raise RefusedError("that is not the token of this rig")
        secure = "; Secure" if self._url.startswith("https") else ""
        cookie = f"{COOKIE}={login.token}; Path=/; Max-Age={_COOKIE_S}; HttpOnly; SameSite=Strict{secure}"
        return Answer(204, b"", headers={"Set-Cookie": cookie} if self._gate.needs_token else {})


def _not_allowed(path: str, allowed: list[str]) -> Answer:
    methods = ", ".join(sorted({*allowed, "HEAD"} if "GET" in allowed else allowed))
    return answer_error(UsageError(f"{path} takes {methods}"), path, 405, Allow=methods)


async def _read(receive: Receive) -> bytes:
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise UsageError("the caller went away")
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY_BYTES:
            raise TooLargeError(f"a request has at most {MAX_BODY_BYTES} bytes")
    return bytes(body)


def _headers(scope: Scope) -> dict[str, str]:
    return {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}


def _client(scope: Scope) -> tuple[str, int]:
    host, port = scope.get("client") or ("", 0)
    return host.removeprefix("::ffff:"), port


def _query(text: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text.decode("latin-1"), keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError as error:
        raise UsageError(f"the query cannot be read: {error}") from error
