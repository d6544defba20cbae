"""The generated texts: that they are up to date, complete, and mean what they say."""

from __future__ import annotations

import json
import re
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import yaml

from chatgpt_platform.settings import render
from chatgpt_platform.settings.declaration import Section, Setting, variable
from chatgpt_platform.settings.load import USUAL_FILE, load
from chatgpt_platform.settings.schema import LISTS, SETTINGS, TREE, Settings, settings_of

ROOT = Path(__file__).parents[2]
EMPTY = [path for path, section in LISTS.items() if section.least == 0]
REMEDY = "run: python -m chatgpt_platform.settings.render"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (USUAL_FILE, render.example()),
        (render.SCHEMA_FILE, render.json_schema()),
        (render.REFERENCE_FILE, render.reference()),
    ],
)
def test_the_files_of_the_project_are_what_the_schema_gives(name: str, text: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == text, REMEDY


def test_the_command_writes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    render.main()
    written = {str(path.relative_to(tmp_path).as_posix()) for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {USUAL_FILE, render.SCHEMA_FILE, render.REFERENCE_FILE}


def test_every_setting_and_section_has_help_and_is_in_the_reference() -> None:
    text = render.reference()
    for setting in SETTINGS.values():
        assert setting.help.endswith("."), setting.path
        row = next(line for line in text.splitlines() if line.startswith(f"| `{setting.path}` |"))
        assert row.count("|") == 6
        assert setting.help in row
        assert all(f"`{name}`" in row for name in setting.variables)
    for section in sections(TREE):
        assert section.help.endswith("."), section.path
    for section in LISTS.values():
        for setting in section.settings({section.path: 1}):
            default = "*needed*" if setting.sample else f"`{setting.kind.yaml(setting.default)}`"
            row = f"| `{setting.path}` | {setting.kind.name} | {default} |"
            assert row in text, row
            assert f"`{setting.names[0] if setting.names else variable(section.path)}` | {setting.help}" in text


def sections(section: Section) -> list[Section]:
    below = [member for member in section.members.values() if isinstance(member, Section)]
    return [each for member in below for each in (member, *sections(member))]


def test_the_example_unedited_is_as_good_as_no_file(tmp_path: Path) -> None:
    (tmp_path / "example.yaml").write_text(render.example(), encoding="utf-8")
    loaded = load({}, config="example.yaml", directory=tmp_path)
    assert loaded.settings == Settings()
    assert set(loaded.sources.values()) == {"default"}


def test_the_example_with_every_line_in_force_is_the_defaults(tmp_path: Path) -> None:
    text = re.sub(r"(?m)^( *)# ", r"\1", render.example())
    (tmp_path / "example.yaml").write_text(text, encoding="utf-8")
    loaded = load({}, config="example.yaml", directory=tmp_path)
    assert loaded.settings == Settings()
    assert all(source.startswith("example.yaml:") for source in loaded.sources.values())


def test_each_setting_of_the_example_can_be_put_in_force_alone(tmp_path: Path) -> None:
    lines = render.example().splitlines()
    places = [index for index, line in enumerate(lines) if re.match(r" *# ", line)]
    assert len(places) == len(SETTINGS) + len(EMPTY)
    for index in places:
        edited = [*lines[:index], lines[index].replace("# ", "", 1), *lines[index + 1 :]]
        (tmp_path / "example.yaml").write_text("\n".join(edited), encoding="utf-8")
        loaded = load({}, config="example.yaml", directory=tmp_path)
        assert list(loaded.sources.values()).count(f"example.yaml:{index + 1}") == 1


@pytest.mark.parametrize("path", EMPTY)
def test_the_example_shows_what_an_empty_list_could_hold(tmp_path: Path, path: str) -> None:
    lines = render.example().splitlines()
    begin = lines.index(f"## {path}:")
    shown = takewhile(lambda line: line.startswith("## "), lines[begin:])
    text = "\n".join(line.removeprefix("## ") for line in shown)
    (tmp_path / "example.yaml").write_text(text, encoding="utf-8")
    loaded = load({}, config="example.yaml", directory=tmp_path)
    (item,) = getattr(loaded.settings, path)
    needed = {each.path.rpartition(".")[2] for each in LISTS[path].settings({path: 1}) if each.sample}
    given = {
        name for name, field in type(item).__dataclass_fields__.items() if getattr(item, name) != default(field)
    }
    assert given == needed, "all else is the default"
    assert {source.partition(":")[0] for key, source in loaded.sources.items() if key.startswith(path)} == {
        "example.yaml"
    }
    assert accepts(json.loads(render.json_schema()), yaml.safe_load(text))
    assert all(len(line) <= 115 for line in lines)


def default(field: Any) -> object:
    return field.default_factory()


def test_the_example_suggests_the_limits_of_the_container() -> None:
    text = render.example()
    for name, suggestion in (("second", 1), ("minute", 3), ("hour", 50)):
        assert f"  # {name}: 0  # suggestion: {suggestion}\n" in text


def accepts(schema: Any, value: Any) -> bool:
    """Enough of JSON Schema for what is generated here; an unknown keyword is a failure."""
    known = {"$schema", "title", "description", "default", "type", "properties", "additionalProperties", "items"}
    assert set(schema) <= known | {
        "minItems",
        "maxItems",
        "minLength",
        "minimum",
        "maximum",
        "pattern",
        "enum",
        "anyOf",
        "required",
    }
    types = {"number": float} | {
        "object": dict,
        "array": list,
        "string": str,
        "boolean": bool,
        "integer": int,
        "null": type(None),
    }
    named = schema.get("type", list(types))
    named = [named] if isinstance(named, str) else named
    if not any(type(value) is types[name] or (name == "number" and type(value) is int) for name in named):
        return False
    if "anyOf" in schema and not any(accepts(each, value) for each in schema["anyOf"]):
        return False
    if "enum" in schema and not any(type(each) is type(value) and each == value for each in schema["enum"]):
        return False
    if isinstance(value, dict):
        rest = schema.get("additionalProperties", True)
        listed = schema.get("properties", {})
        return set(schema.get("required", ())) <= value.keys() and all(
            accepts(listed[key], each) if key in listed else rest is not False and accepts(rest, each)
            for key, each in value.items()
        )
    if isinstance(value, list):
        fits = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        return fits and all(accepts(schema["items"], each) for each in value)
    if isinstance(value, str):
        return len(value) >= schema.get("minLength", 0) and bool(re.search(schema.get("pattern", ""), value))
    if type(value) in {int, float}:
        return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    return True


def test_the_json_schema_accepts_the_example_in_both_states() -> None:
    schema = json.loads(render.json_schema())
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert accepts(schema, yaml.safe_load(render.example()))
    assert accepts(schema, yaml.safe_load(re.sub(r"(?m)^( *)# ", r"\1", render.example())))


@pytest.mark.parametrize(
    "text",
    [
        "sever: {}",
        "server: {port: '80'}",
        "server: {port: 65536}",
        "server: {user: nonroot}",
        "server: {user: 0}",
        "server: {timeouts: {drain: 5}}",
        "server: {max_body: ten}",
        "upstreams: []",
        "keys: [{name: a}]",
        "keys: [~]",
        "keys: [{name: a, key: b, budget: [5/minute]}]",
        "keys: [{name: a, key: b, tokens: [0/day]}]",
        "keys: [{name: a, key: b, expires: tomorrow}]",
        "prices: [{model: a, input: -1, output: 1}]",
        "prices: [{model: a, input: '1', output: 1}]",
        "budgets: {webhook: {url: 'ftp://a'}}",
        "ledger: {keep: 5}",
        "upstreams: [{models: []}]",
        "upstreams: [{weight: 0}]",
        "upstreams: [{proxy: 'ftp://proxy'}]",
        "limits: {hour: -1}",
        "logging: {level: loud}",
        "models: {aliases: {a: 1}}",
    ],
)
def test_the_json_schema_refuses_what_the_program_refuses(text: str) -> None:
    assert not accepts(json.loads(render.json_schema()), yaml.safe_load(text))


def test_the_json_schema_mirrors_the_settings() -> None:
    def check(section: Section, schema: Any) -> None:
        schema = schema["items"] if section.listed else schema
        assert schema["additionalProperties"] is False
        assert list(schema["properties"]) == list(section.members)
        for name, member in section.members.items():
            described = schema["properties"][name]
            assert described["description"] == member.help
            if isinstance(member, Setting) and member.sample:
                assert name in schema["required"]
                assert "default" not in described
            elif isinstance(member, Setting):
                assert accepts(described, described["default"])
            else:
                check(member, described)

    check(TREE, json.loads(render.json_schema()))


def test_the_listing_names_every_setting_value_and_source_and_no_key(tmp_path: Path) -> None:
    loaded = load({"API_KEY": "test-key-1", "HOUR_LIMIT": "50"}, flags={"server.port": "1"}, directory=tmp_path)
    lines = [re.sub(" +", " ", line) for line in render.listing(loaded).splitlines()]
    assert {line.split(" = ")[0] for line in lines} == {*SETTINGS, "keys", "prices"}
    assert [line.split(" = ")[0] for line in lines] == list(loaded.sources)
    for line in (
        "server.port = 1 (flag --port)",
        "limits.hour = 50 (environment variable HOUR_LIMIT)",
        "upstreams[0].api_keys = [***] (environment variable API_KEY)",
        "upstreams[0].timeouts.total = 600s (default)",
    ):
        assert line in lines
    assert "test-key-1" not in "".join(lines)


def test_the_listing_names_every_upstream(tmp_path: Path) -> None:
    text = """upstreams:
  - api_keys: [test-key-1, test-key-2]
  - name: other
    proxy: http://user:test-key-3@proxy:3128
    headers: {X-Team: test-key-4}
"""
    (tmp_path / "a.yaml").write_text(text)
    loaded = load({"BASE_URL": "http://first"}, config="a.yaml", directory=tmp_path)
    lines = [re.sub(" +", " ", line) for line in render.listing(loaded).splitlines()]
    paths = [each.path for each in settings_of(loaded.settings)]
    assert [line.split(" = ")[0] for line in lines if not line.startswith(("keys", "prices"))] == paths
    for line in (
        "upstreams[0].name = openai (default)",
        "upstreams[0].base_url = http://first (environment variable BASE_URL)",
        "upstreams[0].api_keys = [***, ***] (a.yaml:2)",
        "upstreams[1].name = other (a.yaml:3)",
        "upstreams[1].base_url = https://api.openai.com/v1 (default)",
        "upstreams[1].api_keys = [] (default)",
        'upstreams[1].proxy = "http://***@proxy:3128" (a.yaml:4)',
        "upstreams[1].headers = {X-Team: ***} (a.yaml:5)",
    ):
        assert line in lines
    assert "test-key" not in "".join(lines)
