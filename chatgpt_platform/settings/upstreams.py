"""The settings of a model service that answers.

A part of ``schema``, which has the tree that this group belongs to.
"""
# ruff: noqa: RUF009 - setting() and section() are dataclasses.field() with the metadata filled in

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from chatgpt_platform.settings.addresses import BaseUrl, PemFile
from chatgpt_platform.settings.containers import MapOf
from chatgpt_platform.settings.declaration import section, setting
from chatgpt_platform.settings.kinds import Boolean, Choice, Number, Text
from chatgpt_platform.settings.measures import Duration
from chatgpt_platform.settings.outbound import Headers, Patterns, Proxy
from chatgpt_platform.settings.secret import Keys, Secret
from chatgpt_platform.settings.sharing import NAME

MODEL: Final = Text("the name of a model", pattern=r"\S(?:.{0,254}\S)?")
MANY: Final = Number(0, 1_000_000)
_ASKED: Final = Text("the name of a model, without * and ?", pattern=r"[^\s*?](?:[^*?]{0,254}[^\s*?])?")
_VERSION: Final = Text("a version such as 2024-10-21", empty=True, pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


@dataclass(frozen=True)
class UpstreamTimeouts:
    connect: float = setting(Duration(), 5.0, "To connect, TLS included.")
    first_byte: float = setting(Duration(), 60.0, "From the request to the first byte of the answer.")
    idle: float = setting(Duration(), 60.0, "Between two pieces of an answer.")
    total: float = setting(Duration(), 600.0, "For the whole call, however often it is sent.")


@dataclass(frozen=True)
class Upstream:
    name: str = setting(NAME, "openai", "Its name in logs and metrics.")
    api: str = setting(
        Choice("openai", "azure"),
        "openai",
        "What it speaks. openai: as OpenAI does, and what is compatible; azure: as Azure OpenAI does, by "
        "deployment, with api_version and the header api-key.",
    )
    base_url: str = setting(
        BaseUrl(), "https://api.openai.com/v1", "Where the upstream's API begins.", names=("BASE_URL",)
    )
    api_version: str = setting(_VERSION, "", "The api-version of Azure OpenAI; only with api: azure.")
    api_keys: tuple[Secret, ...] = setting(
        Keys(),
        (),
        "Its keys, which pay for calls and take turns; empty: each caller brings one.",
        names=("API_KEY",),
    )
    models: tuple[str, ...] = setting(
        Patterns(), ("*",), "The models that it is asked for, as callers name them; *: any characters, ?: any one."
    )
    rename: Mapping[str, str] = setting(
        MapOf(_ASKED, MODEL),
        MappingProxyType({}),
        "What it calls models, as {asked name: its name}; with api: azure, its name is the deployment.",
    )
    priority: int = setting(
        Number(0, 1000), 0, "Lower numbers are tried first; the others while those fail, are down or are full."
    )
    weight: int = setting(
        Number(1, 1000), 1, "Its share beside upstreams of the same priority and model: 2 gets twice as much as 1."
    )
    concurrency: int = setting(MANY, 0, "The most calls that it gets at a time; 0: no limit.")
    headers: Mapping[str, Secret] = setting(
        Headers(), MappingProxyType({}), "Headers that each call to it gets, as {name: text}."
    )
    proxy: Secret = setting(
        Proxy(),
        Secret(""),
        "The proxy on the way to it, which looks its name up: http://, socks5:// or socks5h://, with "
        "user:password@ where it asks for them; empty: none.",
    )
    ca_file: str = setting(
        PemFile(),
        "",
        "The PEM file of the authorities that its certificate may come from; empty: the system's.",
    )
    retry_unsafe: bool = setting(
        Boolean(),
        False,
        "Whether a call that failed here is sent again even where it may have been acted on, and be paid for "
        "twice.",
    )
    stream_usage: bool = setting(
        Boolean(), True, "Whether streams are asked for their usage, by stream_options; otherwise it is estimated."
    )
    timeouts: UpstreamTimeouts = section(UpstreamTimeouts, "How long the upstream may take.")
