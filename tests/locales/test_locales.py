"""Texts in four languages: complete, alike, and impossible to break."""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import chatgpt_platform
from chatgpt_platform import locales
from chatgpt_platform.errors import Kind
from chatgpt_platform.locales import LANGUAGES, choose, en, from_environment, negotiate, ru, say, zh_CN, zh_TW

TEXTS = {"en": en.TEXTS, "zh_CN": zh_CN.TEXTS, "zh_TW": zh_TW.TEXTS, "ru": ru.TEXTS}
KEYS = sorted(en.TEXTS)


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def keys_used() -> set[str]:
    """Each text that the package names in a Problem(kind, "text")."""
    used: set[str] = set()
    for path in Path(chatgpt_platform.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Problem":
                used.update(text for argument in node.args[1:2] for text in strings(argument))
    return used


def strings(expression: ast.AST) -> Iterator[str]:
    for node in ast.walk(expression):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_the_languages_are_those_of_the_settings() -> None:
    assert set(LANGUAGES) == {"en", "zh_CN", "zh_TW", "ru"} == set(TEXTS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_kind_has_a_text_in_each_language(language: str) -> None:
    assert not {kind.name.lower() for kind in Kind} - set(TEXTS[language])


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_text_that_the_package_names_exists(language: str) -> None:
    assert not keys_used() - set(TEXTS[language])


@pytest.mark.parametrize("language", LANGUAGES)
def test_all_languages_have_the_same_keys_and_placeholders(language: str) -> None:
    ours = {key: placeholders(text) for key, text in TEXTS[language].items()}
    assert ours == {key: placeholders(text) for key, text in en.TEXTS.items()}


@pytest.mark.parametrize("key", KEYS)
def test_a_text_is_in_its_own_language(key: str) -> None:
    assert re.search("[一-鿿]", zh_CN.TEXTS[key])
    assert re.search("[一-鿿]", zh_TW.TEXTS[key])
    assert re.search("[а-яё]", ru.TEXTS[key])
    assert en.TEXTS[key].isascii()
    for texts in TEXTS.values():
        assert texts[key] == texts[key].strip()


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", None),
        ("en", "en"),
        ("en-GB", "en"),
        ("EN-us", "en"),
        ("ru-RU,ru;q=0.9", "ru"),
        ("zh", "zh_CN"),
        ("zh-CN", "zh_CN"),
        ("zh-Hans", "zh_CN"),
        ("zh-SG", "zh_CN"),
        ("zh_CN", "zh_CN"),
        ("zh-TW", "zh_TW"),
        ("zh-HK", "zh_TW"),
        ("zh-MO", "zh_TW"),
        ("zh-Hant", "zh_TW"),
        ("zh-Hant-CN", "zh_TW"),
        ("zh-Hans-HK", "zh_CN"),
        ("zh-TW,zh;q=0.9,en;q=0.8", "zh_TW"),
        ("en;q=0.4, ru;q=0.7", "ru"),
        ("en;q=0.5, ru;q=0.5", "en"),
        ("fr, de;q=0.9, ru;q=0.1", "ru"),
        ("fr-CH, fr;q=0.9", None),
        ("en;q=0", None),
        ("en;q=0.000, ru;q=0.001", "ru"),
        ("ru ; q=0.5 , en ; Q=0.6", "en"),
        ("*", None),
        ("english, russian", None),
        ("en;q=much", None),
        ("en;q=2, ru;q=0.1", "ru"),
        ("en;q=-1", None),
        ("en;q=nan", None),
        ("en;q=", None),
        ("en;level=1;q=0.2, ru;q=0.3", "ru"),
        (",,;;=,-,ru", "ru"),
        ("x," * 10_000 + "ru", None),
    ],
)
def test_negotiate(header: str, language: str | None) -> None:
    assert negotiate(header) == language


@given(st.text())
def test_any_header_is_tolerated(header: str) -> None:
    assert negotiate(header) in (None, *LANGUAGES)
    assert from_environment(header) in LANGUAGES


@pytest.mark.parametrize(
    ("lang", "language"),
    [
        ("zh_CN.UTF-8", "zh_CN"),
        ("zh_TW.Big5", "zh_TW"),
        ("zh-HK", "zh_TW"),
        ("ru_RU", "ru"),
        ("ru_RU.KOI8-R@euro", "ru"),
        ("en_US.UTF-8", "en"),
        ("C.UTF-8", "en"),
        ("POSIX", "en"),
        ("de_DE", "en"),
        ("", "en"),
    ],
)
def test_from_environment(lang: str, language: str) -> None:
    assert from_environment(lang) == language


def test_choose_takes_the_setting_then_the_header_then_the_environment() -> None:
    assert choose("ru", "zh-TW", "zh_CN") == "ru"
    assert choose("auto", "zh-TW", "ru_RU") == "zh_TW"
    assert choose("auto", "fr", "ru_RU") == "ru"
    assert choose("auto", "", "") == "en"


def test_say_fills_the_placeholders() -> None:
    assert say("en", "too_many_requests", {"seconds": 7}) == "Too many requests. Please try again in 7 s."
    assert say("ru", "not_found", {"path": "/тут"}) == "Путь /тут не найден."


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_example_of_turns_shows_its_braces(language: str) -> None:
    text = say(language, "wrong_type_turns", {"member": "continuous"})
    assert re.search(r'continuous.*\{"role": "user", "content": "[^"]+"\}', text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_missing_value_is_a_question_mark(language: str) -> None:
    assert "?" in say(language, "out_of_range", {"member": "top_p"})
    assert "top_p" in say(language, "out_of_range", {"member": "top_p"})


def test_an_unknown_key_is_the_english_fault() -> None:
    assert say("ru", "no_such_text", {}) == en.TEXTS["fault"]
    assert say("xx", "bad_json", {}) == en.TEXTS["bad_json"]


def test_a_value_that_cannot_be_shown_does_no_harm() -> None:
    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert say("en", "upstream_said", {"reason": Hostile()}) == "The model service answered: ?"


def test_values_are_bounded() -> None:
    assert len(say("en", "not_found", {"path": "/" * 100_000})) < 1100


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
def test_values_are_data(reason: str) -> None:
    assert say("en", "upstream_said", {"reason": reason}) == f"The model service answered: {reason}"


@given(
    st.sampled_from([*LANGUAGES, "xx"]),
    st.sampled_from([*KEYS, "?"]),
    st.dictionaries(st.sampled_from(["member", "reason", "path", "{}"]), st.text(st.characters())),
)
def test_say_never_fails_and_is_always_utf8(language: str, key: str, values: dict[str, str]) -> None:
    assert locales.say(language, key, values).encode()


@pytest.mark.parametrize("value", ["{", "}", "{member}", "{0}", "{x.__class__}", "%s", "{member!r:>9999999}"])
def test_braces_in_values_mean_nothing(value: str) -> None:
    assert say("en", "duplicate_member", {"member": value}) == f"{value} is given more than once."
