"""YAML, read as nodes. Imported only where there is a file: PyYAML takes a tenth of a start without one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, NoReturn

import yaml

from chatgpt_platform.settings.nodes import Array, Node, Scalar, Style, Table, Unreadable, describe

_DEEPEST: Final = 32  # the settings themselves need six levels
_NOT_YAML: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# The C parser where PyYAML was built with it: a megabyte takes it a fraction of a second, not half a minute.
_LOADER: Final[type] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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
