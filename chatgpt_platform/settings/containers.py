"""Kinds that hold others: lists and mappings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, TypeVar

from chatgpt_platform.settings.kinds import Fault, Kind, Number, Unusable, yaml_text
from chatgpt_platform.settings.nodes import Array, Node, Scalar, Style, Table, describe, from_json

T = TypeVar("T")


class ListOf(Kind[tuple[T, ...]]):
    """A list of one kind; in the environment comma-separated or JSON. Nothing at all is an empty list."""

    def __init__(self, item: Kind[T]) -> None:
        self.item: Final = item
        self.name = f"list of {item.name}"
        self.expected = f"a list, each item {item.expected}"

    def node(self, text: str) -> Node:
        if text.startswith("["):
            return from_json(text)
        return Array(tuple(self.item.node(item.strip()) for item in text.split(",")))

    def parse(self, node: Node) -> tuple[T, ...]:
        if isinstance(node, Scalar) and node.is_null:
            return ()
        if not isinstance(node, Array):
            raise Unusable([Fault(f"found {self.found(node)}, expected {self.expected}", node.line)])
        values: list[T] = []
        faults: list[Fault] = []
        for index, item in enumerate(node.items):
            try:
                values.append(self.item.parse(item))
            except Unusable as unusable:
                faults += below(unusable, f"[{index}]")
        if faults:
            raise Unusable(faults)
        return tuple(values)

    def found(self, node: Node) -> str:
        return describe(node)

    def json_schema(self) -> dict[str, object]:
        return {"type": ["array", "null"], "items": self.item.json_schema()}

    def yaml(self, value: tuple[T, ...]) -> str:
        return f"[{', '.join(self.item.yaml(item) for item in value)}]"


class Percents(ListOf[int]):
    """Shares of a whole, from the least to the largest."""

    def __init__(self) -> None:
        super().__init__(Number(1, 100))
        self.name = "list of percents"

    def parse(self, node: Node) -> tuple[int, ...]:
        shares = super().parse(node)
        items = node.items if isinstance(node, Array) else ()
        faults = [
            Fault(
                f"found {after} behind {before}, expected each to be larger than the one before",
                item.line,
                f"[{n}]",
            )
            for n, (item, before, after) in enumerate(zip(items[1:], shares, shares[1:], strict=False), 1)
            if after <= before
        ]
        if faults:
            raise Unusable(faults)
        return shares


class MapOf(Kind[Mapping[str, T]]):
    """A mapping from texts to one kind; in the environment JSON. Nothing at all is an empty mapping."""

    def __init__(self, key: Kind[str], item: Kind[T]) -> None:
        self._key: Final = key
        self._item: Final = item
        self.name = f"mapping of {key.name} to {item.name}"
        self.expected = f"a mapping from {key.expected} to {item.expected}"

    def node(self, text: str) -> Node:
        return from_json(text)

    def parse(self, node: Node) -> Mapping[str, T]:
        if isinstance(node, Scalar) and node.is_null:
            return MappingProxyType({})
        if not isinstance(node, Table):
            raise Unusable([Fault(f"found {self.found(node)}, expected {self.expected}", node.line)])
        faults = [Fault(again(first), key.line, f"[{self.shown(key)}]") for key, first in node.repeated()]
        values: dict[str, T] = {}
        for key, item in node.entries:
            try:
                values[self._key.parse(Scalar(key.text, Style.QUOTED, key.line))] = self._item.parse(item)
            except Unusable as unusable:
                faults += below(unusable, f"[{self.shown(key)}]")
        if faults:
            raise Unusable(faults)
        return MappingProxyType(values)

    def found(self, node: Node) -> str:
        return describe(node)

    def shown(self, key: Scalar) -> str:
        """How an error names a key."""
        return describe_key(key)

    def json_schema(self) -> dict[str, object]:
        return {"type": ["object", "null"], "additionalProperties": self._item.json_schema()}

    def yaml(self, value: Mapping[str, T]) -> str:
        return f"{{{', '.join(f'{yaml_text(key)}: {self._item.yaml(item)}' for key, item in value.items())}}}"


def below(unusable: Unusable, where: str) -> Iterator[Fault]:
    """The faults of an item, as faults of what holds it."""
    return (Fault(fault.text, fault.line, where + fault.where) for fault in unusable.faults)


def describe_key(key: Scalar) -> str:
    """A key of a mapping for an error message; its text stands even where a value would be null."""
    return describe(Scalar(key.text, Style.QUOTED))


def again(first: int) -> str:
    """The fault of a key that stands in a mapping twice. ``first``: the line of the first, 0 if there are none."""
    earlier = f" (first on line {first})" if first else ""
    return f"found a second time{earlier}, expected once"
