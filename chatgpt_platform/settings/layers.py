"""What the sources say - file, environment, flags - each as a layer, and the layers as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from chatgpt_platform.settings.declaration import Section
from chatgpt_platform.settings.schema import LISTS, TREE


class Found(NamedTuple):
    """A value. ``source`` for the listing of ``check``, ``place`` before an error: often the same thing."""

    value: object
    source: str
    place: str


class Layer:
    """``values``: by the path of a setting, or of a list that is empty. ``lists``: by the path of a list that is
    given as a whole, the place of each item. ``problems``: a line each. ``refused``: the paths that they are
    about."""

    def __init__(self) -> None:
        self.values: Final[dict[str, Found]] = {}
        self.lists: Final[dict[str, tuple[str, ...]]] = {}
        self.problems: Final[list[str]] = []
        self.refused: Final[set[str]] = set()


class Merged:
    """All settings with their values, the later layers over the earlier and those over the defaults.

    A list is replaced as a whole. ``lists`` as in a layer, ``lengths`` the number of each one's items. A list
    without any is among the ``values`` itself.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        given: dict[str, Found] = {}
        lists: dict[str, tuple[str, ...]] = {}
        for layer in layers:
            for path in layer.lists:
                given = {
                    known: each for known, each in given.items() if known != path and not _is_below(known, path)
                }
            given |= layer.values
            lists |= layer.lists
        self.lists: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(lists)
        self.lengths: Final = MappingProxyType({path: len(places) for path, places in lists.items()})
        self.values: Final = {
            path: given.get(path) or Found(default, "default", "") for path, default in self._all()
        }
        self._refused: Final = frozenset().union(*(layer.refused for layer in layers))

    def _all(self) -> Iterator[tuple[str, object]]:
        """The path and default of each setting, and of each list that is empty."""
        for path, member in TREE.members.items():
            if path in LISTS and self.lengths.get(path, LISTS[path].least) == 0:
                yield path, ()
            elif isinstance(member, Section):
                yield from ((each.path, each.default) for each in member.settings(self.lengths))

    def sound(self, *paths: str) -> bool:
        """Whether nothing is wrong with these settings; one that was refused has its default here."""
        return not any(
            bad == path or _is_below(bad, path) or _is_below(path, bad) for bad in self._refused for path in paths
        )


class Item:
    """One group of a list. ``place``: of the group itself; empty where there is only the default."""

    def __init__(self, merged: Merged, path: str, index: int, place: str) -> None:
        self._merged: Final = merged
        self.path: Final = f"{path}[{index}]"
        self.index: Final = index
        self.place: Final = place

    def value(self, name: str) -> Any:
        return self._merged.values[f"{self.path}.{name}"].value

    def given(self, name: str) -> bool:
        return self._merged.values[f"{self.path}.{name}"].source != "default"

    def sound(self, *names: str) -> bool:
        return self._merged.sound(*(f"{self.path}.{name}" for name in names))

    def where(self, name: str) -> str:
        """What an error about a setting begins with: its place, and its path where that does not end with it."""
        path = f"{self.path}.{name}"
        place = self._merged.values[path].place or self.place
        return place if place.endswith(path) else f"{place}: {path}"


def _is_below(path: str, other: str) -> bool:
    return path.startswith((f"{other}.", f"{other}["))
