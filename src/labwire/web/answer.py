"""What an HTTP request is answered with, and how errors look there (RFC 9457)."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec

from labwire.errors import LabwireError
from labwire.wire.json_text import encode_json

JSON = "application/json"
PROBLEM = "application/problem+json"


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer, whatever server sends it."""

    status: int
    body: bytes
    media_type: str = JSON
    headers: dict[str, str] = {}
    file: str = ""
    """Path of a file that is sent in place of `body`."""


class Problem(msgspec.Struct, frozen=True):
    """What went wrong: a problem document. *Source:* RFC 9457."""

    type: str
    """Where this kind of problem is explained: ``/docs#NotFoundError``."""
    title: str
    """The kind of problem, in words."""
    status: int
    detail: str
    """What failed, on what, and what to do."""
    instance: str
    """Path of the request."""
    code: str
    """Name of the error, as in `labwire.errors`."""
    data: dict[str, Any] = {}
    """Values that belong to it."""


def answer(value: object, status: int = 200, **headers: str) -> Answer:
    """Return a value as JSON; keywords are headers, ``_`` stands for ``-``."""
    return Answer(status, encode_json(value), headers={key.replace("_", "-"): text for key, text in headers.items()})


def title_of(error: type[LabwireError]) -> str:
    """Return what a kind of error means, in a sentence."""
    return (inspect.getdoc(error) or error.__name__).partition("\n")[0]


def answer_error(error: LabwireError, path: str, status: int | None = None, **headers: str) -> Answer:
    """Return an error as a problem document.

    Args:
        error: What happened.
        path: Path of the request.
        status: HTTP status; default: that of the error.
        **headers: Further headers, ``_`` for ``-``.
    """
    kind, status = type(error), status or error.codes.http_status
    data = {str(key): value for key, value in error.data.items()}
    problem = Problem(
        f"/docs#{kind.__name__}", title_of(kind), status, error.message or title_of(kind), path, kind.__name__, data
    )
    return Answer(status, encode_json(problem), PROBLEM, {key.replace("_", "-"): text for key, text in headers.items()})
