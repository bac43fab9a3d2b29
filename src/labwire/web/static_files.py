"""The files of the dashboard: read once, compressed once, sent with a tag by which a browser knows what it has."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

from labwire.web.answer import Answer

FOLDER = Path(__file__).parent / "static"
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_WORTH_BYTES = 1000


class _File(msgspec.Struct, frozen=True):
    plain: bytes
    packed: bytes
    kind: str
    tag: str


@cache
def _files() -> Mapping[str, _File]:
    found: dict[str, _File] = {}
    for path in sorted(FOLDER.iterdir()):
        if kind := _KINDS.get(path.suffix):
            data = path.read_bytes()
            tag = f'"{hashlib.sha256(data).hexdigest()[:20]}"'
            found[path.name] = _File(data, gzip.compress(data, mtime=0), kind, tag)
    return found


def static_answer(name: str, headers: Mapping[str, str]) -> Answer | None:
    """Return a file of the dashboard; None if there is none of that name.

    Args:
        name: Its name; there are no folders.
        headers: Of the request, names in lower case.
    """
    file = _files().get(name)
    if file is None:
        return None
    # The page asks each time and is told "not modified": after an update nobody sees a mixture.
    about = {"ETag": file.tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if headers.get("if-none-match") == file.tag:
        return Answer(304, b"", file.kind, about)
    if "gzip" in headers.get("accept-encoding", "") and len(file.plain) > _WORTH_BYTES:
        return Answer(200, file.packed, file.kind, {**about, "Content-Encoding": "gzip"})
    return Answer(200, file.plain, file.kind, about)
