"""What was written, before anybody has said what it means: a small tree with line numbers.

YAML, JSON and single texts (an environment variable, a flag) all become the same three nodes, so that one
set of ``kinds`` reads them. YAML's own idea of types is not used: PyYAML reads ``1:30`` as 90, ``no`` as False
and ``010`` as 8. Here a scalar keeps its text and the way it was written, and its kind decides.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import Enum, auto
from typing import Final, NamedTuple, TypeAlias

from chatgpt_platform.settings.text import quoted

_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})


class Style(Enum):
    """How a scalar was written."""

    PLAIN = auto()  # YAML, without quotes
    QUOTED = auto()  # YAML in quotes or as a block, a JSON string
    LITERAL = auto()  # a JSON number, true, false or null
    GIVEN = auto()  # the whole of an environment variable, a file that one names, or a flag


class Scalar(NamedTuple):
    """One text. ``line`` counts from 1; 0 where there are no lines."""

    text: str
    style: Style
    line: int = 0

    @property
    def is_null(self) -> bool:
        if self.style is Style.PLAIN:
            return self.text in _NULLS
        return self.style is Style.LITERAL and self.text == "null"


class Array(NamedTuple):
    items: tuple[Node, ...]
    line: int = 0


class Table(NamedTuple):
    """A mapping as written: in order, duplicate keys included."""

    entries: tuple[tuple[Scalar, Node], ...]
    line: int = 0

    def repeated(self) -> Iterator[tuple[Scalar, int]]:
        """Each key that stands here a second time, with the line of its first."""
        first: dict[str, int] = {}
        for key, _ in self.entries:
            if key.text in first:
                yield key, first[key.text]
            first.setdefault(key.text, key.line)


Node: TypeAlias = Scalar | Array | Table


class Unreadable(Exception):
    """Not YAML, not JSON, or more than is read here. ``line`` counts from 1; 0: not known."""

    def __init__(self, line: int, text: str) -> None:
        self.line: Final = line
        self.text: Final = text
        super().__init__(text)


def describe(node: Node) -> str:
    """What was found, for an error message."""
    if isinstance(node, Array):
        return "a list"
    if isinstance(node, Table):
        return "a mapping"
    return "nothing" if node.is_null else quoted(node.text)


class _Pairs(NamedTuple):
    """A JSON object as read, before its values are turned into nodes."""

    pairs: list[tuple[str, object]]


def from_json(text: str) -> Node:
    """Read JSON, keeping duplicate members and each number as it was written.

    Raises ``Unreadable``, whose text does not repeat what was read.
    """
    try:
        return _from_value(
            json.loads(
                text,
                object_pairs_hook=_Pairs,
                parse_int=_literal,
                parse_float=_literal,
                parse_constant=_literal,
            )
        )
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Unreadable(0, f"not valid JSON: {error.msg} at {where}") from None
    except RecursionError:
        raise Unreadable(0, "nested too deeply") from None


def _literal(text: str) -> Scalar:
    return Scalar(text, Style.LITERAL)


def _from_value(value: object) -> Node:
    if isinstance(value, Scalar):
        return value
    if isinstance(value, str):
        return Scalar(value, Style.QUOTED)
    if isinstance(value, list):
        return Array(tuple(_from_value(item) for item in value))
    if isinstance(value, _Pairs):
        pairs = value.pairs
        return Table(tuple((Scalar(key, Style.QUOTED), _from_value(member)) for key, member in pairs))
    return _literal(json.dumps(value))  # true, false, null
