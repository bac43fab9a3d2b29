"""Write the reference pages that are made from the code: ``.venv/bin/python -m scripts.reference_pages``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from labwire.cli.main import make_app
from labwire.rig.rig_file import schema
from labwire.sessions.manifest import manifest_schema
from scripts.http_page import http_api_page

PAGES = Path(__file__).parents[1] / "docs" / "reference"
COMMAND = ".venv/bin/python -m scripts.reference_pages"
_MADE = f"<!-- Made from the code by `{COMMAND}`: a test compares. -->"

Tree = Mapping[str, Any]

CLI_HEAD = f"""\
# The command line

{_MADE}

`labwire --help` and `labwire COMMAND --help` say the same in a terminal; `labwire --install-completion` completes
commands and options in yours. What was asked for goes to standard output, remarks and errors to standard error;
[exit codes](errors.md).

## Connection

Every command that talks to a rig takes these options:

"""

RIG_HEAD = f"""\
# The rig file

{_MADE}

A rig is one TOML file. What it leaves out has the default that stands here; an empty file is a rig that runs.
Relative paths start at the folder of the file, `~` is your home.

`labwire config default` prints a file with every key, `labwire config check rig.toml` says all that is wrong at once,
`labwire config schema` is for editors that complete and check TOML.

"""


def cli_page() -> str:
    """Return the page of the command line: what ``--help`` says, of all commands."""
    text = cast("str", make_app().generate_docs(output_format="markdown")).replace("```console", "```text")
    text = re.sub(r"^(labwire [\w -]+) -m [\w.]+", r"\1", text, flags=re.MULTILINE)  # usage lines that name this script
    body = text[text.index("\n## labwire run\n") :]
    block = re.search(r"\*\*Connection\*\*:\n\n((?:\* .*\n)+)", body)
    assert block, "commands have a group of options that is called Connection"
    body = body.replace(block[0], "Takes the [connection options](#connection).\n")
    contents = text[text.index("- [`run`]") : text.index("\n**A rig**")]
    return CLI_HEAD + block[1] + "\n## Commands\n\n" + contents + body.rstrip() + "\n"


def rig_file_page() -> str:
    """Return the page of the rig file: every table with its keys, types, defaults and meanings."""
    made = schema()
    return RIG_HEAD + "\n\n".join(_tables(made["$defs"], made["$defs"]["RigConfig"], "")) + "\n"


def _tables(definitions: Tree, struct: Tree, name: str) -> Iterator[str]:
    """Yield the section of a table, and those of the tables inside it."""
    inside: list[tuple[str, Tree]] = []
    rows: list[str] = []
    for key, about in struct["properties"].items():
        tables = list(_tables_of(definitions, about))
        label = f"{name}.{key}".strip(".") + (".NAME" if "additionalProperties" in about else "")
        inside += [(label, table) for table in tables]
        if not tables:
            rows.append(_row(key, about, is_required=key in struct["required"]))
    title = f"`[{name}]`" if name else "At the top"
    head = [f"## {title}", struct.get("description", "")]
    table = "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows])
    more = ["Further keys are its own options."] if struct.get("additionalProperties") else []
    yield "\n\n".join([*head, table, *more])
    for label, table_inside in inside:
        yield from _tables(definitions, table_inside, label)


def _tables_of(definitions: Tree, about: Tree) -> Iterator[Tree]:
    """Yield the structs that a key may hold: as a table, as one of several, or as one table per name."""
    inner = about.get("additionalProperties")
    for one in [about, *about.get("anyOf", ()), *([inner, *inner.get("anyOf", ())] if isinstance(inner, dict) else ())]:
        if reference := one.get("$ref"):
            yield definitions[reference.rpartition("/")[2]]


def _row(key: str, about: Tree, *, is_required: bool) -> str:
    default = "required" if is_required else _code(about.get("default"))
    meaning = about.get("description", "").replace("|", "\\|").replace("<", "&lt;")
    return f"| `{key}` | {_type_of(about)} | {default} | {meaning} |"


def _code(value: Any) -> str:
    return "not set" if value is None else f"`{json.dumps(value, ensure_ascii=False)}`"


def _type_of(about: Tree) -> str:
    if members := about.get("anyOf"):
        return " or ".join(_type_of(member) for member in members if member.get("type") != "null")
    if choices := about.get("enum"):
        return ", ".join(_code(choice) for choice in choices)
    if about.get("type") == "array":
        return f"list of {_type_of(about.get('items', {}))}"
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
    return words.get(str(about.get("type")), "any") + _range_of(about)


def _range_of(about: Tree) -> str:
    low, above, high = (about.get(key) for key in ("minimum", "exclusiveMinimum", "maximum"))
    if low is not None and high is not None:
        return f", {low} to {high}"
    parts = [f"{word} {limit}" for word, limit in (("at least", low), ("above", above), ("at most", high))]
    return "".join(f", {part}" for part in parts if not part.endswith("None"))


def session_schema() -> str:
    """Return the JSON Schema of ``session.json``."""
    return json.dumps(manifest_schema(), indent=2, ensure_ascii=False) + "\n"


GENERATED: Mapping[str, Callable[[], str]] = {
    "cli.md": cli_page,
    "rig-file.md": rig_file_page,
    "http-api.md": lambda: http_api_page(_MADE),
    "session.schema.json": session_schema,
}


def main() -> None:
    """Write all pages."""
    for name, make in GENERATED.items():
        (PAGES / name).write_text(make())


if __name__ == "__main__":
    main()
