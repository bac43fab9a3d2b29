"""``/docs``: the HTTP API for people, one page without scripts, made from the OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any

from labwire.errors import ERROR_CODES
from labwire.web.answer import title_of
from labwire.web.openapi import openapi

Tree = dict[str, Any]

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>labwire: HTTP API</title><link rel="stylesheet" href="/static/docs.css">
<link rel="icon" href="/static/icon.svg"></head><body><main>
<h1>HTTP API</h1>
<p><a href="/">Dashboard</a> · <a href="/openapi.json">OpenAPI 3.1</a> · <a href="/metrics">Metrics</a></p>
"""


def docs_page(url: str) -> str:
    """Return the page.

    Args:
        url: Where the rig is reached, for the examples.
    """
    return "".join([_HEAD, *_body(url), "</main></body></html>\n"])


def _body(url: str) -> Iterator[str]:
    document = openapi()
    yield f"<p>{_prose(document['info']['description'])}</p>"
    described = {tag["name"]: tag["description"] for tag in document["tags"]}
    sections: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            row = "".join(_operation(url, path, method, operation))
            sections.setdefault(operation["tags"][0], []).append(row)
    links = (f'<li><a href="#{escape(name)}">{escape(name)}</a></li>' for name in [*sections, "errors"])
    yield f"<nav aria-label='Services'><ul>{''.join(links)}</ul></nav>"
    for name, rows in sections.items():
        about = described.get(name, "")
        yield f'<h2 id="{escape(name)}">{escape(name)}</h2><p>{_prose(about)}</p>{"".join(rows)}'
    yield '<h2 id="errors">Errors</h2><div class="wide" tabindex="0"><table><thead><tr><th>code</th><th>status</th>'
    yield "<th>meaning</th></tr></thead><tbody>"
    for error, codes in ERROR_CODES.items():
        name = error.__name__
        yield f'<tr id="{name}"><td><code>{name}</code></td><td>{codes.http_status}</td>'
        yield f"<td>{escape(title_of(error))}</td></tr>"
    yield "</tbody></table></div>"


def _operation(url: str, path: str, method: str, operation: Tree) -> Iterator[str]:
    name = escape(operation["operationId"])
    badge = '<span class="changes">changes the rig</span>' if operation.get("x-labwire-changes") else ""
    yield f'<article id="{name}"><h3><code><b>{method.upper()}</b> {escape(path)}</code> {badge}</h3>'
    yield f"<p>{_prose(operation.get('description') or operation['summary'])}</p>"
    fields = list(_fields(operation))
    if fields:
        yield '<div class="wide" tabindex="0"><table><thead><tr><th>name</th><th>type</th><th>meaning</th></tr></thead>'
        yield "<tbody>"
        for key, schema, required, text in fields:
            must = " (required)" if required else ""
            yield f"<tr><td><code>{escape(key)}</code>{must}</td><td>{escape(_type(schema))}</td>"
            yield f"<td>{_prose(text)}</td></tr>"
        yield "</tbody></table></div>"
    yield f'<pre tabindex="0">{escape(_example(url, path, method, fields))}</pre></article>'


def _fields(operation: Tree) -> Iterator[tuple[str, Tree, bool, str]]:
    for parameter in operation.get("parameters", ()):
        yield parameter["name"], parameter["schema"], parameter["required"], parameter.get("description", "")
    if body := operation.get("requestBody"):
        schema = _resolve(body["content"]["application/json"]["schema"])
        for key, inner in schema["properties"].items():
            yield key, inner, key in schema.get("required", ()), inner.get("description", "")


def _example(url: str, path: str, method: str, fields: list[tuple[str, Tree, bool, str]]) -> str:
    given = {key: _sample(schema) for key, schema, required, _ in fields if required}
    if method == "get":
        query = "&".join(f"{key}={value}" for key, value in given.items())
        return f"curl '{url}{path}{'?' if query else ''}{query}'"
    body = f" -d '{json.dumps(given)}'" if given else ""
    return f"curl -X POST {url}{path} -H 'Content-Type: application/json'{body}"


def _sample(schema: Tree) -> Any:
    schema = _resolve(schema)
    if "default" in schema:
        return schema["default"]
    samples: dict[str, Any] = {"string": "…", "integer": 1, "number": 1.0, "boolean": True, "array": [], "object": {}}
    return samples.get(str(schema.get("type")), "…")


def _type(schema: Tree) -> str:
    schema = _resolve(schema)
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    kind = str(schema.get("title") or schema.get("type", "any"))
    if kind == "array":
        kind = f"list of {_type(schema.get('items', {}))}"
    if "default" in schema:
        kind += f" = {json.dumps(schema['default'])}"
    return kind


def _resolve(schema: Tree) -> Tree:
    if reference := schema.get("$ref"):
        return openapi()["components"]["schemas"][reference.rpartition("/")[2]]
    return schema


def _prose(text: str) -> str:
    """Return text as HTML; what stands in backticks is code."""
    parts = escape(text.replace("``", "`")).split("`")
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))
