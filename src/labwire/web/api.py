"""The HTTP API: a request is checked by the operation's own types, carried to the rig, and logged if it changes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec

from labwire.client.rig import Rig
from labwire.errors import NotFoundError, RefusedError, TooLargeError, UsageError
from labwire.names import check_subject, check_topic
from labwire.operations.job import Job
from labwire.operations.service import Service
from labwire.web.answer import Answer, answer
from labwire.web.exports import ExportRequest, Exports
from labwire.web.jobs import Jobs
from labwire.web.routes import MAX_BODY_BYTES, Route, find_route, read_json, timeout_s
from labwire.web.session_files import WHAT, SessionFiles

S = TypeVar("S", bound=msgspec.Struct)


_QUIET = frozenset({"instruments.grant"})
"""Not logged: a page says many times a second that it has taken blocks of an acquisition, whose begin is logged."""


class Caller(msgspec.Struct, frozen=True):
    """Who asks."""

    who: str
    """The name that they gave, or the user of this computer."""
    address: str


class Request(msgspec.Struct, frozen=True):
    """An HTTP request, as far as the API looks at it."""

    method: str
    path: str
    query: list[tuple[str, str]]
    content_type: str
    body: bytes
    caller: Caller


_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=240, pattern="^[^\\x00-\\x1f\\x7f]*$")]


class NotifyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A notification to be sent to all actors."""

    subject: _Name
    fields: dict[str, Any] = {}


class PublishRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message to be put on the bus."""

    topic: _Name
    payload: dict[str, Any] = {}


class Sent(msgspec.Struct, frozen=True):
    """What the Remote said to a message."""

    reply: str


class Api:
    """Answers the requests under ``/api/``. Its methods wait for the rig: call them on threads.

    Args:
        rig: The rig.
        read_only: Refuse what changes the rig.
        log: Takes a line for each change: what, by whom, from where.
    """

    def __init__(self, rig: Rig, *, read_only: bool, log: Callable[[str], None]) -> None:
        self._rig, self._read_only, self._log = rig, read_only, log
        self.jobs = Jobs()
        self.sessions = SessionFiles(rig)
        self.exports = Exports()

    def handle(self, request: Request) -> Answer:
        """Answer a request.

        Raises:
            LabwireError: What it is refused for, or what the rig said.
        """
        match request.path.strip("/").split("/")[1:]:
            case ["jobs"] if request.method == "GET":
                _no_query(request)
                return answer(self.jobs.list())
            case ["jobs", job] if request.method == "GET":
                _no_query(request)
                return answer(self.jobs.status(job))
            case ["jobs", job, "cancel"] if request.method == "POST":
                _no_query(request)
                self._may_change("jobs.cancel", {"job": job}, request.caller)
                return answer(self.jobs.cancel(job))
            case ["session", what]:
                return self._session(what, request)
            case ["notify"] if request.method == "POST":
                return self._notify(request)
            case ["publish"] if request.method == "POST":
                return self._publish(request)
            case [service, name]:
                return self._operation(find_route(service, name), request)
            case _:
                raise NotFoundError(f"nothing is at {request.path[:80]}; /docs lists what there is")

    def methods_of(self, path: str) -> list[str]:
        """Return the HTTP methods of a path under ``/api/``; empty if nothing is there."""
        match path.strip("/").split("/")[1:]:
            case ["jobs"]:
                return ["GET"]
            case ["jobs", _]:
                return ["GET"]
            case ["jobs", _, "cancel"]:
                return ["POST"]
            case ["session", what] if what in {*WHAT, "exported"}:
                return ["GET"]
            case ["session", "export"] | ["notify"] | ["publish"]:
                return ["POST"]
            case [service, name]:
                try:
                    return [find_route(service, name).method]
                except NotFoundError:
                    return []
            case _:
                return []

    def _operation(self, route: Route, request: Request) -> Answer:
        if route.method == "GET":
            asked = route.read_query(request.query)
        else:
            _no_query(request)
            asked = route.read_body(_json_body(request))
        row = route.operation
        if row.changes:
            self._may_change(row.full_name, asked, request.caller)
        limit_s = timeout_s(route, asked)

        def call() -> Any:
            service: Service = self._rig.service(route.service, timeout_s=limit_s)
            return getattr(service, row.name)(**msgspec.structs.asdict(asked))

        return answer(call()) if row.progress is None else self._begin(row.full_name, call)

    def _begin(self, operation: str, call: Callable[[], Job[Any, Any]]) -> Answer:
        status = self.jobs.start(operation, call)
        return answer(status, 202, Location=f"/api/jobs/{status.id}")

    def _session(self, what: str, request: Request) -> Answer:
        match what:
            case "export":
                return self._export(request)
            case "exported":
                return self._exported(_single(request))
            case _:
                return self.sessions.handle(what, _single(request))

    def _export(self, request: Request) -> Answer:
        asked = _decoded(request, ExportRequest)
        folder = self.sessions.folder_of(asked.session)
        self._may_change("session.export", asked, request.caller)  # it fills the disk
        return self._begin("session.export", lambda: self.exports.begin(folder, asked))

    def _exported(self, query: dict[str, str]) -> Answer:
        if set(query) != {"export"}:
            raise UsageError("/api/session/exported takes export")
        return self.exports.download(query["export"])

    def _notify(self, request: Request) -> Answer:
        asked = _decoded(request, NotifyRequest)
        check_subject(asked.subject)
        self._may_change("notify", asked, request.caller)
        if reserved := {"subject", "topic"} & asked.fields.keys():
            raise UsageError(f"fields may not hold {', '.join(sorted(reserved))}")
        return answer(Sent(self._rig.notify(asked.subject, **asked.fields)))

    def _publish(self, request: Request) -> Answer:
        asked = _decoded(request, PublishRequest)
        check_topic(asked.topic)
        self._may_change("publish", asked, request.caller)
        return answer(Sent(self._rig.send(asked.topic, {**asked.payload, "topic": asked.topic})))

    def _may_change(self, what: str, asked: object, caller: Caller) -> None:
        if self._read_only:
            raise RefusedError(f"{what}: this dashboard is read-only", operation=what)
        if what in _QUIET:
            return
        shown = msgspec.json.encode(asked, enc_hook=repr).decode()
        self._log(f"{what} {shown[:200]} by {caller.who} from {caller.address}")


def _json_body(request: Request) -> bytes:
    if len(request.body) > MAX_BODY_BYTES:
        raise TooLargeError(f"{request.path}: a request has at most {MAX_BODY_BYTES} bytes")
    # Anything else can be sent by a form of another site without asking first.
    kind = request.content_type.partition(";")[0].strip().casefold()
    if request.body and kind != "application/json":
        raise UsageError(f"{request.path}: the body must be application/json, not {kind[:80] or 'nameless'}")
    return request.body


def _decoded(request: Request, kind: type[S]) -> S:
    _no_query(request)
    return read_json(_json_body(request), kind, request.path)


def _single(request: Request) -> dict[str, str]:
    given = dict(request.query)
    if len(given) != len(request.query):
        raise UsageError(f"{request.path}: something is given twice")
    return given


def _no_query(request: Request) -> None:
    if request.query:
        raise UsageError(f"{request.path} takes no query: {request.query[0][0][:80]!r} goes into the body")
