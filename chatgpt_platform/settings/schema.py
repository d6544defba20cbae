"""Every setting, once: its name, type, default and one line of help; the parts are ``upstreams`` and ``sharing``.

The file, the environment, the example, the reference page and the JSON Schema all follow from these classes.
``Settings()`` is what runs with no configuration at all; a setting is reached by its path in the file, as in
``settings.limits.hour`` or ``settings.upstreams[0].timeouts.total``. Durations are seconds, sizes are bytes.
"""
# ruff: noqa: RUF009 - setting() and section() are dataclasses.field() with the metadata filled in

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from types import MappingProxyType
from typing import Final

from chatgpt_platform.settings.addresses import Cidr, Host, Network, Origin, PemFile, Route
from chatgpt_platform.settings.containers import ListOf, MapOf
from chatgpt_platform.settings.declaration import Section, Setting, section, section_list, setting, tree
from chatgpt_platform.settings.kinds import Boolean, Choice, Number, Text, UserIds
from chatgpt_platform.settings.measures import Duration, Size
from chatgpt_platform.settings.secret import Secret as Secret
from chatgpt_platform.settings.sharing import Admin, Budgets, Ledger, Price, State, VirtualKey
from chatgpt_platform.settings.upstreams import MANY, MODEL
from chatgpt_platform.settings.upstreams import Upstream as Upstream
from chatgpt_platform.settings.upstreams import UpstreamTimeouts as UpstreamTimeouts

_LIMIT: Final = Number()


@dataclass(frozen=True)
class ServerTimeouts:
    header: float = setting(Duration(), 10.0, "A request's head must have come this long after its first byte.")
    body: float = setting(Duration(), 30.0, "Each 64 KiB of a request body, and its end, must come within this.")
    write: float = setting(Duration(), 30.0, "A client that takes nothing of its answer for this long is cut off.")
    idle: float = setting(Duration(), 75.0, "An idle connection is closed after this long.")
    drain: float = setting(
        Duration(zero=True), 30.0, "On shutdown, calls that are under way get this long to finish."
    )


@dataclass(frozen=True)
class Tls:
    certificate: str = setting(
        PemFile(),
        "",
        "The PEM file of the server's certificate, intermediate ones after it; empty: no TLS. Its present content "
        "comes into force with the settings on SIGHUP; only another path needs a restart.",
        restart=True,
    )
    key: str = setting(
        PemFile(),
        "",
        "The PEM file of the certificate's private key, not encrypted; read again as the certificate is.",
        restart=True,
    )


@dataclass(frozen=True)
class Server:
    host: str = setting(Host(), "0.0.0.0", "The address to listen on.", restart=True)
    port: int = setting(
        Number(0, 65535),
        5000,
        "The port to listen on; 0: the system picks a free one.",
        names=("PORT",),
        restart=True,
    )
    user: str = setting(
        UserIds(),
        "",
        "The user to serve as where root starts it (not on Windows): UID or UID:GID in numbers; the group's is "
        "the user's where it is left out. The log and state directories become this user's. Empty: whoever "
        "starts it.",
        restart=True,
    )
    route: str = setting(
        Route(),
        "",
        "The path of the conversation endpoint, such as /api; empty: / and /api. It is at /chatgpt as well.",
        names=("ROUTE",),
    )
    language: str = setting(
        Choice("auto", "en", "zh_CN", "zh_TW", "ru"),
        "auto",
        "The language of messages; auto: what the caller's Accept-Language asks for, else LANG, else English.",
    )
    trusted_proxies: tuple[Network, ...] = setting(
        ListOf(Cidr()), (), "The reverse proxies whose X-Forwarded-For is believed, as addresses or CIDRs."
    )
    max_body: int = setting(Size(), 10 * 2**20, "The largest request body that is accepted.")
    timeouts: ServerTimeouts = section(ServerTimeouts, "How long the server waits.")
    heartbeat: float = setting(
        Duration(zero=True),
        15.0,
        "The longest that a stream is silent: then it gets a comment, so that no proxy on the way closes it; "
        "0s: no comments.",
    )
    cors: tuple[str, ...] = setting(
        ListOf(Origin()), (), 'The web origins whose pages may call from a browser; "*": all of them.'
    )
    tls: Tls = section(Tls, "Encryption of the connections to callers.")


