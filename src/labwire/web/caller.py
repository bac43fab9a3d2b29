"""Who asks over HTTP, for the log: the name they give, or the user of this computer who holds the other end."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from labwire.web.api import Caller

NAME_HEADER = "x-labwire-user"
_LONGEST = 40
_NOT_SHOWN = re.compile(r"[^\w .@+-]")


def find_caller(headers: Mapping[str, str], address: str, port: int) -> Caller:
    """Return who asks.

    Args:
        headers: Of the request, names in lower case.
        address: Where it comes from.
        port: From which port there.
    """
    given = _NOT_SHOWN.sub("?", headers.get(NAME_HEADER, "").strip()[:_LONGEST])
    user = local_user(port) if address in {"127.0.0.1", "::1"} else ""
    who = " as ".join(filter(None, [user, given])) or "somebody"
    return Caller(who, f"{address}:{port}")


def local_user(port: int) -> str:
    """Return the user of this computer whose connection to it comes from a port; empty if the system does not tell."""
    try:
        rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return ""
    for row in rows:
        fields = row.split()
        if int(fields[1].rpartition(":")[2], 16) == port:
            return _name_of(int(fields[7]))
    return ""


def _name_of(uid: int) -> str:
    try:
        import pwd

        return pwd.getpwuid(uid).pw_name
    except (ImportError, KeyError):
        return f"user {uid}"
