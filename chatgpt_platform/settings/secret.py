"""Keys: a wrapper that cannot be printed by accident, and the kind that reads one."""

from __future__ import annotations

import hashlib
import re
from typing import Final, final

from chatgpt_platform.settings.containers import ListOf
from chatgpt_platform.settings.kinds import Fault, Mismatch, TextKind, Unusable
from chatgpt_platform.settings.nodes import Array, Node, Scalar, Style

MASK: Final = "***"
DIGEST: Final = "sha256:"
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


class CallerKey(SecretKind):
    """What callers prove themselves with: the text itself, or ``sha256:`` and the SHA-256 of it in hexadecimal.

    ``empty``: or nothing, for none.
    """

    name = "key"
    pattern = r"sha256:[0-9A-Fa-f]{64}|(?!sha256:)[!-~]{16,4096}"

    def __init__(self, what: str = "a key", *, empty: bool = False) -> None:
        self.expected = (
            f"{what} of 16 or more visible ASCII characters, or sha256: and its SHA-256 in 64 hex digits"
        )
        self._empty: Final = empty

    def read(self, text: str) -> Secret:
        if text == "" and self._empty:
            return Secret("")
        secret = super().read(text)
        return Secret(text.lower()) if text.startswith(DIGEST) else secret

    def yaml(self, value: Secret) -> str:
        return MASK if value.reveal() else '""'


def digest_of(secret: Secret) -> str:
    """The SHA-256, in hexadecimal, of what a ``CallerKey`` stands for, however it was written."""
    text = secret.reveal()
    if text.startswith(DIGEST):
        return text.removeprefix(DIGEST)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


class Password(SecretKind):
    """What two programs know, to sign with; empty for none."""

    name = "text"
    expected = "16 or more visible ASCII characters without blanks"
    pattern = r"(?:[!-~]{16,4096})?"

    def yaml(self, value: Secret) -> str:
        return MASK if value.reveal() else '""'


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
