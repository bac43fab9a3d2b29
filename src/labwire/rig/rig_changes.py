"""A rig with a part more, or less, or as its file says now; pure: nothing is started or stopped here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from labwire.errors import ConfigError, NotFoundError, UsageError
from labwire.rig.rig_checks import check_rig
from labwire.rig.rig_config import RigConfig, fold_options, named_parts, resolve_paths, single_parts
from labwire.strict import Mistake, find_mistakes

WITH_CODE = frozenset({"actors", "instruments", "alerts"})
"""Parts whose options name a class or a command to run."""


def with_part(config: RigConfig, part: str, options: Mapping[str, Any], folder: Path) -> RigConfig:
    """Return a rig with one more part.

    Args:
        config: The rig.
        part: Its table in a rig file: ``cameras.top``, or ``recorder``.
        options: The keys of that table.
        folder: Where relative paths start.

    Raises:
        UsageError: There is no such kind of part, or one of that name.
        ConfigError: The options are wrong; data ``mistakes``, as of a rig file.
    """
    kind, dot, name = part.partition(".")
    if kind not in (named_parts() if dot else single_parts()):
        known = [*(f"{one}.NAME" for one in named_parts()), *single_parts()]
        raise UsageError(f"{part!r} cannot be added to a rig that runs; these can: {', '.join(known)}", part=part)
    present: Any = getattr(config, kind)
    if present is not None and (not dot or name in present):
        raise UsageError(f"the rig has [{part}] already: restart it, or remove it first", part=part)
    tree = fold_options({kind: {name: dict(options)} if dot else dict(options)})
    raise_of(part, list(find_mistakes(tree, RigConfig)))
    added = resolve_paths(msgspec.convert(tree, RigConfig), lambda _: folder)
    table: Any = getattr(added, kind)
    new = msgspec.structs.replace(config, **{kind: dict[str, Any](present or {}) | table if dot else table})
    raise_of(part, _new_mistakes(config, new))
    return new


def without(config: RigConfig, name: str) -> RigConfig:
    """Return a rig with one part less.

    Args:
        config: The rig.
        name: Of the part: ``top`` or ``cameras.top`` for ``[cameras.top]``, ``recorder`` for ``[recorder]``.

    Raises:
        NotFoundError: There is no such part.
        UsageError: Several parts have that name.
        ConfigError: Another part needs it.
    """
    present = {part: part.partition(".") for part in parts_of(config)}
    fitting = [part for part, (kind, _, own) in present.items() if name in {part, own or kind}]
    if not fitting:
        raise NotFoundError(f"no part {name!r} in this rig; there are: {', '.join(present) or 'none'}", name=name)
    if len(fitting) > 1:
        raise UsageError(f"{name!r} is not clear: say {' or '.join(fitting)}", name=name)
    kind, dot, own = present[fitting[0]]
    rest: Any = {one: table for one, table in getattr(config, kind).items() if one != own} if dot else None
    new = msgspec.structs.replace(config, **{kind: rest})
    raise_of(name, _new_mistakes(config, new))
    return new


def parts_of(config: RigConfig) -> dict[str, Any]:
    """Return the parts of a rig by their tables in a rig file: ``cameras.top``, ``recorder``."""
    named = {f"{kind}.{name}": one for kind in named_parts() for name, one in getattr(config, kind).items()}
    return named | {kind: one for kind in single_parts() if (one := getattr(config, kind)) is not None}


def keep_fixed(running: RigConfig, wanted: RigConfig) -> tuple[RigConfig, list[str]]:
    """Return a rig that differs from the running one only in what can change while it runs; and what cannot.

    Args:
        running: The rig that runs.
        wanted: The rig as it is to be.
    """
    changeable = {*named_parts(), *single_parts()}
    fixed = [field for field in RigConfig.__struct_fields__ if field not in changeable]
    kept = {field: getattr(running, field) for field in fixed}
    waiting = [field for field in fixed if getattr(wanted, field) != kept[field]]
    return msgspec.structs.replace(wanted, **kept), waiting


def _new_mistakes(before: RigConfig, after: RigConfig) -> list[Mistake]:
    known = set(check_rig(before, list(before.cameras)))
    return [mistake for mistake in check_rig(after, list(after.cameras)) if mistake not in known]


def raise_of(part: str, mistakes: list[Mistake]) -> None:
    """Refuse a part if anything is wrong with it.

    Raises:
        ConfigError: There are mistakes; data ``mistakes``, as of a rig file.
    """
    if mistakes:
        rows = [f"{'.'.join(map(str, path))}: {text}{f'; {hint}' if hint else ''}" for path, text, hint in mistakes]
        entries = [{"key": ".".join(map(str, path)), "text": text, "hint": hint} for path, text, hint in mistakes]
        raise ConfigError("\n".join(rows), part=part, mistakes=entries)
