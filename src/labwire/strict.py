"""Base of all configuration structs: frozen, unknown keys refused, all mistakes found at once, help under a field."""

from __future__ import annotations

import ast
import difflib
import inspect
import itertools
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from types import UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    TypeAlias,
    Union,
    cast,
    dataclass_transform,
    get_args,
    get_origin,
)

import msgspec

KeyPath: TypeAlias = tuple[str | int, ...]

UNKNOWN_KEY = "unknown key"

_SHOWN_CHARS = 60


# Tells type checkers what msgspec does: subclasses inherit frozen and keyword-only.
@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A configuration struct: keyword-only, frozen, unknown keys refused.

    Each room owns its own; `labwire.rig.rig_file` composes them into one file. The string under a field is its help.
    """


class Mistake(NamedTuple):
    """One thing that is wrong in a configuration."""

    path: KeyPath
    """Where: ``("bus", "pub_port")``; list elements by index."""
    text: str
    """What: ``must be a whole number, not "ten"``."""
    hint: str = ""
    """What to do, if more can be said: ``did you mean pub_port?``."""

    def in_a_line(self) -> str:
        """Return it as one line: ``pub_prt: unknown key; did you mean pub_port?``."""
        where = ".".join(map(str, self.path)) or "options"
        return f"{where}: {self.text}; {self.hint}" if self.hint else f"{where}: {self.text}"


def is_strict(value: object) -> bool:
    """Tell whether something is a class of options: `Strict`, or a subclass."""
    return isinstance(value, type) and issubclass(value, Strict)


def find_mistakes(value: object, wanted: Any, path: KeyPath = ()) -> Iterator[Mistake]:
    """Yield everything that keeps `value` from being converted to the type `wanted`.

    If there is nothing, ``msgspec.convert(value, wanted)`` succeeds.

    Args:
        value: What a file held: dicts, lists, text, numbers, booleans.
        wanted: A `Strict` class, or a type made of such classes, dicts, lists and plain types.
        path: Where `value` stands.
    """
    bare = _bare(wanted)
    structs = _structs_in(bare)
    if struct := _struct_for(value, structs):
        yield from _mistakes_in_struct(value, struct, path)
        return
    if structs and isinstance(value, dict):
        yield _wrong_tag(cast("dict[str, object]", value), structs, path)
        return
    found: list[Mistake] = []
    for key, inner, inner_type in _elements(value, bare):
        found += find_mistakes(inner, inner_type, (*path, key))
    yield from found or _mistake_of_value(value, wanted, path)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that looks most like `name`, or the empty text if none does."""
    by_folded = {one.casefold().replace("-", "_"): one for one in known}
    close = difflib.get_close_matches(name.casefold().replace("-", "_"), by_folded, n=1, cutoff=0.6)
    return by_folded[close[0]] if close else ""


@cache
def help_of(struct: type[msgspec.Struct]) -> Mapping[str, str]:
    """Return the help of each field by its key: the string that stands under it in the source, on one line."""
    found: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        if issubclass(base, msgspec.Struct) and base.__module__ != "msgspec":
            found |= _strings_under_fields(base)
    return {
        field.encode_name: " ".join(found[field.name].split())
        for field in msgspec.structs.fields(struct)
        if field.name in found
    }


