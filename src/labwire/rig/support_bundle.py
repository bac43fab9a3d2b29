"""What helps to find out what went wrong in a rig, in one zip file, without secrets."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import os
import platform
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from labwire.errors import ResourceError
from labwire.rig.rig_config import without_secrets
from labwire.version import __version__

MAX_LOG_BYTES = 5_000_000
"""Of each log file the end is taken, up to this."""
MAX_LOGS = 6
MAX_SESSIONS = 3
MANIFEST = "manifest.json"
_SESSION_FILE = "session.json"
_MAX_SESSION_BYTES = 5_000_000


class SupportBundle:
    """Collects files and writes them with a manifest; what cannot be had is named there, and keeps nothing else away.

    >>> bundle = SupportBundle()
    >>> bundle.add("versions.json", versions)
    >>> sorted(bundle.files)
    ['versions.json']
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.missing: dict[str, str] = {}
        """Files that could not be had, and why."""

    def add(self, name: str, make: Callable[[], object]) -> None:
        """Add a file.

        Args:
            name: In the bundle; ``.json`` and ``.jsonl`` say how what is made is written.
            make: Makes bytes, text, or what JSON can hold; lines of ``.jsonl`` as an iterable.
        """
        try:
            self.files[name] = _encode(name, make())
        except Exception as error:  # a bundle is asked for when things are broken
            self.missing[name] = f"{type(error).__name__}: {error}"

    def write(self, target: Path) -> None:
        """Write the zip file.

        Raises:
            ResourceError: It cannot be written.
        """
        made = {**self.files, MANIFEST: _encode(MANIFEST, self._manifest())}
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in made.items():
                archive.writestr(f"{target.stem}/{name}", data)
        try:
            target.write_bytes(buffer.getvalue())
        except OSError as error:
            raise ResourceError(f"cannot write {target}: {error.strerror}", file=str(target)) from error

    def _manifest(self) -> Mapping[str, Any]:
        return {
            "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "labwire": __version__,
            "files": [
                {"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                for name, data in self.files.items()
            ],
            "missing": self.missing,
            "secrets": "values of keys that are called password, secret, token or so are hidden, in logs where they "
            "look like key=value; look through the logs before you pass this on",
        }


def versions() -> Mapping[str, Any]:
    """Return what runs here: labwire, Python, the system, all installed packages."""
    packages = {one.metadata["Name"]: one.version for one in importlib.metadata.distributions()}
    return {
        "labwire": __version__,
        "python": sys.version,
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "packages": dict(sorted(packages.items())),
    }


def logs(file: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yield the log file of a rig and those that were put aside, each with what reads its end without secrets."""
    found = [file, *sorted(file.parent.glob(f"{file.name}.*"), key=lambda one: len(one.name))]
    for one in [one for one in found if one.is_file()][:MAX_LOGS]:
        yield f"logs/{one.name}", lambda one=one: _end_of(one)


def sessions(root: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yield what the newest sessions say of themselves, without their data."""
    found = sorted(root.glob(f"**/{_SESSION_FILE}"), key=lambda one: one.stat().st_mtime, reverse=True)
    for one in found[:MAX_SESSIONS]:
        name = "-".join(one.parent.relative_to(root).parts)
        yield f"sessions/{name}.json", lambda one=one: one.read_bytes()[:_MAX_SESSION_BYTES]


def _end_of(file: Path) -> bytes:
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - MAX_LOG_BYTES))
        return without_secrets(stream.read().decode("utf-8", "replace")).encode()


def _encode(name: str, made: object) -> bytes:
    if isinstance(made, bytes):
        return made
    if isinstance(made, str):
        return made.encode()
    if name.endswith(".jsonl") and isinstance(made, Iterable):
        rows = cast("Iterable[object]", made)
        return b"".join(msgspec.json.encode(row, enc_hook=repr) + b"\n" for row in rows)
    return msgspec.json.format(msgspec.json.encode(made, enc_hook=repr), indent=2) + b"\n"
