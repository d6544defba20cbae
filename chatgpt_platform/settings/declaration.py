"""How a setting is declared: once, as a field of a dataclass, with everything that is known about it.

``setting``, ``section`` and ``section_list`` stand in for ``dataclasses.field`` in ``schema``. ``tree`` turns the
declared dataclasses into ``Section`` and ``Setting``, which the rest of this package walks: it reads the file and
the environment by them and writes the example, the reference and the JSON Schema from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field, fields
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeVar, cast

from chatgpt_platform.settings.kinds import Kind

T = TypeVar("T")
_ABOUT: Final = "about"
_NO_LENGTHS: Final[Mapping[str, int]] = MappingProxyType({})


class _About(NamedTuple):
    """What stands in a field's metadata: a kind for a setting, a class for a section."""

    help: str
    kind: Kind[Any] | None = None
    default: object = None
    suggest: object = None
    names: tuple[str, ...] = ()
    restart: bool = False
    sample: str = ""
    cls: type | None = None
    counts: range | None = None


def setting(
    kind: Kind[T],
    default: T,
    help: str,  # noqa: A002 - the word that argparse uses for it
    *,
    suggest: T | None = None,
    names: tuple[str, ...] = (),
    restart: bool = False,
    sample: str = "",
) -> T:
    """Declare a setting.

    ``suggest``: a value to show beside the default in the example. ``names``: environment variables besides the
    one made from the path. ``restart``: a change works only after one. ``sample``: some YAML for the example, in
    a list of groups; each group must have this setting, and its default means nothing.
    """
    about = _About(help, kind, default, suggest, names, restart, sample)
    return field(default_factory=lambda: default, metadata={_ABOUT: about})


def section(cls: type[T], help: str) -> T:  # noqa: A002
    """Declare a group of settings that has a dataclass of its own."""
    return field(default_factory=cls, metadata={_ABOUT: _About(help, cls=cls)})


def section_list(cls: type[T], help: str, *, least: int, most: int) -> tuple[T, ...]:  # noqa: A002
    """Declare a list of such groups. By default there are as many as there must be at least."""
    about = _About(help, cls=cls, counts=range(least, most + 1))
    return field(default_factory=lambda: tuple(cls() for _ in range(least)), metadata={_ABOUT: about})


class Setting(NamedTuple):
    """One setting. ``path`` as people write it: ``limits.hour``, ``upstreams[0].name``.

    ``sample``: empty, but where a group of a list must have this setting.
    """

    path: str
    kind: Kind[Any]
    default: Any
    help: str
    suggest: Any
    names: tuple[str, ...]
    restart: bool
    sample: str

    @classmethod
    def of(cls, path: str, about: _About, names: tuple[str, ...]) -> Setting:
        kind = cast(Kind[Any], about.kind)
        return cls(path, kind, about.default, about.help, about.suggest, names, about.restart, about.sample)

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that set it. Those of an upstream are set with CHATGPT_UPSTREAMS as well."""
        if "[" in self.path:
            return self.names
        return (*self.names, variable(self.path))


class Section(NamedTuple):
    """A group of settings. ``counts``: how many there may be of it, where it is written in the file as a list of
    such groups (``listed``); ``members`` are the first's then.

    ``names``: whether its settings have the environment variables that do not follow from their paths.
    """

    path: str
    cls: type
    help: str
    counts: range | None
    names: bool
    members: Mapping[str, Setting | Section]

    @property
    def listed(self) -> bool:
        return self.counts is not None

    @property
    def least(self) -> int:
        """How many there are by default."""
        return 1 if self.counts is None else self.counts[0]

    @property
    def most(self) -> int:
        return 1 if self.counts is None else self.counts[-1]

    def item(self, index: int) -> Section:
        """One group of a list, by itself. The variables with short names belong to the first."""
        about = _About(self.help, cls=self.cls)
        return tree(self.cls, f"{self.path}[{index}]", about, names=self.names and index == 0)

    def settings(self, lengths: Mapping[str, int] = _NO_LENGTHS) -> Iterator[Setting]:
        """All that can be set, in order. ``lengths``: of each list, by its path; the least where left out."""
        if self.listed:
            for index in range(lengths.get(self.path, self.least)):
                yield from self.item(index).settings(lengths)
            return
        for member in self.members.values():
            if isinstance(member, Setting):
                yield member
            else:
                yield from member.settings(lengths)

    def build(self, values: Mapping[str, object], lengths: Mapping[str, int], **extra: object) -> Any:
        """The dataclass of this group, or a tuple of them, from a value for the path of each setting."""
        if self.listed:
            count = lengths.get(self.path, self.least)
            return tuple(self.item(index).build(values, lengths, **extra) for index in range(count))
        built = {
            name: values[member.path] if isinstance(member, Setting) else member.build(values, lengths)
            for name, member in self.members.items()
        }
        return self.cls(**built, **extra)


def variable(path: str) -> str:
    """The environment variable of a path: ``CHATGPT_SERVER__PORT`` for ``server.port``."""
    return "CHATGPT_" + path.upper().replace(".", "__")


def tree(cls: type, path: str = "", about: _About | None = None, *, names: bool = True) -> Section:
    """Everything that a dataclass declares, in the order of its fields."""
    counts = about.counts if about else None
    members: dict[str, Setting | Section] = {}
    for declared in fields(cls):
        found: _About | None = declared.metadata.get(_ABOUT)
        if found is None:
            continue
        prefix = f"{path}[0]" if counts else path
        below = f"{prefix}.{declared.name}" if prefix else declared.name
        members[declared.name] = (
            tree(found.cls, below, found, names=names)
            if found.cls
            else Setting.of(below, found, found.names if names else ())
        )
    return Section(path, cls, about.help if about else "", counts, names, MappingProxyType(members))
