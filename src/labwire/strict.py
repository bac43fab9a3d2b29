"""Base of all configuration structs: frozen, and unknown keys are refused."""

from __future__ import annotations

import msgspec


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A configuration struct: keyword-only, frozen, unknown keys refused.

    Each room owns its own; `labwire.rig.rig_file` composes them into one file. The string under a field is its help.
    """
