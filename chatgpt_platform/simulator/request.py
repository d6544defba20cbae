"""What a caller sent: the request as it came, and its JSON members with their types checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from chatgpt_platform.simulator.answer import Refusal

_FOUND = {  # how a refusal calls what it found
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    list: "an array",
    dict: "an object",
    type(None): "null",
}

_NOT_JSON = "We could not parse the JSON body of your request. The API expects a JSON object in UTF-8."


@dataclass(slots=True)
class Generated:
    """The tokens of one call, as far as it came: what its upstream would charge."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """One call. ``path`` has no query; the names in ``headers`` are the same in either case.

    ``fault``: the kind that it met, empty where there was none. ``at``: Unix time in seconds, when it had come.
    ``generated``: what was, so far.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)  # the key is in here
    body: bytes = field(repr=False, default=b"")
    fault: str = ""
    at: float = 0.0
    generated: Generated = field(default_factory=Generated, compare=False)

    @property
    def key(self) -> str:
        """The bearer token; empty if there is none."""
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    @property
    def is_responses(self) -> bool:
        """Whether it is for the Responses API, whose events have a shape of their own."""
        return self.path == "/v1/responses"


class Members:
    """The members of a JSON object. A member that is null counts as absent, as OpenAI has it.

    Each getter raises Refusal with the member's name in ``param`` if the value cannot be.
    """

    def __init__(self, values: Mapping[str, object], prefix: str = "") -> None:
        self._values = values
        self._prefix = prefix

    @classmethod
    def parse(cls, body: bytes) -> Members:
        """Reads a request's body. Raises Refusal if it is not a JSON object in sound UTF-8."""
        try:
            values = json.loads(body.decode(), parse_constant=_refuse_constant)
            if b"\\u" in body:  # a lone surrogate can be escaped, but never sent back
                json.dumps(values, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            raise Refusal(_NOT_JSON) from None
        if not isinstance(values, dict):
            raise Refusal(_NOT_JSON)
        return cls(values)

    def path(self, name: str) -> str:
        """How errors call the member: ``messages[0].role``."""
        return f"{self._prefix}{name}"

    def raw(self, name: str) -> object:
        """The value as it came; None if absent."""
        return self._values.get(name)

    def required(self, name: str) -> object:
        """The value as it came, of any type but null."""
        value = self.raw(name)
        if value is None:
            raise Refusal(
                f"Missing required parameter: '{self.path(name)}'.",
                param=self.path(name),
                code="missing_required_parameter",
            )
        return value

    def text(self, name: str, default: str = "") -> str:
        value = self.raw(name)
        if value is None:
            return default
        return value if isinstance(value, str) else self.wrong_type(name, "a string")

    def required_text(self, name: str) -> str:
        """A string that is not empty."""
        if self.raw(name) == "":
            raise Refusal(f"Invalid '{self.path(name)}': empty string.", param=self.path(name))
        self.required(name)
        return self.text(name)

    def flag(self, name: str) -> bool:
        value = self.raw(name)
        if value is None:
            return False
        return value if isinstance(value, bool) else self.wrong_type(name, "a boolean")

    def integer(self, name: str, low: int, high: int) -> int | None:
        """A whole number from ``low`` to ``high``; None if absent."""
        value = self.raw(name)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            self.wrong_type(name, "an integer")
        if not low <= value <= high:
            self._out_of_range(name, value, low, high)
        return value

    def number(self, name: str, low: float, high: float) -> float | None:
        """A number from ``low`` to ``high``; None if absent."""
        value = self.raw(name)
        if value is None:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool):
            self.wrong_type(name, "a number")
        if not low <= value <= high:
            self._out_of_range(name, value, low, high)
        return value

    def inner(self, name: str) -> Members | None:
        """The members of an object; None if absent."""
        value = self.raw(name)
        if value is None:
            return None
        return object_at(value, self.path(name))

    def wrong_type(self, name: str, wanted: str) -> NoReturn:
        refuse_type(self.path(name), wanted, self.raw(name))

    def _out_of_range(self, name: str, value: float, low: float, high: float) -> NoReturn:
        kind = "integer" if isinstance(value, int) else "decimal"
        bound = f">= {low}" if value < low else f"<= {high}"
        raise Refusal(
            f"Invalid '{self.path(name)}': expected a value {bound}, but got {value} instead.",
            param=self.path(name),
            code=f"{kind}_below_min_value" if value < low else f"{kind}_above_max_value",
        )


def object_at(value: object, path: str) -> Members:
    """The members of ``value``, which errors call ``path``. Raises Refusal if it is not an object."""
    if not isinstance(value, dict):
        refuse_type(path, "an object", value)
    return Members(value, f"{path}.")


def refuse_type(path: str, wanted: str, found: object) -> NoReturn:
    """Raises Refusal in the words that OpenAI uses for a wrong type."""
    name = _FOUND.get(type(found), "something else")
    raise Refusal(
        f"Invalid type for '{path}': expected {wanted}, but got {name} instead.",
        param=path,
        code="invalid_type",
    )


def refuse_empty(path: str) -> NoReturn:
    """Raises Refusal in the words that OpenAI uses for an array that must not be empty."""
    raise Refusal(
        f"Invalid '{path}': empty array. Expected an array with minimum length 1.",
        param=path,
        code="empty_array",
    )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON (RFC 8259, section 6)")
