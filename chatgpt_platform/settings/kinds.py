"""The kinds of value that a setting can have: number, duration, list and so on.

A kind reads a node, says what it expects, describes itself as JSON Schema and writes a value back as YAML that
it would read as the same value. Lists and mappings are in ``containers``; other modules hold more of them.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from typing import Final, Generic, NamedTuple, TypeVar

from chatgpt_platform.settings.nodes import Node, Scalar, Style, describe
from chatgpt_platform.settings.text import is_printable

T = TypeVar("T")


class Fault(NamedTuple):
    """One thing that is wrong. ``where``: the place below the setting, such as ``[1]``."""

    text: str
    line: int = 0
    where: str = ""


class Unusable(Exception):
    """A node that its kind cannot read, with every fault in it."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults: Final = faults
        super().__init__(*(fault.text for fault in faults))


class Mismatch(Exception):
    """Raised while one scalar is read. ``expected`` replaces the kind's own text, ``found`` what was written."""

    def __init__(self, expected: str = "", *, found: str = "") -> None:
        self.expected: Final = expected
        self.found: Final = found
        super().__init__(expected)


class Kind(ABC, Generic[T]):
    """``expected``: what an error asks for. ``name``: the type in the reference page."""

    name: str
    expected: str

    @abstractmethod
    def parse(self, node: Node) -> T:
        """The value of what was written. Raises ``Unusable``."""

    def node(self, text: str) -> Node:
        """What an environment variable or a flag says. Raises ``nodes.Unreadable``."""
        return Scalar(text, Style.GIVEN)

    @abstractmethod
    def json_schema(self) -> dict[str, object]:
        """The JSON Schema of a value in the file."""

    @abstractmethod
    def yaml(self, value: T) -> str:
        """The value as one line of YAML; a secret is masked."""


class ScalarKind(Kind[T]):
    """A value that is written as one scalar."""

    def parse(self, node: Node) -> T:
        if not isinstance(node, Scalar) or node.is_null:
            raise Unusable([Fault(f"found {describe(node)}, expected {self.expected}", node.line)])
        try:
            return self.convert(node)
        except Mismatch as mismatch:
            found = mismatch.found or self.found(node)
            text = f"found {found}, expected {mismatch.expected or self.expected}"
            raise Unusable([Fault(text, node.line)]) from None

    @abstractmethod
    def convert(self, node: Scalar) -> T:
        """The value of a scalar that is not null. Raises ``Mismatch``."""

    def found(self, node: Scalar) -> str:
        """How an error names what was written."""
        return describe(node)


class TextKind(ScalarKind[T]):
    """A value that is written as text, with or without quotes."""

    def convert(self, node: Scalar) -> T:
        if node.style is Style.LITERAL:  # JSON says clearly that this is no text
            raise Mismatch
        if not is_printable(node.text):
            raise Mismatch(f"{self.expected}, without control characters")
        return self.read(node.text)

    @abstractmethod
    def read(self, text: str) -> T:
        """The value of a printable text. Raises ``Mismatch``."""

    def json_schema(self) -> dict[str, object]:
        return {"type": "string"}


class Text(TextKind[str]):
    """Any text; ``pattern`` narrows it, ``empty`` lets it be empty."""

    name = "text"

    def __init__(self, expected: str = "a text", *, empty: bool = False, pattern: str = "(?s:.*)") -> None:
        self.expected = expected
        self._empty: Final = empty
        self._pattern: Final = re.compile(pattern)

    def read(self, text: str) -> str:
        if text == "" and not self._empty:
            raise Mismatch(f"{self.expected} that is not empty")
        if text and not self._pattern.fullmatch(text):
            raise Mismatch
        return text

    def json_schema(self) -> dict[str, object]:
        return {"type": "string"} if self._empty else {"type": "string", "minLength": 1}

    def yaml(self, value: str) -> str:
        return yaml_text(value)


