"""labwire wires a lab rig together: one bus, one clock, open files.

>>> import labwire
>>> with labwire.connect() as rig:  # doctest: +SKIP
...     rig.record.start("pilot")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labwire.version import __version__

if TYPE_CHECKING:
    from labwire.bus.actor import Actor
    from labwire.client import Rig, connect
    from labwire.sessions.reading.session_reader import Session, open_session

__all__ = ["Actor", "Rig", "Session", "__version__", "connect", "open_session"]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__} - {"TYPE_CHECKING", "annotations"})  # what is lazy is completed, too


def __getattr__(name: str) -> object:
    # Lazy, so that `labwire --help` and plain `import labwire` do not pay for zmq.
    if name in {"connect", "Rig"}:
        import labwire.client

        return getattr(labwire.client, name)
    if name == "Actor":
        from labwire.bus.actor import Actor

        return Actor
    if name in {"open_session", "Session"}:
        import labwire.sessions.reading.session_reader

        return getattr(labwire.sessions.reading.session_reader, name)
    raise AttributeError(f"module 'labwire' has no attribute {name!r}")
