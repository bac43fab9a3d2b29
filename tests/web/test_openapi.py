"""One table, five faces: RPC, HTTP, the Python client, the command line and the documents agree."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import jsonschema
import pytest

from labwire.cli.main import make_app
from labwire.operations.service import Operation, client_of
from labwire.operations.table import all_services
from labwire.web.api import Api
from labwire.web.docs_page import docs_page
from labwire.web.openapi import openapi
from labwire.web.routes import arguments_of, routes

DOCS = Path(__file__).parents[2] / "docs" / "reference"
ROWS = [row for service in all_services() for row in service.operations().values()]
BY_NAME = {
    operation["operationId"]: (method, path, operation)
    for path, methods in openapi()["paths"].items()
    for method, operation in methods.items()
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.full_name)
def test_every_operation_has_all_its_faces(row: Operation) -> None:
    method, path, operation = BY_NAME[row.full_name]
    route = routes()[path]
    assert route.operation is row, "RPC sends what HTTP does: one row"
    assert method.upper() == route.method
    assert (method == "get") <= (not row.changes), "what changes the rig is never a GET"
    properties = set(row.request.__struct_fields__)
    if method == "get":
        assert {parameter["name"] for parameter in operation["parameters"]} == properties
    else:
        schema = openapi()["components"]["schemas"][row.request.__name__]
        assert set(schema["properties"]) == properties
    assert set(arguments_of(row)) == properties, "each parameter is explained"
    proxy = client_of(route.service, lambda operation, request: request)
    assert set(inspect.signature(getattr(proxy, row.name)).parameters) - {"self"} == properties
    assert row.full_name in docs_page("http://x")
    assert ("202" in operation["responses"]) == (row.progress is not None)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.full_name)
def test_the_page_of_the_http_api_has_every_operation(row: Operation) -> None:
    assert f"/api/{row.service}/{row.name}" in (DOCS / "http-api.md").read_text()


def test_the_page_of_the_rpc_port_has_every_service() -> None:
    rpc = (DOCS / "rpc.md").read_text()
    for service in all_services():
        assert f"| `{service.service}` |" in rpc, f"a row for {service.service} in rpc.md"


def test_every_service_has_its_commands() -> None:
    app = make_app()
    for service in all_services():
        if service.service in {"rig", "bus"}:
            continue  # `labwire status`, `config` and `sub --stats` say these for people
        group = app[service.service]
        for name in service.operations():
            assert group[name.replace("_", "-")], f"labwire {service.service} {name}"


def test_the_document_is_openapi_3_1() -> None:
    document = openapi()
    assert document["openapi"].startswith("3.1")
    json.dumps(document)
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    names = [operation["operationId"] for _, _, operation in BY_NAME.values()]
    assert len(set(names)) == len(names)


def test_every_path_of_the_document_is_served() -> None:
    api = Api.__new__(Api)
    for path, methods in openapi()["paths"].items():
        assert {method.lower() for method in api.methods_of(path)} == set(methods)
