"""Keys: a wrapper that cannot be printed by accident, and the kind that reads one."""

from __future__ import annotations

import re
from typing import Final, final

from chatgpt_platform.settings.containers import ListOf
from chatgpt_platform.settings.kinds import Fault, Mismatch, TextKind, Unusable
from chatgpt_platform.settings.nodes import Array, Node, Scalar, Style

MASK: Final = "***"
HIDDEN: Final = "a value that is not shown"


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
        return HIDDEN

    def yaml(self, value: Secret) -> str:
        return MASK


class Key(SecretKind):
    """What can stand behind ``Bearer`` in a header."""

    name = "key"
    expected = "a key of visible ASCII characters without blanks"
    pattern = r"[!-~]{1,4096}"


class Keys(ListOf[Secret]):
    """The keys of an upstream. A variable holds one key, commas included, unless it begins as a list of JSON."""

    def __init__(self) -> None:
        super().__init__(Key())

    def node(self, text: str) -> Node:
        return super().node(text) if text.startswith("[") else Array((Scalar(text, Style.GIVEN),))

    def parse(self, node: Node) -> tuple[Secret, ...]:
        keys = super().parse(node)
        lines = [item.line for item in node.items] if isinstance(node, Array) else []
        text = "found a key that stands there already, expected it once"
        faults = [Fault(text, lines[n], f"[{n}]") for n, key in enumerate(keys) if key in keys[:n]]
        if faults:
            raise Unusable(faults)
        return keys

    def found(self, node: Node) -> str:
        return HIDDEN if isinstance(node, Scalar) else super().found(node)
