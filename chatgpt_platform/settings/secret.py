"""Keys: a wrapper that cannot be printed by accident, and the kind that reads one."""

from __future__ import annotations

import re
from typing import Final, final

from chatgpt_platform.settings.containers import ListOf
from chatgpt_platform.settings.kinds import Fault, Mismatch, TextKind, Unusable
from chatgpt_platform.settings.nodes import Array, Node, Scalar, Style

MASK: Final = "***"
_HIDDEN: Final = "a value that is not shown"


@final
class Secret:
    """A text that ``str``, ``repr`` and ``format`` show as ``***``. ``reveal`` gives it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text: Final = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))


class SecretKind(TextKind[Secret]):
    """A text that is kept out of sight: no error repeats what was written. ``pattern``: what it must look like."""

    pattern: str = r"(?s:.*)"

    def convert(self, node: Scalar) -> Secret:
        if node.style is Style.LITERAL:
            raise Mismatch
        return self.read(node.text)

    def read(self, text: str) -> Secret:
        if not re.fullmatch(self.pattern, text):
            raise Mismatch
        return Secret(text)

    def found(self, node: Scalar) -> str:
        return _HIDDEN

    def yaml(self, value: Secret) -> str:
        return MASK


class Key(SecretKind):
    """What can stand behind ``Bearer`` in a header."""

    name = "key"
    expected = "a key of visible ASCII characters without blanks"
    pattern = r"[!-~]{1,4096}"


class Keys(ListOf[Secret]):
    """The keys of an upstream; one at most. A variable holds one key, commas included."""

    def __init__(self) -> None:
        super().__init__(Key())
        self.name = "list of one key"
        self.expected = "a list with one key"

    def node(self, text: str) -> Node:
        return Array((Scalar(text, Style.GIVEN),))

    def parse(self, node: Node) -> tuple[Secret, ...]:
        keys = super().parse(node)
        if isinstance(node, Array) and len(keys) > 1:
            raise Unusable([Fault(f"found {len(keys)} keys, expected one: this version uses one key", node.line)])
        return keys

    def found(self, node: Node) -> str:
        return _HIDDEN if isinstance(node, Scalar) else super().found(node)

    def json_schema(self) -> dict[str, object]:
        return super().json_schema() | {"maxItems": 1}
