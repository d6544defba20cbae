"""What was written, before anybody has said what it means: a small tree with line numbers.

YAML, JSON and single texts (an environment variable, a flag) all become the same three nodes, so that one
set of ``kinds`` reads them. YAML's own idea of types is not used: PyYAML reads ``1:30`` as 90, ``no`` as False
and ``010`` as 8. Here a scalar keeps its text and the way it was written, and its kind decides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from enum import Enum, auto
from typing import Final, NamedTuple, NoReturn, TypeAlias

import yaml

from chatgpt_platform.settings.text import quoted

_DEEPEST: Final = 32  # the settings themselves need six levels
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_NOT_YAML: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# The C parser where PyYAML was built with it: a megabyte takes it a fraction of a second, not half a minute.
_LOADER: Final[type] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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


def from_yaml(text: str) -> Node:
    """Read one YAML document; an empty one is a null scalar.

    Events are folded with a stack of our own instead of ``yaml.compose``, whose recursion a file of brackets
    exhausts. Aliases are refused, so no file means more than it says.

    Raises ``Unreadable``.
    """
    try:
        return _fold(yaml.parse(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        _explain(error, text)
    except yaml.YAMLError:  # the only one without a mark
        bad = _NOT_YAML.search(text)
        line = text.count("\n", 0, bad.start()) + 1 if bad else 1
        raise Unreadable(line, "found a control character, expected none") from None


class _Open(NamedTuple):
    """A list or mapping whose end has not been read."""

    is_table: bool
    line: int
    nodes: list[Node]

    def close(self) -> Node:
        if not self.is_table:
            return Array(tuple(self.nodes), self.line)
        return Table(tuple(_pairs(self.nodes)), self.line)


def _pairs(nodes: list[Node]) -> Iterator[tuple[Scalar, Node]]:
    for key, value in zip(nodes[::2], nodes[1::2], strict=True):
        if not isinstance(key, Scalar):
            raise Unreadable(key.line, f"found {describe(key)} as a key, expected a name")
        yield key, value


def _fold(events: Iterable[yaml.Event]) -> Node:
    stack: list[_Open] = []
    root: Node | None = None
    for event in events:
        line = event.start_mark.line + 1 if event.start_mark else 0
        done: Node
        if isinstance(event, yaml.NodeEvent):
            _refuse_magic(event, line)
        if isinstance(event, yaml.DocumentStartEvent) and root is not None:
            raise Unreadable(line, "found a second document (---), expected one")
        if isinstance(event, yaml.CollectionStartEvent):
            if len(stack) == _DEEPEST:
                raise Unreadable(line, f"nested too deeply, expected at most {_DEEPEST} levels")
            stack.append(_Open(isinstance(event, yaml.MappingStartEvent), line, []))
            continue
        if isinstance(event, yaml.ScalarEvent):
            done = Scalar(event.value, Style.QUOTED if event.style else Style.PLAIN, line)
        elif isinstance(event, yaml.CollectionEndEvent):
            done = stack.pop().close()
        else:
            continue
        if stack:
            stack[-1].nodes.append(done)
        else:
            root = done
    return root or Scalar("", Style.PLAIN, 1)


def _refuse_magic(event: yaml.NodeEvent, line: int) -> None:
    if isinstance(event, yaml.AliasEvent):
        raise Unreadable(line, "found an alias (*name), expected the value itself")
    if getattr(event, "tag", None) is not None:
        raise Unreadable(line, "found a tag (!name), expected a value without one")


def _explain(error: yaml.MarkedYAMLError, text: str) -> NoReturn:
    """Say what the parser says, but never the text around it: that may be a key."""
    mark = error.problem_mark or error.context_mark
    index = mark.line if mark else 0
    lines = text.split("\n")
    written = lines[min(index, len(lines) - 1)]
    if "\t" in written[: len(written) - len(written.lstrip())]:
        raise Unreadable(index + 1, "found a tab before the text, expected spaces") from None
    # Without a problem of its own the C parser leaves the reason in ``context``.
    reason = error.problem or error.context or "cannot be read"
    raise Unreadable(index + 1, f"not valid YAML: {reason}") from None


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
