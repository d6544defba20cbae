"""YAML and JSON as trees: what is kept, what is refused."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from chatgpt_platform.settings.nodes import Array, Node, Scalar, Style, Table, Unreadable, from_json
from chatgpt_platform.settings.yaml_nodes import from_yaml


def plain(node: Node) -> object:
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, Array):
        return [plain(item) for item in node.items]
    return {key.text: plain(value) for key, value in node.entries}


def test_scalars_keep_their_text_style_and_line() -> None:
    node = from_yaml("a: 1:30\nb: 'no'\n\nc: |\n  010\n")
    assert isinstance(node, Table)
    assert [value for _, value in node.entries] == [
        Scalar("1:30", Style.PLAIN, 1),
        Scalar("no", Style.QUOTED, 2),
        Scalar("010\n", Style.QUOTED, 4),
    ]


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "~", "null", "\n\n"])
def test_an_empty_document_is_null(text: str) -> None:
    node = from_yaml(text)
    assert isinstance(node, Scalar)
    assert node.is_null


def test_a_quoted_null_and_one_from_the_environment_are_texts() -> None:
    assert not Scalar("null", Style.QUOTED).is_null
    assert not Scalar("~", Style.GIVEN).is_null
    assert Scalar("null", Style.LITERAL).is_null


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: 1\n\tb: 2", 2, "tab"),
        ("a:\n  \tb: 2", 2, "tab"),
        ("a: &x 1\nb: *x", 2, "alias"),
        ("a: *x", 1, "alias"),
        ("a: {<<: *x}", 1, "alias"),
        ("\na: !!int 5", 2, "tag"),
        ("a: !x [1]", 1, "tag"),
        ("a: !!python/object/apply:os.system [ls]", 1, "tag"),
        ("a: 1\n---\nb: 2", 2, "second document"),
        ("a: [1,\nb: 2", 3, "not valid YAML"),
        ("a: b: c", 1, "not valid YAML"),
        ("a: @x", 1, "not valid YAML"),
        ("a: 'x", 1, "not valid YAML"),
        ("? [a]\n: b", 1, "as a key"),
        ("a: 1\nb: \x00", 2, "control character"),
        ("[" * 100, 1, "nested"),
        ("{a: " * 50_000, 1, "nested"),
        ("a: " + "[" * 100_000 + "]" * 100_000, 1, "nested"),
    ],
)
def test_what_is_not_read_as_yaml(text: str, line: int, says: str) -> None:
    with pytest.raises(Unreadable, match=says) as caught:
        from_yaml(text)
    assert caught.value.line == line
    assert "\n" not in caught.value.text


def test_the_python_parser_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a: {b: [1, 'x', ~]}\nc: >\n  d\n"
    fast = from_yaml(text)
    monkeypatch.setattr("chatgpt_platform.settings.yaml_nodes._LOADER", yaml.SafeLoader)
    assert from_yaml(text) == fast
    for bad in ("a: \x00", "a: [", "a:\n\tb: 1"):
        with pytest.raises(Unreadable):
            from_yaml(bad)


@settings(deadline=None, max_examples=50)
@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    line = 1
    try:
        from_yaml(text.encode("utf-8", "replace").decode())
    except Unreadable as refused:
        line = refused.line
    assert line >= 1


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(deadline=None, max_examples=50)
@given(VALUES)
def test_json_keeps_everything_as_written(value: object) -> None:
    def texts(value: object) -> object:
        if isinstance(value, list):
            return [texts(item) for item in value]
        if isinstance(value, dict):
            return {key: texts(item) for key, item in value.items()}
        return value if isinstance(value, str) else json.dumps(value)

    assert plain(from_json(json.dumps(value))) == texts(value)


def test_json_keeps_duplicates_and_long_numbers() -> None:
    node = from_json('{"a": 1, "a": ' + "9" * 10_000 + "}")
    assert isinstance(node, Table)
    assert [key.text for key, _ in node.entries] == ["a", "a"]
    assert [key.text for key, _ in node.repeated()] == ["a"]


@pytest.mark.parametrize("text", ["{", "[1,]", "test-key-1", "[" * 200_000, "{'a': 1}", "[1] x"])
def test_what_is_not_json_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(Unreadable) as caught:
        from_json(text)
    assert "test-key-1" not in caught.value.text
    assert "\n" not in caught.value.text
