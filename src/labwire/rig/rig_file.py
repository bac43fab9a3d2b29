"""Read a rig file, and say everything that is wrong in it at once: line, key, nearest key, what to do.

>>> config = load_rig(None, {"remote.port": 0})
>>> config.remote.port, config.bus.slow_subscriber_s
(0, 2.0)
"""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from labwire.errors import ConfigError
from labwire.rig.rig_checks import check_rig
from labwire.rig.rig_config import ActorConfig, RigConfig, dump, fold_options, resolve_paths
from labwire.rig.rig_help import default_toml, schema, tables_by_key
from labwire.rig.rig_report import RigReport
from labwire.strict import UNKNOWN_KEY, KeyPath, Mistake, find_mistakes

__all__ = ["ActorConfig", "RigConfig", "default_toml", "dump", "load_rig", "parse_rig", "schema"]

MAX_FILE_BYTES = 1 << 20


def _nothing_more(_config: RigConfig) -> Iterable[Mistake]:
    return ()


def load_rig(
    path: str | Path | None,
    overrides: Mapping[str, Any] | None = None,
    *,
    also: Callable[[RigConfig], Iterable[Mistake]] = _nothing_more,
) -> RigConfig:
    """Read a rig file.

    Relative paths in it become absolute, starting at its folder.

    Args:
        path: The file; None means an empty one in the working folder.
        overrides: What the command line says, by dotted key: ``{"remote.port": 0}``. A value replaces whatever the file
            has there, a table as a whole; None takes the key away. Relative paths start at the working folder.
        also: Yields what else is wrong; asked with what is right in the file.

    Raises:
        ConfigError: The file cannot be read, or something in it or in `overrides` is wrong. The message has a line for
            each mistake; ``data["mistakes"]`` has them as dicts of ``file``, ``line``, ``key``, ``text``, ``hint``.
    """
    if path is None:
        return parse_rig("", file="", folder=Path.cwd(), overrides=overrides, also=also)
    file = Path(path)
    return parse_rig(_read(file), file=str(path), folder=file.absolute().parent, overrides=overrides, also=also)


def parse_rig(
    text: str,
    *,
    file: str = "",
    folder: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    also: Callable[[RigConfig], Iterable[Mistake]] = _nothing_more,
) -> RigConfig:
    """Read the text of a rig file; see `load_rig`.

    Args:
        text: TOML.
        file: What to call it in messages.
        folder: Where relative paths in it start; None means the working folder.
        overrides: What the command line says, by dotted key.
        also: Yields what else is wrong; asked with what is right in the file.

    Raises:
        ConfigError: Something is wrong in it.
    """
    report = RigReport(file or "the rig", text, overrides or {})
    try:
        tree: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise report.of_syntax(error) from error
    tree = _override(tree, report.overrides)
    mistakes = [_better_hint(mistake) for mistake in find_mistakes(fold_options(tree), RigConfig)]
    config = _what_is_right(tree, mistakes, report, folder or Path.cwd())
    if config:
        known = {mistake.path[:2] for mistake in mistakes}
        cameras = _table_at(tree, ["cameras"], make=False) or {}
        mistakes += [
            mistake
            for mistake in check_rig(config, list(cameras))
            if mistake.path[:2] not in known  # it may only follow from what is reported there
        ]
        mistakes += also(config)
    if config is None or mistakes:
        raise report.of_mistakes(mistakes, tree)
    return config


def _read(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as error:
        hint = "labwire config default > rig.toml makes one; without a file the demo rig runs"
        raise ConfigError(f"there is no rig file {file}: {hint}", file=str(file)) from error
    except OSError as error:
        raise ConfigError(f"cannot read the rig file {file}: {error.strerror}", file=str(file)) from error
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{file} is no rig file: it has more than {MAX_FILE_BYTES} bytes", file=str(file))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{file}, line {line}: not UTF-8 text", file=str(file), line=line) from error


def _override(tree: dict[str, Any], overrides: Mapping[KeyPath, Any]) -> dict[str, Any]:
    tree = copy.deepcopy(tree)
    for path, value in overrides.items():
        *above, key = map(str, path)
        if (table := _table_at(tree, above, make=value is not None)) is None:
            continue
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value
    return tree


def _table_at(tree: dict[str, Any], path: Iterable[str], *, make: bool) -> dict[str, Any] | None:
    """Return the table at a path; None if it is not there, or is no table and so a mistake of the file's."""
    table = tree
    for part in path:
        inner: Any = table.setdefault(part, {}) if make else table.get(part)
        if not isinstance(inner, dict):
            return None
        table = cast("dict[str, Any]", inner)
    return table


def _what_is_right(
    tree: dict[str, Any], mistakes: Iterable[Mistake], report: RigReport, folder: Path
) -> RigConfig | None:
    """Return the rig without the keys that are wrong; where a part cannot do without them, without that part."""
    here = Path.cwd()
    for paths in ([mistake.path for mistake in mistakes], [mistake.path[:2] for mistake in mistakes]):
        config = _convert(fold_options(_prune(tree, paths)), lambda key: here if report.is_spoken(key) else folder)
        if config is not None:
            return config
    return None


def _prune(tree: dict[str, Any], paths: Iterable[KeyPath]) -> dict[str, Any]:
    """Take away what is wrong, so that the rest can be checked too."""
    tree = copy.deepcopy(tree)
    for path in paths:
        above: Any = tree
        remove: tuple[dict[str, Any], str] | None = None
        for part in path:
            if not isinstance(above, dict):
                break  # inside a list: the whole list goes
            table = cast("dict[str, Any]", above)
            if part not in table:
                break  # a key is missing: the table that should have it goes
            remove = (table, str(part))
            above = table[str(part)]
        if remove:
            remove[0].pop(remove[1])
    return tree


def _convert(tree: dict[str, Any], folder_of: Callable[[KeyPath], Path]) -> RigConfig | None:
    try:
        config = msgspec.convert(tree, RigConfig)
    except msgspec.ValidationError:  # what was taken away is missed elsewhere
        return None
    return resolve_paths(config, folder_of)


def _better_hint(mistake: Mistake) -> Mistake:
    *table, key = mistake.path
    homes = [home for home in tables_by_key().get(str(key), []) if home != ".".join(map(str, table))]
    if mistake.text != UNKNOWN_KEY or not homes:
        return mistake
    return mistake._replace(hint=f"it belongs into [{homes[0]}]")
