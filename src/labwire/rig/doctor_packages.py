"""The doctor looks at versions and optional dependencies."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable, Iterable, Iterator

import zmq

from labwire.errors import install_command
from labwire.rig.finding import Finding, fail, ok, warn

OLDEST_LIBZMQ = (4, 3, 2)
"""First with everything that the bus uses: XPUB_MANUAL_LAST_VALUE, monitor events of handshakes."""

_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)(?:\[(?P<extras>[^\]]+)\])?[^;]*;.*extra == ['\"](?P<extra>[^'\"]+)"
)
_HIDDEN = {"all"}  # only a name for the others together


def check_zmq(version: tuple[int, ...] | None = None) -> Iterator[Finding]:
    """Tell the versions of ZeroMQ; one that is too old fails.

    Args:
        version: Of libzmq; None means the one that is installed.
    """
    version = version or zmq.zmq_version_info()
    text = f"libzmq {'.'.join(map(str, version))}, pyzmq {zmq.__version__}"
    if version < OLDEST_LIBZMQ:
        oldest = ".".join(map(str, OLDEST_LIBZMQ))
        yield fail(f"{text}: older than {oldest}", "pip install --upgrade --force-reinstall pyzmq")
    else:
        yield ok(text)


def extras_of(requirements: Iterable[str]) -> dict[str, list[str]]:
    """Return the distributions of each extra from a project's requirements; an extra may name others of its own.

    >>> extras_of(["numpy>=2; extra == 'camera'", "labwire[camera]; extra == 'demo'"])
    {'camera': ['numpy'], 'demo': ['numpy']}
    """
    direct: dict[str, list[str]] = {}
    others: dict[str, list[str]] = {}
    for requirement in requirements:
        if match := _REQUIREMENT.match(requirement):
            direct.setdefault(match["extra"], [])
            if match["name"] == "labwire":
                others.setdefault(match["extra"], []).extend(match["extras"].split(","))
            else:
                direct[match["extra"]].append(match["name"])
    for extra, named in others.items():
        for other in named:
            direct[extra] += [name for name in direct.get(other.strip(), []) if name not in direct[extra]]
    return direct


def check_extras(
    needed: Iterable[str],
    requirements: Iterable[str] | None = None,
    version_of: Callable[[str], str] = importlib.metadata.version,
) -> Iterator[Finding]:
    """Look for the distributions of each extra.

    Args:
        needed: Extras without which the rig cannot run.
        requirements: Of labwire; None means what its installation says.
        version_of: Returns the version of a distribution, or raises `importlib.metadata.PackageNotFoundError`.
    """
    if requirements is None:
        try:
            requirements = importlib.metadata.requires("labwire") or []
        except importlib.metadata.PackageNotFoundError:
            yield warn("labwire is not installed as a package, so its extras are not known", "pip install -e .")
            return
    for extra, names in extras_of(requirements).items():
        if extra not in _HIDDEN:
            yield _extra(extra, names, version_of, needed=extra in set(needed))


def _extra(extra: str, names: list[str], version_of: Callable[[str], str], *, needed: bool) -> Finding:
    found: list[str] = []
    missing: list[str] = []
    for name in names:
        try:
            found.append(f"{name} {version_of(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if not missing:
        return ok(f"{extra}: {', '.join(found)}")
    text = f"{extra}: {', '.join(missing)} missing"
    advice = install_command(extra)
    return fail(f"{text}, which the rig needs", advice) if needed else warn(text, f"if you want it: {advice}")
