"""The OpenAPI document of what the gateway tells of its accounts, made of ``operations``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from chatgpt_platform import __version__
from chatgpt_platform.accounts import shapes
from chatgpt_platform.accounts.inquiry import BY
from chatgpt_platform.accounts.shapes import Member
from chatgpt_platform.web.operations import OPERATIONS, Operation, Parameter

_FAILURES: Final = {
    "400": "A parameter cannot be read, or is not known here; `error.param` names it.",
    "401": "There is no key or token, or it was refused.",
    "403": "The address is not allowed.",
    "404": "This gateway keeps no account of calls.",
    "429": "Too many refused attempts, or too many calls.",
    "500": "A fault of the gateway.",
    "503": "The ledger cannot be read, the report took too long, too many are asked for, or the gateway stops.",
}
_OF_LEDGER: Final = ("404",)


def document() -> dict[str, Any]:
    """The document (OpenAPI 3.1)."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ChatGPT API Platform: accounts",
            "version": __version__,
            "summary": "Who used what: for the owner, and for the holders of virtual keys.",
        },
        "servers": [{"url": "/"}],
        "paths": {each.path: {"get": _operation(each)} for each in OPERATIONS},
        "components": {
            "securitySchemes": {
                "adminToken": {"type": "http", "scheme": "bearer", "description": "admin.token"},
                "virtualKey": {"type": "http", "scheme": "bearer", "description": "A virtual key."},
                "virtualKeyHeader": {"type": "apiKey", "in": "header", "name": "ApiKey"},
            },
            "schemas": _schemas(),
            "headers": {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds."}},
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    schemes = ("adminToken",) if operation.for_owner else ("virtualKey", "virtualKeyHeader")
    answers = {media: {"schema": _ref(name)} for media, name in operation.answers.items()}
    failures = [status for status in _FAILURES if operation.has_ledger or status not in _OF_LEDGER]
    return {
        "operationId": operation.id,
        "summary": operation.summary,
        "security": [{scheme: []} for scheme in schemes],
        "parameters": [_parameter(each) for each in operation.parameters],
        "responses": {
            "200": {"description": operation.summary, "content": answers},
            **{status: _failure(status) for status in failures},
        },
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema = parameter.form.schema()
    if parameter.default is not None:
        schema["default"] = parameter.default
    return {
        "name": parameter.name,
        "in": "query",
        "required": False,
        "description": parameter.help,
        "schema": schema,
    }


def _failure(status: str) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": _FAILURES[status],
        "content": {"application/json": {"schema": _ref("Error")}},
    }
    if status == "429":
        answer["headers"] = {"Retry-After": {"$ref": "#/components/headers/Retry-After"}}
    return answer


def _schemas() -> dict[str, Any]:
    names = {by: {"type": "string"} for by in BY}
    row = _object(shapes.FIGURES)
    row["properties"] = {**names, **row["properties"]}
    error = {
        "message": {"type": "string"},
        "type": {"type": "string"},
        "param": {"type": ["string", "null"]},
        "code": {"type": ["string", "null"]},
    }
    return {
        "Usage": _object(shapes.REPORT),
        "Row": {"description": "Figures, and the name that they are gathered by.", **row},
        "Figures": _object(shapes.FIGURES),
        "UsageTable": {"type": "string", "description": f"Named columns: by, {', '.join(shapes.FIGURES)}."},
        "Keys": _closed({"object": {"const": "list"}, "data": {"type": "array", "items": _ref("Key")}}),
        "Key": _object(shapes.KEY),
        "Standing": _object(shapes.STANDING),
        "OpenApi": {"type": "object", "required": ["openapi", "info", "paths"]},
        "Error": _closed({"error": _closed(error)}),
    }


def _object(members: Mapping[str, Member]) -> dict[str, Any]:
    return _closed({name: {**member.schema, "description": member.help} for name, member in members.items()})


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    """An object that has all these members and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}