class UserIds(TextKind[str]):
    """Whom to run as: ``UID`` or ``UID:GID`` in numbers; empty for nobody else. Root is no such user."""

    name = "user"
    expected = "the number of a user, or of a user and a group, such as 65532 or 65532:65532, and not root"
    _HIGHEST: Final = 2**32 - 2  # -1 means "leave it as it is" to the system
    _PATTERN: Final = "[1-9][0-9]{0,9}(?::(?:0|[1-9][0-9]{0,9}))?"

    def read(self, text: str) -> str:
        usable = re.fullmatch(self._PATTERN, text) and all(int(part) <= self._HIGHEST for part in text.split(":"))
        if text and not usable:
            raise Mismatch
        return text

    def json_schema(self) -> dict[str, object]:
        number = {"type": "integer", "minimum": 1, "maximum": self._HIGHEST}  # what YAML makes of a bare UID
        return {"anyOf": [{"type": "string", "pattern": f"^(?:{self._PATTERN})?$"}, number]}

    def yaml(self, value: str) -> str:
        return yaml_text(value)


_SAFE: Final = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*(?::[A-Za-z0-9_./-]+)*|[0-9]+(?:\.[0-9]+){3}(?:/[0-9]+)?")
_WORDS: Final = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})


def yaml_text(text: str) -> str:
    """The text as a YAML scalar: plain where no reader can mistake it, else in double quotes."""
    if _SAFE.fullmatch(text) and text.casefold() not in _WORDS:
        return text
    return json.dumps(text, ensure_ascii=False)


class Number(ScalarKind[int]):
    """A whole number from ``low`` to ``high``, in plain digits."""

    name = "whole number"
    _HIGHEST = 10**15  # exact in every JSON reader, and beyond what anybody means

    def __init__(self, low: int = 0, high: int | None = None) -> None:
        self._low: Final = low
        self._high: Final = high
        self.expected = f"a whole number, {low} or more" if high is None else f"a whole number, {low} to {high}"

    def convert(self, node: Scalar) -> int:
        if node.style is Style.QUOTED:
            raise Mismatch(f"{self.expected}, without quotes")
        if not re.fullmatch(r"0|-?[1-9][0-9]*", node.text, re.ASCII):
            raise Mismatch
        highest = self._HIGHEST if self._high is None else self._high
        if len(node.text) > len(str(self._HIGHEST)) or not self._low <= int(node.text) <= highest:
            raise Mismatch("" if node.text.startswith("-") else f"a whole number, {self._low} to {highest}")
        return int(node.text)

    def json_schema(self) -> dict[str, object]:
        highest = self._HIGHEST if self._high is None else self._high
        return {"type": "integer", "minimum": self._low, "maximum": highest}

    def yaml(self, value: int) -> str:
        return str(value)


class Boolean(ScalarKind[bool]):
    name = "true or false"
    expected = "true or false"

    def convert(self, node: Scalar) -> bool:
        if node.style is Style.QUOTED:
            raise Mismatch(f"{self.expected}, without quotes")
        if node.text.lower() not in {"true", "false"}:
            raise Mismatch
        return node.text.lower() == "true"

    def json_schema(self) -> dict[str, object]:
        return {"type": "boolean"}

    def yaml(self, value: bool) -> str:
        return "true" if value else "false"


class Choice(ScalarKind[str]):
    """One of a few words, in any case; ``true`` and ``false`` may be such words."""

    def __init__(self, *words: str) -> None:
        self._words: Final = words
        self.name = self.expected = f"{', '.join(words[:-1])} or {words[-1]}"

    def convert(self, node: Scalar) -> str:
        for word in self._words:
            if word.lower() == node.text.lower():
                return word
        raise Mismatch

    def json_schema(self) -> dict[str, object]:
        booleans = [word == "true" for word in self._words if word in {"true", "false"}]
        return {"enum": [*self._words, *booleans]}

    def yaml(self, value: str) -> str:
        return value
