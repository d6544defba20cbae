"""What the gateway tells of its accounts over HTTP: each operation once, with its parameters.

The handlers check what they are given by these declarations (``read``), and the OpenAPI document is made of them
(``openapi``), so what is documented is what is done.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from chatgpt_platform.accounts import inquiry
from chatgpt_platform.accounts.inquiry import BY
from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway import endpoints, parameters
from chatgpt_platform.gateway.endpoints import Endpoint

_LONGEST_NAME: Final = 512


class Form(ABC):
    """What a parameter may be."""

    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """In JSON Schema."""

    @abstractmethod
    def check(self, name: str, text: str) -> None:
        """Raises Problem for what ``schema`` does not hold for."""


@dataclass(frozen=True)
class OneOf(Form):
    """One of a few words."""

    words: tuple[str, ...]

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.words)}

    def check(self, name: str, text: str) -> None:
        if text not in self.words:
            raise Problem(Kind.BAD_REQUEST, "wrong_word", param=name, member=name, words=", ".join(self.words))


@dataclass(frozen=True)
class Moment(Form):
    """The beginning or the end of a span, as ``accounts.inquiry`` reads it."""

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": inquiry.PATTERN}

    def check(self, name: str, text: str) -> None:
        if not inquiry.is_moment(text):
            raise Problem(Kind.BAD_REQUEST, "wrong_moment", param=name, member=name)


@dataclass(frozen=True)
class Name(Form):
    """Exactly the name of what calls are limited to; the empty one is that of calls that had none."""

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "maxLength": _LONGEST_NAME}

    def check(self, name: str, text: str) -> None:
        if len(text) > _LONGEST_NAME:
            raise Problem(Kind.BAD_REQUEST, "too_long", param=name, member=name, limit=_LONGEST_NAME)


@dataclass(frozen=True)
class Parameter:
    """One parameter of a query. ``default``: its value where it is left out; None for none."""

    name: str
    form: Form
    help: str
    default: str | None = None


@dataclass(frozen=True)
class Operation:
    """What is answered at one path. ``answers``: the media types of a success and their schemas' names.

    ``for_owner``: with the admin token; otherwise with a virtual key. ``has_ledger``: whether it needs one.
    """

    endpoint: Endpoint
    path: str
    id: str
    summary: str
    answers: Mapping[str, str]
    parameters: tuple[Parameter, ...] = ()
    for_owner: bool = True
    has_ledger: bool = False


_SINCE: Final = Parameter(
    "since", Moment(), f"The beginning: {inquiry.EXPECTED}. Rounded down to the hour.", default="30d"
)
_UNTIL: Final = Parameter(
    "until", Moment(), "The end, in the same manner; a date means its end. Rounded up to the hour; default: now."
)
_JSON: Final = "application/json"

USAGE: Final = Operation(
    endpoints.USAGE,
    "/api/usage",
    "readOwnUsage",
    "The usage of the virtual key that asks.",
    MappingProxyType({_JSON: "Usage"}),
    (
        _SINCE,
        _UNTIL,
        Parameter(
            "by", OneOf(tuple(by for by in BY if by != "key")), "What calls are gathered by.", default="day"
        ),
    ),
    for_owner=False,
    has_ledger=True,
)
ADMIN_USAGE: Final = Operation(
    endpoints.ADMIN_USAGE,
    "/admin/usage",
    "readUsage",
    "The usage of all keys and addresses.",
    MappingProxyType({_JSON: "Usage", "text/csv": "UsageTable"}),
    (
        _SINCE,
        _UNTIL,
        Parameter("by", OneOf(BY), "What calls are gathered by.", default="key"),
        Parameter("key", Name(), "Only calls with this key's name; empty: those without a key."),
        Parameter("client", Name(), "Only calls from this address, as the ledger keeps it."),
        Parameter("model", Name(), "Only calls for this model."),
        Parameter("upstream", Name(), "Only calls to this upstream; empty: those that were sent to none."),
        Parameter("format", OneOf(("json", "csv")), "How it is written.", default="json"),
    ),
    has_ledger=True,
)
ADMIN_KEYS: Final = Operation(
    endpoints.ADMIN_KEYS,
    "/admin/keys",
    "listKeys",
    "All virtual keys with their settings and what is left of their allowances; never the keys themselves.",
    MappingProxyType({_JSON: "Keys"}),
)
ADMIN_OPENAPI: Final = Operation(
    endpoints.ADMIN_OPENAPI,
    "/admin/openapi.json",
    "readOpenApi",
    "This document.",
    MappingProxyType({_JSON: "OpenApi"}),
)

OPERATIONS: Final = (USAGE, ADMIN_USAGE, ADMIN_KEYS, ADMIN_OPENAPI)


def read(operation: Operation, query: str) -> dict[str, str]:
    """The parameters of a query, with their defaults; those without either are left out. Raises Problem.

    ``query``: as HTTP servers hand it on.
    """
    given: dict[str, str] = {}
    known = {parameter.name: parameter for parameter in operation.parameters}
    for name, text in parameters.from_query(query):
        parameter = known.get(name)
        if parameter is None:
            raise Problem(Kind.BAD_REQUEST, "unknown_parameter", param=name, member=name)
        if name in given:
            raise Problem(Kind.BAD_REQUEST, "duplicate_member", param=name, member=name)
        parameter.form.check(name, text)
        given[name] = text
    return {each.name: each.default for each in operation.parameters if each.default is not None} | given