def _strings_under_fields(struct: type) -> Iterator[tuple[str, str]]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(struct)))
    except (OSError, TypeError, SyntaxError):  # made in an interactive session: no source, no help
        return
    body = cast("ast.ClassDef", tree.body[0]).body
    for field, below in itertools.pairwise(body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, text
            case _:
                pass


def _bare(wanted: Any) -> Any:
    return _bare(get_args(wanted)[0]) if get_origin(wanted) is Annotated else wanted


def _structs_in(bare: Any) -> list[type[msgspec.Struct]]:
    members = [_bare(arg) for arg in get_args(bare)] if get_origin(bare) in {Union, UnionType} else [bare]
    return [member for member in members if isinstance(member, type) and issubclass(member, msgspec.Struct)]


def _struct_for(value: object, structs: Sequence[type[msgspec.Struct]]) -> type[msgspec.Struct] | None:
    """Return the struct class that `value` is meant to be: the only one, or the one that its tag names."""
    if len(structs) == 1 and value is not None:
        return structs[0]
    table = cast("dict[str, object]", value) if isinstance(value, dict) else {}
    tagged = ((struct.__struct_config__, struct) for struct in structs)
    return next((struct for config, struct in tagged if table.get(config.tag_field or "") == config.tag), None)


def _wrong_tag(table: Mapping[str, object], structs: Sequence[type[msgspec.Struct]], path: KeyPath) -> Mistake:
    key = structs[0].__struct_config__.tag_field or ""
    tags = [str(struct.__struct_config__.tag) for struct in structs]
    choices = ", ".join(show_value(tag) for tag in tags)
    if key not in table:
        return Mistake((*path, key), "is missing", f"it is one of {choices}")
    near = nearest(str(table[key]), tags)
    hint = f'did you mean "{near}"?' if near else ""
    return Mistake((*path, key), f"must be one of {choices}, not {show_value(table[key])}", hint)


def _elements(value: object, bare: Any) -> Iterator[tuple[str | int, object, Any]]:
    args = get_args(bare)
    if get_origin(bare) is dict and isinstance(value, dict):
        yield from ((key, inner, args[1]) for key, inner in cast("dict[str, object]", value).items())
    elif get_origin(bare) in {list, tuple} and isinstance(value, list):
        yield from ((index, inner, args[0]) for index, inner in enumerate(cast("list[object]", value)))


def _mistakes_in_struct(value: object, struct: type[msgspec.Struct], path: KeyPath) -> Iterator[Mistake]:
    if not isinstance(value, dict):
        yield Mistake(path, f"must be a table of keys, not {show_value(value)}")
        return
    table = cast("dict[str, object]", value)
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    tag, tag_value = struct.__struct_config__.tag_field, struct.__struct_config__.tag
    found: list[Mistake] = []
    if tag and table.get(tag) != tag_value:
        wrong = f"must be {show_value(tag_value)}, not {show_value(table[tag])}" if tag in table else "is missing"
        found.append(Mistake((*path, tag), wrong, f"write {tag} = {show_value(tag_value)}"))
    for key, inner in table.items():
        if key in fields:
            found += find_mistakes(inner, fields[key].type, (*path, key))
        elif key != tag:
            found.append(_unknown_key(key, [*fields, *([tag] if tag else [])], (*path, key)))
    missing = [key for key, field in fields.items() if field.required and key not in table]
    found += [Mistake((*path, key), "is missing", _as_hint(help_of(struct).get(key, ""))) for key in missing]
    yield from found or _mistake_of_value(table, struct, path)


def _as_hint(text: str) -> str:
    sentence = text.partition(". ")[0].removesuffix(".")
    return sentence[:1].lower() + sentence[1:]


def _unknown_key(key: str, known: Sequence[str], path: KeyPath) -> Mistake:
    if near := nearest(key, known):
        return Mistake(path, UNKNOWN_KEY, f"did you mean {near}?")
    return Mistake(path, UNKNOWN_KEY, f"known here: {', '.join(known)}" if known else "no keys are known here")


def _mistake_of_value(value: object, wanted: Any, path: KeyPath) -> Iterator[Mistake]:
    try:
        msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        yield Mistake(path, *_reword(str(error), value, wanted))


_PLAIN_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text in quotes",
    "bool": "true or false",
    "array": "a list in [ ]",
    "object": "a table of keys",
    "null": "nothing",
}
_EXPECTED = re.compile(r"Expected `([^`]+)`(?:,? got `[^`]+`|( .+?))?(?: - at `.*`)?")


def _reword(error: str, value: object, wanted: Any) -> tuple[str, str]:
    """Say msgspec's error in the words of somebody who writes a rig file; a text that is not known stays as it is."""
    if choices := _choices(wanted, value):
        near = nearest(str(value), choices)
        shown = ", ".join(f'"{choice}"' for choice in choices)
        return f"must be one of {shown}, not {show_value(value)}", f'did you mean "{near}"?' if near else ""
    if match := _EXPECTED.fullmatch(error):
        names = [name.strip() for name in match[1].split("|")]
        words = " or ".join(_PLAIN_WORDS.get(name, name) for name in names if name != "null" or len(names) == 1)
        hint = "without the quotes" if isinstance(value, str) and _is_number(value) and "str" not in names else ""
        return f"must be {words}{match[2] or ''}, not {show_value(value)}", hint
    return re.sub(r" - at `.*`$", "", error), ""


def _choices(wanted: Any, value: object) -> list[str]:
    bare = _bare(wanted)
    if get_origin(bare) is Literal:
        return [str(choice) for choice in get_args(bare)]
    if get_origin(bare) in {Union, UnionType} and isinstance(value, str):
        return [choice for member in get_args(bare) for choice in _choices(member, value)]
    return []


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def show_value(value: object) -> str:
    """Show a value as a rig file would write it, shortened."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{value[:_SHOWN_CHARS]}{"…" if len(value) > _SHOWN_CHARS else ""}"'
        case dict():
            return "a table"
        case list():
            return "a list"
        case _:
            return str(value)
