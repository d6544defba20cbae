"""Texts for callers in four languages, and the choice between them.

    language = choose("auto", request_accept_language, environment_lang)
    say(language, "out_of_range", {"member": "max_tokens", "low": 1})

A language is a module with the same keys as ``en``. The default key of an error kind is its name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from chatgpt_platform.locales import en, ru, zh_CN, zh_TW

LANGUAGES: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {"en": en.TEXTS, "zh_CN": zh_CN.TEXTS, "zh_TW": zh_TW.TEXTS, "ru": ru.TEXTS}
)

_LONGEST: Final = 1000
_RANGES: Final = 32
_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")
_TRADITIONAL: Final = frozenset({"tw", "hk", "mo", "hant"})


def choose(setting: str, accept_language: str, environment_language: str) -> str:
    """The language of an answer: the setting, or for ``auto`` the caller's, else the environment's, else en."""
    if setting in LANGUAGES:
        return setting
    return negotiate(accept_language) or from_environment(environment_language)


def negotiate(accept_language: str) -> str | None:
    """The language that an Accept-Language header likes best (RFC 9110, 12.5.4), None when we speak none."""
    best, best_quality = None, 0.0
    for part in accept_language[:_LONGEST].split(",")[:_RANGES]:
        tag, _, parameters = part.partition(";")
        quality = _quality(parameters)
        language = _language_of(tag.strip())
        if language is not None and quality > best_quality:
            best, best_quality = language, quality
    return best


def from_environment(lang: str) -> str:
    """The language of a POSIX locale name such as ``zh_TW.UTF-8``; en where it means none of ours."""
    return _language_of(re.split(r"[.@]", lang, maxsplit=1)[0]) or "en"


def say(language: str, key: str, values: Mapping[str, object]) -> str:
    """A text with its placeholders filled. Never fails: an unknown key says "fault", a missing value "?"."""
    texts = LANGUAGES.get(language, en.TEXTS)
    text = texts.get(key) or texts["fault"]
    return _PLACEHOLDER.sub(lambda match: str(values.get(match[1], "?")), text)


def _language_of(tag: str) -> str | None:
    primary, *others = re.split(r"[-_]", tag.lower())
    if primary == "zh":
        return "zh_TW" if _TRADITIONAL.intersection(others) else "zh_CN"
    return primary if primary in ("en", "ru") else None


def _quality(parameters: str) -> float:
    """The ``q`` of a language range: 1 when it tells none, 0 when it cannot be read."""
    name, sign, value = parameters.strip().partition("=")
    if not sign or name.strip().lower() != "q":
        return 1.0
    return float(value) if re.fullmatch(r"\s*(0(\.\d{0,3})?|1(\.0{0,3})?)\s*", value) else 0.0
