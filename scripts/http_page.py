"""The reference page of the HTTP API, made from its OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from labwire.web.live_frame import Tag
from labwire.web.openapi import openapi

Tree = Mapping[str, Any]

_HEAD = """\
# The HTTP API

{made}

`labwire run` serves it beside the dashboard, by default at `http://127.0.0.1:8080`: [the rig file](rig-file.md#web)
says where, [the dashboard](../how-to/dashboard.md) how to open it to others. The rig itself has the same text at
`/docs`, with an example for each operation, and the OpenAPI 3.1 document at `/openapi.json`.

```
curl http://127.0.0.1:8080/api/record/list
curl -X POST http://127.0.0.1:8080/api/record/start -H 'Content-Type: application/json' -d '{{"name": "pilot"}}'
```

What only looks is a `GET` with a query; what changes the rig is a `POST` with a JSON body, or none where every field
has a default. Unknown fields are refused.
`X-Labwire-User` tells the log who asks; the log has each change with who and from where.

## Errors

A problem document (RFC 9457), `application/problem+json`: `type`, `title`, `status`, `detail`, `instance`, and `code`,
the error's name in [errors](errors.md), with `data`, its values. 401 means that the token is missing, 405 that the
path takes another method.

## Long work

An operation that takes long answers 202 with a job and its address in `Location`. `GET /api/jobs/ID` tells `state`
(`running`, `done`, `failed`, `cancelled`), the newest `progress`, then `result` or `failure`;
`POST /api/jobs/ID/cancel` asks it to end.
Sixteen run at once; of those that have ended the newest hundred are kept.

## Tokens and names

On loopback there is no token. Beyond it every request but `/`, `/static/`, `/health` and `/api/login` shows the token
of the rig: `Authorization: Bearer TOKEN`, or the cookie that `POST /api/login` with `{{"token": "..."}}` sets.
A request whose `Host` is a name that `[web]` does not know, or whose `Origin` is another site, gets 403.

## For machines

| path | what it says |
|---|---|
| `/health` | 200 while the web server works |
| `/ready` | 200 while the rig answers, the bus is there and every actor that nobody has stopped runs; else 503 |
| `/metrics` | the rig in the text format of Prometheus; every counter stands there from the start |
| `/openapi.json` | this API |

## Live

A WebSocket at `/live` carries what changes. A reader says what it wants, as text:

```json
{{"wish": {{"newest": ["camera."], "all": ["notify."], "pictures": ["frame.world"],
  "series": [{{"id": "a", "topic": "pupil.0.2d", "field": "diameter", "bucket_s": 0.01}}]}}}}
```

`newest` sends of each topic the newest message, `all` every one, `pictures` the first raw part as its source sent it,
`series` the numbers of a field, of each bucket the least and the greatest (`bucket_s` 0: all of them). A wish
replaces the one before. `{{"shown": "frame.world"}}` says that a picture has been drawn: at most two of a topic are on
their way. A reader that is slow gets newer pictures and fewer messages; what it did not get is counted and told.

Frames are bytes: `<BBHI` (tag, version 1, zero, length of the header), a header in JSON, zeros up to a multiple of
eight, the body.

| tag | frame | contents |
|---|---|---|
{tags}

## Operations

"""


def http_api_page(made: str) -> str:
    """Return the page.

    Args:
        made: The line that says where the page comes from.
    """
    tags = "\n".join(f"| {tag.value} | `{tag.name}` | {_TAGS[tag]} |" for tag in Tag)
    return _HEAD.format(made=made, tags=tags) + "\n".join(_operations()) + "\n"


_TAGS = {
    Tag.HELLO: "First of all: `rig`, `version`, `read_only`, `url`, `remote`",
    Tag.MESSAGES: "`newest` and `all`, lists of `[topic, payload, rig time of arrival, raw bytes]`; `dropped` by topic",
    Tag.PICTURE: "`topic`, `payload`, `dropped`; the body is the picture",
    Tag.SERIES: "`series`, a list of `[id, points, dropped]`; the body: of each its times, then its values, float64",
    Tag.STATUS: "Each second: `rig_time_s`, `rig` (false: the bus is gone), `dropped` by topic, `browsers`",
}


def _operations() -> Iterator[str]:
    document = openapi()
    service = ""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if operation["tags"][0] != service:
                service = operation["tags"][0]
                yield f"### {service}\n"
            yield from _operation(path, method, operation, document["components"]["schemas"])


def _operation(path: str, method: str, operation: Tree, schemas: Tree) -> Iterator[str]:
    yield f"#### `{method.upper()} {path}`\n"
    yield operation.get("description", operation["summary"]).replace("``", "`").replace("<", "&lt;") + "\n"
    rows = list(_rows(operation, schemas))
    if rows:
        yield "\n".join(["| field | type | default | meaning |", "|---|---|---|---|", *rows]) + "\n"
    answers = ", ".join(f"{status} `{_reply(response)}`" for status, response in _good(operation["responses"]))
    yield f"Answers {answers}.\n"


def _rows(operation: Tree, schemas: Tree) -> Iterator[str]:
    for parameter in operation.get("parameters", ()):
        yield _row(parameter["name"], parameter["schema"], parameter.get("description", ""), parameter["required"])
    if body := operation.get("requestBody"):
        schema = schemas[body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]]
        for key, about in schema["properties"].items():
            yield _row(key, about, about.get("description", ""), key in schema.get("required", ()))


def _row(key: str, about: Tree, text: str, required: bool) -> str:  # noqa: FBT001  a column
    default = "required" if required else f"`{json.dumps(about['default'])}`" if "default" in about else ""
    return f"| `{key}` | {_type(about)} | {default} | {text.replace('``', '`').replace('|', chr(92) + '|')} |"


def _type(about: Tree) -> str:
    if reference := about.get("$ref"):
        return f"`{reference.rpartition('/')[2]}`"
    if members := about.get("anyOf"):
        return " or ".join(_type(member) for member in members)
    if about.get("type") == "array":
        return f"list of {_type(about.get('items', {}))}"
    return str(about.get("type", "any"))


def _good(responses: Tree) -> Iterator[tuple[str, Tree]]:
    yield from ((status, response) for status, response in responses.items() if status.startswith("2"))


def _reply(response: Tree) -> str:
    kind, content = next(iter(response["content"].items()))
    return _type(content["schema"]).replace("`", "") if "schema" in content else kind
