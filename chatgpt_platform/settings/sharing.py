"""The settings of sharing: virtual keys, what they may spend, and the account of who used what.

A part of ``schema``, which has the tree that these groups belong to.
"""
# ruff: noqa: RUF009 - setting() and section() are dataclasses.field() with the metadata filled in

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from chatgpt_platform.settings import allowances
from chatgpt_platform.settings.addresses import Cidr, Network
from chatgpt_platform.settings.allowances import (
    Allowance,
    Allowances,
    MoneyAllowance,
    OptionalPrice,
    TokenAllowance,
)
from chatgpt_platform.settings.containers import ListOf, Percents
from chatgpt_platform.settings.dates import Date, Moment, TimeZone
from chatgpt_platform.settings.declaration import section, setting
from chatgpt_platform.settings.kinds import Boolean, Choice, Number, Text
from chatgpt_platform.settings.measures import Duration, Size
from chatgpt_platform.settings.outbound import Patterns, WebhookUrl
from chatgpt_platform.settings.secret import CallerKey, Password, Secret

NAME: Final = Text("a name of letters, digits and ._-", pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PATTERN: Final = Text("the name of a model, * and ? in it as wildcards", pattern=r"\S(?:.{0,254}\S)?")
_LIMIT: Final = Number()


@dataclass(frozen=True)
class KeyLimits:
    second: int = setting(_LIMIT, 0, "Calls a second; 0: no limit.")
    minute: int = setting(_LIMIT, 0, "Calls a minute; 0: no limit.")
    hour: int = setting(_LIMIT, 0, "Calls an hour; 0: no limit.")
    day: int = setting(_LIMIT, 0, "Calls a day; 0: no limit.")


@dataclass(frozen=True)
class VirtualKey:
    """``name`` and ``key`` are empty only where nothing was read yet."""

    name: str = setting(NAME, "", "Its name in the logs, the ledger and reports.", sample="alice")
    key: Secret = setting(
        CallerKey(),
        Secret(""),
        "What its holder sends: the key itself, or sha256: and the SHA-256 of it.",
        sample="sha256:2b06f5cab24bfeca2ab5be3a96e0b42ea6f0eab8c3a8cd6d36f3a4db43c4a0e1",
    )
    limits: KeyLimits = section(KeyLimits, "How often its holder may call, from wherever it is.")
    tokens: tuple[Allowance, ...] = setting(
        Allowances(TokenAllowance()),
        (),
        "The most tokens, in and out, as amount/period: of a second, minute or hour, evenly; of a day, week, "
        "month, year or in total, by the calendar; or of the last 24h, 30d or the like.",
    )
    budget: tuple[Allowance, ...] = setting(
        Allowances(MoneyAllowance()),
        (),
        "The most dollars, as amount/period: of a day, week, month, year or in total, by the calendar; or of the "
        "last 24h, 30d or the like.",
    )
    models: tuple[str, ...] = setting(
        Patterns(), ("*",), "The models that it is for, as callers name them; *: any characters, ?: any one."
    )
    expires: str = setting(
        Moment(), "", "The day, or the day and time, with which it ends, in budgets.time_zone; empty: never."
    )
    addresses: tuple[Network, ...] = setting(
        ListOf(Cidr()), (), "The addresses or CIDRs that it works from; empty: all that may call."
    )
    concurrency: int = setting(Number(0, 1_000_000), 0, "The most calls with it at a time; 0: no limit.")
    prompts: bool = setting(
        Boolean(), False, "Whether the ledger also keeps what was said; its holder ought to know."
    )


@dataclass(frozen=True)
class State:
    directory: str = setting(
        Text("the path of a directory", empty=True),
        "",
        "The directory of the ledger and of the keys that the command keys makes; empty: nothing is stored, and "
        "what was spent is forgotten at the end.",
        restart=True,
    )


@dataclass(frozen=True)
class Ledger:
    keep: float = setting(
        Duration(zero=True, days=True), 400 * 86_400.0, "Calls are forgotten after this long; 0s: never."
    )
    size: int = setting(
        Size(zero=True), 2**30, "The oldest calls are forgotten where the ledger is larger; 0: no limit."
    )
    addresses: str = setting(
        Choice("full", "truncated"),
        "full",
        "Whether it has the callers' addresses, or only their networks (/24 and /48).",
    )


@dataclass(frozen=True)
class Webhook:
    url: str = setting(WebhookUrl(), "", "Where warnings are sent, as JSON by POST; empty: nowhere.")
    secret: Secret = setting(Password(), Secret(""), "What they are signed with.")


@dataclass(frozen=True)
class Budgets:
    time_zone: str = setting(
        TimeZone(),
        "",
        "Where days, weeks, months and years begin, such as Europe/Berlin; empty: the machine's time zone.",
        restart=True,
    )
    reserve: str = setting(
        Choice("expected", "worst"),
        "expected",
        "What a call reserves until its usage is known. expected: as calls with this key usually take; worst: all "
        "that it can take, so that no budget is ever passed.",
    )
    warn: tuple[int, ...] = setting(
        Percents(), (80, 100), "The shares of an allowance, in percent, that give a warning; empty: none."
    )
    webhook: Webhook = section(Webhook, "Where warnings go besides the log.")


@dataclass(frozen=True)
class Price:
    """``input``, ``cached_input``, ``output``: picodollars a token. ``cached_input`` None: as ``input``."""

    model: str = setting(
        _PATTERN, "", "The models, as upstreams name them; * and ? as elsewhere.", sample="gpt-4o*"
    )
    input: int = setting(allowances.Price(), 0, "Dollars for a million tokens of a prompt.", sample="2.50")
    cached_input: int | None = setting(
        OptionalPrice(), None, "The same for those that the upstream had cached; empty: as input."
    )
    output: int = setting(allowances.Price(), 0, "Dollars for a million tokens of an answer.", sample="10")
    since: str = setting(Date(), "", "The day from which this is so, in budgets.time_zone; empty: always was.")


@dataclass(frozen=True)
class Admin:
    token: Secret = setting(
        CallerKey("a token", empty=True),
        Secret(""),
        "What the owner sends to /admin: the token itself, or sha256: and the SHA-256 of it; empty: no /admin.",
    )
    allow: tuple[Network, ...] = setting(
        ListOf(Cidr()),
        (IPv4Network("127.0.0.1"), IPv6Network("::1")),
        "The addresses or CIDRs that may call /admin; empty: nobody.",
    )
