"""``labwire record``: the operations of the recorder; list, repair and verify are those of ``labwire sessions``."""

from __future__ import annotations

from labwire.cli.operation_commands import service_app
from labwire.cli.sessions import list_sessions, repair, verify
from labwire.operations.recording import Recording

app = service_app(Recording, instead={"list": list_sessions, "repair": repair, "verify": verify})
