"""The OpenAPI 3.1 document of the HTTP API, made from the same rows as the API itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import msgspec

from labwire.errors import (
    DeadlineError,
    DiskLowError,
    LabwireError,
    NotFoundError,
    PeerGoneError,
    ProtocolError,
    QueueFullError,
    StateError,
    TooLargeError,
    codes_of,
)
from labwire.operations.service import Service
from labwire.sessions.reading.export import ExportProgress
from labwire.strict import help_of
from labwire.version import __version__
from labwire.web.answer import PROBLEM, Problem, title_of
from labwire.web.api import NotifyRequest, PublishRequest, Sent
from labwire.web.exports import ExportReady, ExportRequest
from labwire.web.jobs import JobStatus
from labwire.web.routes import ALWAYS, Route, arguments_of, routes
from labwire.web.session_files import SessionView
from labwire.web.session_work import Activity, Fields, Trace

Tree = dict[str, Any]

_FROM_THE_RIG: tuple[type[LabwireError], ...] = (NotFoundError, PeerGoneError, DeadlineError, ProtocolError)
_REF = "#/components/schemas/{name}"
_TEXT: Tree = {"type": "string"}
_ABOUT = (
    "What can be asked of the rig. Errors are problem documents (RFC 9457) with `code` and `data`. An operation that "
    "takes long answers 202 with a job, to be looked at and cancelled."
)


@cache
def openapi() -> Tree:
    """Return the document; do not change it."""
    rows = list(routes().values())
    kinds = _kinds(rows)
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    by_kind = dict(zip(map(repr, kinds), schemas, strict=True))
    _describe(components, kinds)
    for row in rows:
        _bound_integers(components[row.operation.request.__name__])
    paths: dict[str, Tree] = {}
    for route in rows:
        paths[route.path] = {route.method.lower(): _operation(route, by_kind, components)}
    paths |= _further_paths()
    return {
        "openapi": "3.1.0",
        "info": {"title": "labwire", "version": __version__, "description": _ABOUT},
        "servers": [{"url": "/"}],
        "tags": [{"name": service.service, "description": service.__doc__ or ""} for service in _services(rows)],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _kinds(rows: Iterable[Route]) -> list[Any]:
    kinds: list[Any] = [Problem, JobStatus, NotifyRequest, PublishRequest, Sent, SessionView, Activity, Fields, Trace]
    kinds += [ExportRequest, ExportProgress, ExportReady]
    for route in rows:
        row = route.operation
        kinds += [row.request, row.reply, *([row.progress] if row.progress is not None else [])]
    return kinds


def _services(rows: Iterable[Route]) -> list[type[Service]]:
    return list(dict.fromkeys(route.service for route in rows))


def _describe(components: dict[str, Tree], kinds: Iterable[Any]) -> None:
    """Put the help of each field into its schema."""
    for struct in _structs_in(kinds):
        definition = components.get(struct.__name__, {})
        for key, text in help_of(struct).items():
            if key in definition.get("properties", {}):
                definition["properties"][key].setdefault("description", text)


def _structs_in(kinds: Iterable[Any]) -> Iterable[type[msgspec.Struct]]:
    waiting, seen = list(kinds), set[type]()
    while waiting:
        kind = waiting.pop()
        waiting += getattr(kind, "__args__", ())
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in seen:
            seen.add(kind)
            waiting += [field.type for field in msgspec.structs.fields(kind)]
            yield kind


def _bound_integers(schema: Any) -> None:
    """Say of each whole number that it has 64 bits, with or without sign: that is what travels to the rig."""
    match schema:
        case {"type": "integer"}:
            schema.setdefault("minimum", -(1 << 63))
            schema.setdefault("maximum", (1 << 64) - 1)
        case {"properties": properties}:
            for inner in properties.values():
                _bound_integers(inner)
        case {"items": inner}:
            _bound_integers(inner)
        case {"anyOf": members}:
            for inner in members:
                _bound_integers(inner)
        case _:
            pass


def _operation(route: Route, by_kind: Mapping[str, Tree], components: Mapping[str, Tree]) -> Tree:
    row = route.operation
    tree: Tree = {
        "operationId": row.full_name,
        "tags": [row.service],
        "summary": row.summary,
        "description": row.doc.partition("\n\nArgs:")[0],
    }
    request = components[row.request.__name__]
    helps = arguments_of(row)
    for key, text in helps.items():
        if key in request["properties"]:
            request["properties"][key].setdefault("description", text)
    if route.method == "GET":
        tree["parameters"] = [
            {
                "name": key,
                "in": "query",
                "required": key in request.get("required", ()),
                "description": helps.get(key, ""),
                "schema": schema,
            }
            for key, schema in request["properties"].items()
        ]
    else:
        needs_body = bool(request.get("required"))
        tree["requestBody"] = _body(_ref(row.request.__name__), required=needs_body)
    done = by_kind[repr(row.reply)]
    if row.progress is None:
        responses = {"200": _response("Done.", done)}
    else:
        tree["x-labwire-progress"] = by_kind[repr(row.progress)]
        tree["x-labwire-result"] = done
        responses = {"202": _response("Begun: a job.", _ref("JobStatus"))}
    tree["responses"] = {**responses, **_problems(route.errors)}
    tree["x-labwire-changes"] = row.changes
    return tree


def _further_paths() -> dict[str, Tree]:
    job = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    missing = _problems((*ALWAYS, NotFoundError))
    one = _response("The job.", _ref("JobStatus"))
    return {
        "/api/jobs": {
            "get": _plain_operation("jobs.list", "List the jobs that were started over HTTP, newest first.")
            | {
                "responses": {
                    "200": _response("The jobs.", {"type": "array", "items": _ref("JobStatus")}),
                    **_problems(ALWAYS),
                }
            }
        },
        "/api/jobs/{id}": {
            "get": _plain_operation("jobs.status", "Tell how far a job is.")
            | {"parameters": [job], "responses": {"200": one, **missing}}
        },
        "/api/jobs/{id}/cancel": {
            "post": _plain_operation("jobs.cancel", "Ask a job to end.")
            | {"parameters": [job], "responses": {"200": one, **missing}}
        },
        **_of_sessions(),
        **_exports(),
        "/api/notify": _sending("notify", "Send a notification to all actors.", "NotifyRequest"),
        "/api/publish": _sending("publish", "Put a message on the bus.", "PublishRequest"),
    }


def _of_sessions() -> dict[str, Tree]:
    """Return the paths that look into a session. They read files, on the computer of the rig."""
    number = {"type": "number"}
    rows: list[tuple[str, str, dict[str, Tree], Tree]] = [
        ("overview", "Tell what is in a session.", {}, _json(_ref("SessionView"))),
        ("activity", "Tell when what came.", {}, _json(_ref("Activity"))),
        ("fields", "Tell which numbers a topic has.", {"topic": _TEXT}, _json(_ref("Fields"))),
        ("series", "Return a field over time.", {"topic": _TEXT, "field": _TEXT}, _json(_ref("Trace"))),
        ("picture", "Return the picture of a moment.", {"topic": _TEXT, "time_s": number}, {"image/jpeg": {}}),
        ("file", "Return one of its files.", {"name": _TEXT}, {"application/octet-stream": {}}),
    ]
    return {
        f"/api/session/{name}": {
            "get": _plain_operation(f"session.{name}", summary)
            | {
                "parameters": [
                    {"name": key, "in": "query", "required": True, "schema": schema}
                    for key, schema in {"session": _TEXT, **more}.items()
                ],
                "responses": {
                    "200": {"description": "Here it is.", "content": content},
                    **_problems((*ALWAYS, NotFoundError, TooLargeError, QueueFullError)),
                },
            }
        }
        for name, summary, more, content in rows
    }


def _exports() -> dict[str, Tree]:
    """Return the paths that write a session in the formats of other tools."""
    about = "The job's result says under which `id` it can be downloaded; only the newest exports are kept."
    export = {"name": "export", "in": "query", "required": True, "schema": _TEXT}
    return {
        "/api/session/export": {
            "post": _plain_operation("session.export", "Write a session in a format of other tools.")
            | {
                "description": about,
                "requestBody": _body(_ref("ExportRequest"), required=True),
                "responses": {
                    "202": _response("Begun: a job.", _ref("JobStatus")),
                    **_problems((*ALWAYS, NotFoundError, StateError, QueueFullError, TooLargeError, DiskLowError)),
                },
                "x-labwire-progress": _ref("ExportProgress"),
                "x-labwire-result": _ref("ExportReady"),
                "x-labwire-changes": True,
            }
        },
        "/api/session/exported": {
            "get": _plain_operation("session.exported", "Return what an export wrote.")
            | {
                "parameters": [export],
                "responses": {
                    "200": {"description": "Here it is.", "content": {"application/octet-stream": {}}},
                    **_problems((*ALWAYS, NotFoundError)),
                },
            }
        },
    }


def _json(schema: Tree) -> Tree:
    return {"application/json": {"schema": schema}}


def _sending(name: str, summary: str, request: str) -> Tree:
    return {
        "post": _plain_operation(name, summary)
        | {
            "requestBody": _body(_ref(request), required=True),
            "responses": {"200": _response("The Remote's confirmation.", _ref("Sent")), **_problems(ALWAYS)},
        }
    }


def _plain_operation(name: str, summary: str) -> Tree:
    return {"operationId": name, "tags": [name.partition(".")[0]], "summary": summary}


def _ref(name: str) -> Tree:
    return {"$ref": _REF.format(name=name)}


def _body(schema: Tree, *, required: bool) -> Tree:
    return {"required": required, "content": _json(schema)}


def _response(text: str, schema: Tree) -> Tree:
    return {"description": text, "content": _json(schema)}


def _problems(errors: Iterable[type[LabwireError]]) -> Tree:
    by_status: dict[str, list[type[LabwireError]]] = {}
    for error in dict.fromkeys((*errors, *_FROM_THE_RIG)):
        by_status.setdefault(str(codes_of(error).http_status), []).append(error)
    content = {PROBLEM: {"schema": _ref("Problem")}}
    made: Tree = {
        status: {
            "description": " ".join(f"`{error.__name__}`: {title_of(error)}" for error in kinds),
            "content": content,
        }
        for status, kinds in sorted(by_status.items())
    }
    made["401"] = {"description": "The token is missing or wrong.", "content": content}
    made["default"] = {"description": "Another problem.", "content": content}
    return made
