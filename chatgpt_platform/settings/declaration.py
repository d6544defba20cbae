"""How a setting is declared: once, as a field of a dataclass, with everything that is known about it.

``setting``, ``section`` and ``upstream_list`` stand in for ``dataclasses.field`` in ``schema``. ``tree`` turns the
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


class _About(NamedTuple):
    """What stands in a field's metadata: a kind for a setting, a class for a section."""

    help: str
    kind: Kind[Any] | None = None
    default: object = None
    suggest: object = None
    names: tuple[str, ...] = ()
    restart: bool = False
    cls: type | None = None
    listed: bool = False


def setting(
    kind: Kind[T],
    default: T,
    help: str,  # noqa: A002 - the word that argparse uses for it
    *,
    suggest: T | None = None,
    names: tuple[str, ...] = (),
    restart: bool = False,
) -> T:
    """Declare a setting.

    ``suggest``: a value to show beside the default in the example. ``names``: environment variables besides the
    one made from the path. ``restart``: a change works only after one.
    """
    about = _About(help, kind, default, suggest, names, restart)
    return field(default_factory=lambda: default, metadata={_ABOUT: about})


def section(cls: type[T], help: str) -> T:  # noqa: A002
    """Declare a group of settings that has a dataclass of its own."""
    return field(default_factory=cls, metadata={_ABOUT: _About(help, cls=cls)})


def upstream_list(cls: type[T], help: str) -> tuple[T, ...]:  # noqa: A002
    """Declare a list of such groups, of which this version has exactly one."""
    about = _About(help, cls=cls, listed=True)
    return field(default_factory=lambda: (cls(),), metadata={_ABOUT: about})


class Setting(NamedTuple):
    """One setting. ``path`` as people write it: ``limits.hour``, ``upstreams[0].name``."""

    path: str
    kind: Kind[Any]
    default: Any
    help: str
    suggest: Any
    names: tuple[str, ...]
    restart: bool

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that set it. Those of an upstream are set with CHATGPT_UPSTREAMS as well."""
        if "[" in self.path:
            return self.names
        return (*self.names, variable(self.path))


class Section(NamedTuple):
    """A group of settings. ``listed``: written in the file as a list that holds this group once."""

    path: str
    cls: type
    help: str
    listed: bool
    members: Mapping[str, Setting | Section]

    def settings(self) -> Iterator[Setting]:
        for member in self.members.values():
            if isinstance(member, Setting):
                yield member
            else:
                yield from member.settings()

    def build(self, values: Mapping[str, object], **extra: object) -> Any:
        """The dataclass of this group, from a value for the path of each setting."""
        built = {
            name: values[member.path] if isinstance(member, Setting) else member.build(values)
            for name, member in self.members.items()
        }
        group = self.cls(**built, **extra)
        return (group,) if self.listed else group


def variable(path: str) -> str:
    """The environment variable of a path: ``CHATGPT_SERVER__PORT`` for ``server.port``."""
    return "CHATGPT_" + path.upper().replace(".", "__")


def tree(cls: type, path: str = "", about: _About | None = None) -> Section:
    """Everything that a dataclass declares, in the order of its fields."""
    listed = about is not None and about.listed
    members: dict[str, Setting | Section] = {}
    for declared in fields(cls):
        found: _About | None = declared.metadata.get(_ABOUT)
        if found is None:
            continue
        prefix = f"{path}[0]" if listed else path
        below = f"{prefix}.{declared.name}" if prefix else declared.name
        members[declared.name] = (
            Setting(below, found.kind, found.default, found.help, found.suggest, found.names, found.restart)
            if found.kind
            else tree(cast(type, found.cls), below, found)
        )
    return Section(path, cls, about.help if about else "", listed, MappingProxyType(members))
