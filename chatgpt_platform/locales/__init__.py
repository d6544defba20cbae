"""What callers are told, in four languages.

One module a language, each with the same keys (``en`` is the yardstick; the tests hold the others to it).
A key is named by ``errors.Problem.text``; ``{name}`` is a placeholder in the manner of ``str.format``.

``choose`` finds the language of a call, ``say`` gives a text in it; ``gateway/render`` calls both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chatgpt_platform.locales import en, ru, zh_CN, zh_TW

_TEXTS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": en.TEXTS,
    "zh_CN": zh_CN.TEXTS,
    "zh_TW": zh_TW.TEXTS,
    "ru": ru.TEXTS,
}

LANGUAGES: Final[tuple[str, ...]] = tuple(_TEXTS)

_DEFAULT: Final = "en"
_TRADITIONAL: Final = frozenset(("hant", "tw", "hk", "mo"))
_MAX_HEADER: Final = 1000
"""Characters of an Accept-Language header that are looked at."""
_MAX_VALUE: Final = 1000
"""Characters of a value that are shown; paths and upstream texts may be far longer."""


def choose(setting: str, accept_language: str, environment_language: str) -> str:
    """The language of a call: the setting unless it is ``auto``, else the header, else LANG, else English."""
    if setting in LANGUAGES:
        return setting
    return negotiate(accept_language) or from_environment(environment_language)


def negotiate(accept_language: str) -> str | None:
    """The best language for an Accept-Language header (RFC 9110, 12.5.4), None when nothing matches.

    A range with quality 0 or with a quality that cannot be read is passed over; ``*`` prefers nothing.
    Of equal qualities the first counts.
    """
    best, best_quality = None, 0.0
    for item in accept_language[:_MAX_HEADER].split(","):
        tag, _, parameters = item.partition(";")
        language = _match(tag)
        if language is not None:
            quality = _quality(parameters)
            if quality > best_quality:
                best, best_quality = language, quality
    return best


def from_environment(lang: str) -> str:
    """The language of a LANG value such as ``zh_CN.UTF-8``; English for what is not known."""
    return _match(lang[:_MAX_HEADER].partition(".")[0].partition("@")[0]) or _DEFAULT


def say(language: str, key: str, values: Mapping[str, object]) -> str:
    """A text with its placeholders filled; never fails.

    Values are data: braces in them mean nothing. A missing value is shown as ``?``; an unknown language is
    English, an unknown key the English ``fault``. The result can always be encoded as UTF-8.
    """
    texts = _TEXTS.get(language, en.TEXTS)
    text = texts[key] if key in texts else en.TEXTS["fault"]
    return text.format_map(_Shown({name: _show(value) for name, value in values.items()}))


class _Shown(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "?"


def _show(value: object) -> str:
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 - a value's own __str__ may raise anything, and the answer must still go out
        return "?"
    if len(text) > _MAX_VALUE:
        text = text[:_MAX_VALUE] + "…"
    return text.encode("utf-8", "replace").decode()


def _match(tag: str) -> str | None:
    primary, *subtags = tag.strip().lower().replace("_", "-").split("-")
    if primary in ("en", "ru"):
        return primary
    if primary != "zh":
        return None
    if "hans" in subtags:  # a script says more than a region: zh-Hans-HK is simplified
        return "zh_CN"
    return "zh_CN" if _TRADITIONAL.isdisjoint(subtags) else "zh_TW"


def _quality(parameters: str) -> float:
    """The ``q`` parameter: 1 when there is none, 0 when it is no number from 0 to 1."""
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            value = value.strip()
            if not value.isascii() or not value.replace(".", "", 1).isdigit():
                return 0.0
            quality = float(value)
            return quality if quality <= 1 else 0.0
    return 1.0