@dataclass(frozen=True)
class Access:
    allow: tuple[Network, ...] = setting(
        ListOf(Cidr()), (), "The addresses or CIDRs that may call; empty: everyone."
    )
    deny: tuple[Network, ...] = setting(
        ListOf(Cidr()), (), "The addresses or CIDRs that may not call; this wins over allow."
    )
    caller_keys: str = setting(
        Choice("auto", "true", "false"),
        "auto",
        "Whether a caller may bring an upstream key of its own. auto: yes; but where the model's upstream has "
        "keys, only in the ApiKey header or the api_key parameter of the platform API.",
    )
    require_key: bool = setting(
        Boolean(), False, "Whether only callers with a virtual key may call: one of keys, or of the command keys."
    )


@dataclass(frozen=True)
class Limits:
    second: int = setting(_LIMIT, 0, "Calls a second; 0: no limit.", suggest=1, names=("SECOND_LIMIT",))
    minute: int = setting(_LIMIT, 0, "Calls a minute; 0: no limit.", suggest=3, names=("MINUTE_LIMIT",))
    hour: int = setting(_LIMIT, 0, "Calls an hour; 0: no limit.", suggest=50, names=("HOUR_LIMIT",))
    day: int = setting(_LIMIT, 0, "Calls a day; 0: no limit.", names=("DAY_LIMIT",))
    max_clients: int = setting(Number(1, 10_000_000), 100_000, "The most addresses that are remembered at a time.")


@dataclass(frozen=True)
class MaxTokens:
    default: int = setting(
        Number(), 0, "What a call that sets no limit on its tokens gets; 0: what the upstream gives."
    )
    cap: int = setting(Number(), 0, "The most tokens that a call may ask for; 0: what the upstream allows.")


@dataclass(frozen=True)
class Models:
    default: str = setting(MODEL, "gpt-4o-mini", "The model of a call that names none.")
    aliases: Mapping[str, str] = setting(
        MapOf(MODEL, MODEL),
        MappingProxyType({}),
        "Other names for models, as {asked name: real name}.",
    )
    max_tokens: MaxTokens = section(
        MaxTokens, "Limits on max_tokens, max_completion_tokens and max_output_tokens."
    )


@dataclass(frozen=True)
class Retries:
    attempts: int = setting(
        Number(1, 20), 5, "The most times that one call is sent to upstreams, the first included."
    )
    budget: int = setting(
        Number(0, 100),
        20,
        "The most that is sent again, in percent of the recent calls, with a few in reserve; 0: none.",
    )


@dataclass(frozen=True)
class Load:
    calls: int = setting(MANY, 2000, "The most calls under way at a time; 0: no limit.")
    calls_per_client: int = setting(MANY, 0, "The most of them for one client address; 0: no limit.")
    queue: int = setting(
        MANY, 100, "The most calls that wait for a place, one client's a quarter of them at most; 0: none waits."
    )
    wait: float = setting(Duration(), 2.0, "The longest that a call waits for a place.")


@dataclass(frozen=True)
class Metrics:
    host: str = setting(Host(), "127.0.0.1", "The address of the port that has only /metrics.", restart=True)
    port: int = setting(Number(0, 65535), 0, "That port; 0: none.", restart=True)
    allow: tuple[Network, ...] = setting(
        ListOf(Cidr()),
        (),
        "The addresses or CIDRs that may read /metrics at the gateway's own port; empty: nobody.",
    )


@dataclass(frozen=True)
class Rotate:
    size: int = setting(Size(), 50 * 2**20, "A log file is rotated at this size.")
    keep: int = setting(Number(0, 1000), 10, "The number of rotated files that are kept.")


