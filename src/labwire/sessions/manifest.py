"""``session.json``: what a session is, from its first second to its end."""

from __future__ import annotations

import platform
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from labwire.clock import epoch_us
from labwire.errors import NotFoundError, ProtocolError
from labwire.operations.recordable import SessionStart, StreamCounters, StreamDescription
from labwire.operations.recording import StreamFailure
from labwire.sessions.files import replace_file
from labwire.sessions.sink import ClockChange, ClockReading
from labwire.version import __version__

FILE_NAME = "session.json"
FORMAT = "labwire.session"
VERSION = 1

RECORDING = "recording"
COMPLETE = "complete"
REPAIRED = "repaired"
BROKEN = "broken"

_BUILT_ON = ("pyzmq", "msgspec", "numpy", "av", "opencv-python-headless", "h5py")
_MAX_MANIFEST_BYTES = 64 << 20


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``session.json``. A reader must ignore keys that it does not know."""

    format: str = FORMAT
    version: int = VERSION
    uuid: str
    name: str
    """Session name, without the running number."""
    path: str
    """Where the session was recorded; it may have moved since."""
    labwire: str = __version__
    """Version that wrote it."""
    host: str = ""
    """Computer that recorded."""
    versions: dict[str, str] = {}
    """Of Python, the system and what labwire is built on."""
    actors: list[str] = []
    """Parts of the rig when the session began, by name."""
    start_epoch_us: int
    """Start on the wall clock, in microseconds since 1970."""
    start_rig_time_s: float
    """Start in rig time."""
    start_monotonic_s: float
    """Start on the monotonic clock of the computer that recorded."""
    segment: int = 0
    """Place in a series of sessions that were recorded without a break, from 0."""
    follows: str = ""
    """``uuid`` of the session before this one: of a series, or cut off when its recorder died; empty for the first."""
    clock_changes: list[ClockChange] = []
    """Jumps of rig time during the session, in order."""
    clocks: list[ClockReading] = []
    """All three clocks at the start, each minute, and at the end."""
    wall_offset_s: float | None = None
    """How far the wall clock has moved against the monotonic clock since the start, seconds."""
    wall_drift_ppm: float | None = None
    """The same per second of the session, in millionths; None before a minute has passed."""
    state: str = RECORDING
    """``recording``, ``complete``, ``repaired`` or ``broken`` (needs repair)."""
    ended: str = ""
    """Why: ``stopped``, ``segmented``, ``disk_low``, ``disk_failed``, ``rig_died`` (the bus was killed, not we);
    empty while it runs and after a crash of the recorder."""
    duration_s: float = 0.0
    updated_epoch_us: int = 0
    streams: dict[str, StreamDescription] = {}
    counters: dict[str, StreamCounters] = {}
    failed: list[StreamFailure] = []
    """Streams that could not take part, or not to the end."""
    left_out: list[str] = []
    """Streams that were not wanted. Without ``pictures`` the log has none either."""
    repairs: list[str] = []
    """One sentence per thing that a repair mended."""
    rig: dict[str, Any] = {}
    """Configuration of the rig."""

    @property
    def start(self) -> SessionStart:
        """The start as the recordables were told."""
        return SessionStart(
            path=self.path,
            name=self.name,
            uuid=self.uuid,
            start_monotonic_s=self.start_monotonic_s,
            start_rig_time_s=self.start_rig_time_s,
            start_epoch_us=self.start_epoch_us,
        )


def manifest_of(start: SessionStart, rig: dict[str, Any]) -> Manifest:
    """Make the manifest of a session that begins."""
    return Manifest(**msgspec.structs.asdict(start), rig=rig)


@cache
def versions() -> dict[str, str]:
    """Return the versions that may matter to whoever reads a session years later; looked up once."""
    found = {"python": platform.python_version(), "system": platform.platform(terse=True)}
    for name in _BUILT_ON:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def uuid_of(folder: Path) -> str:
    """Return the ``uuid`` of a session; empty if its manifest cannot be read."""
    with suppress(NotFoundError, ProtocolError):
        return read_manifest(folder).uuid
    return ""


def manifest_schema() -> dict[str, Any]:
    """Return the JSON Schema of ``session.json``; keys that it does not name are allowed."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": FORMAT,
        **msgspec.json.schema(Manifest),
    }


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Replace a session's manifest; return it as written, with the time of writing.

    Raises:
        OSError: The disk is full or fails; the old one stands.
    """
    stamped = msgspec.structs.replace(manifest, updated_epoch_us=epoch_us())
    replace_file(folder / FILE_NAME, msgspec.json.format(msgspec.json.encode(stamped), indent=2) + b"\n")
    return stamped


def read_manifest(folder: Path) -> Manifest:
    """Read a session's manifest.

    Raises:
        NotFoundError: There is none.
        ProtocolError: It is not one, or of a later version than this labwire knows.
    """
    path = folder / FILE_NAME
    try:
        if path.stat().st_size > _MAX_MANIFEST_BYTES:
            raise ProtocolError(f"{path} is too large for a manifest")
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError as error:
        raise NotFoundError(f"{folder} is not a session: it has no {FILE_NAME}", path=str(folder)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
        raise ProtocolError(f"{path} cannot be read: {error}", path=str(path)) from error
    if manifest.format != FORMAT or manifest.version > VERSION:
        raise ProtocolError(
            f"{path} is {manifest.format!r} version {manifest.version}: newer than labwire {__version__}"
        )
    return manifest