@dataclass(frozen=True)
class Logging:
    directory: str = setting(
        Text("the path of a directory", empty=True),
        "",
        "The directory of access.log and app.log; empty: standard output only.",
    )
    level: str = setting(Choice("debug", "info", "warning", "error"), "info", "The least that app.log tells.")
    rotate: Rotate = section(Rotate, "Rotation of the log files.")
    prompts: bool = setting(Boolean(), False, "Whether the logs also tell what was said.")


@dataclass(frozen=True)
class Settings:
    """All settings, and the one thing besides them that the environment says.

    ``environment_language``: LANG as it is, empty when unset; the last resort of ``server.language: auto``.
    """

    server: Server = section(Server, "The address and behaviour of the gateway.")
    access: Access = section(Access, "Who may call, and with whose key.")
    limits: Limits = section(Limits, "How often each client address may call.")
    models: Models = section(Models, "The models that calls are for.")
    upstreams: tuple[Upstream, ...] = section_list(
        Upstream, "The model services that answer: one or more, each with a name of its own.", least=1, most=100
    )
    retries: Retries = section(Retries, "When a call that failed is sent again.")
    load: Load = section(Load, "How much is under way at a time; what is too much gets 503 and a Retry-After.")
    metrics: Metrics = section(Metrics, "Figures for Prometheus.")
    logging: Logging = section(Logging, "What is written down, and where.")
    state: State = section(State, "What is stored, and where.")
    keys: tuple[VirtualKey, ...] = section_list(
        VirtualKey,
        "The gateway's own keys, one for each holder, besides those of the command keys; none is needed.",
        least=0,
        most=1000,
    )
    budgets: Budgets = section(Budgets, "How what keys may spend is counted.")
    prices: tuple[Price, ...] = section_list(
        Price,
        "What models cost, laid over the table that comes with the gateway.",
        least=0,
        most=1000,
    )
    ledger: Ledger = section(Ledger, "The account of all calls, in state.directory.")
    admin: Admin = section(Admin, "The owner's API at /admin.")
    environment_language: str = ""


TREE: Final[Section] = tree(Settings)
SETTINGS: Final[Mapping[str, Setting]] = MappingProxyType({each.path: each for each in TREE.settings()})
"""All that ``Settings()`` has, by path; where there are more upstreams, they have the same as its one."""
LISTS: Final[Mapping[str, Section]] = MappingProxyType(
    {each.path: each for each in TREE.members.values() if isinstance(each, Section) and each.listed}
)
"""The lists of groups, by path; a group of one that is empty by default is its ``item``."""


def value_at(settings: object, path: str) -> object:
    """The value of the setting with this path, in all settings or in a group of them."""
    value = settings
    for name in path.split("."):
        attribute, _, index = name.partition("[")
        value = getattr(value, attribute)
        if index and isinstance(value, tuple):
            value = value[int(index.rstrip("]"))]
    return value


def settings_of(settings: Settings) -> Iterator[Setting]:
    """All that these settings have, those of each upstream, key and price included."""
    return TREE.settings({path: len(getattr(settings, path)) for path in LISTS})


def changes(old: Settings, new: Settings) -> tuple[str, ...]:
    """The paths of the settings that differ; ``upstreams[1]`` for the whole of one that only one side has."""
    return tuple(member.path for member in _differing(TREE, old, new))


def changes_needing_restart(old: Settings, new: Settings) -> tuple[str, ...]:
    """Those of them that a running gateway cannot change."""
    differing = _differing(TREE, old, new)
    return tuple(member.path for member in differing if isinstance(member, Setting) and member.restart)


def _differing(section: Section, old: object, new: object) -> Iterator[Setting | Section]:
    for name, member in section.members.items():
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(member, Setting):
            if before != after:
                yield member
        elif not member.listed:
            yield from _differing(member, before, after)
        else:
            for index, (one, other) in enumerate(zip_longest(before, after)):
                item = member.item(index)
                if one is None or other is None:
                    yield item
                else:
                    yield from _differing(item, one, other)
