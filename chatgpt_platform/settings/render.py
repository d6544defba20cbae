"""Texts made from the schema: the example file, the reference page, the JSON Schema, the listing of ``check``.

``python -m chatgpt_platform.settings.render`` writes the first three into the project, from its root.

In the example the headings of groups are live and empty, which means the same as leaving them out. Each setting is
commented out with ``# `` in the place where it belongs, each explanation with ``## ``; so a setting is changed by
taking away its ``# `` and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap
from typing import Final

from chatgpt_platform.settings.declaration import Section, Setting, variable
from chatgpt_platform.settings.load import SYSTEM_FILE, USUAL_FILE, WINDOWS_FILE, Loaded
from chatgpt_platform.settings.schema import TREE, settings_of, value_at
from chatgpt_platform.settings.walk import MOST_ITEMS

SCHEMA_FILE: Final = "config/chatgpt.schema.json"
REFERENCE_FILE: Final = "docs/settings.md"

_EXAMPLE_HEAD: Final = """\
## The settings of ChatGPT API Platform. A line with one # shows a setting at its default: take away its "# " to
## change it. Environment variables win over this file, flags win over both.
## `chatgpt-platform check` tells whether all is right, what is in force, and where it came from.
"""

_REFERENCE_HEAD: Final = f"""\
# Settings

Each setting can stand in the configuration file and in the environment. A flag (`--host`, `--port`) wins over the
environment, the environment over the file, the file over the default. `chatgpt-platform check` prints what is in
force and where it came from; `chatgpt-platform init` writes an example file.

**The file** is the one that `--config` names, else the one that `CHATGPT_CONFIG` names, else
`{USUAL_FILE}` in the working directory, else `{SYSTEM_FILE}` (on
Windows `%ProgramData%\\{WINDOWS_FILE}`), else none. It is YAML
without aliases, tags and merge keys. What cannot be, such as an unknown setting, is an error, and all errors are
reported at once. `{SCHEMA_FILE}` describes the file to editors.

**The environment** sets a setting through any of the variables named below. With `_FILE` appended, the variable
names a file that holds the value, as container secrets do. An empty variable counts as unset. Two variables that
give one setting different values are an error. Lists are comma-separated or JSON; mappings are JSON.
`CHATGPT_UPSTREAMS` sets the whole list of upstreams as JSON, in place of the file's; `API_KEY` and `BASE_URL`
belong to the first of them. `API_KEY` holds one key, commas included, or a JSON list of keys. `LANG` is only the
last resort inside `server.language: auto`.

**Upstreams** are one or more, up to 100. The table shows the first, `upstreams[0]`; the others have the same
settings, and each must give its `name`. [upstreams.md](upstreams.md) has examples.

**Durations** are written with their unit: `500ms`, `30s`, `1m30s`, `2h`. **Sizes** too: `512KiB`, `10MiB`, `50MB`;
plain digits are bytes. **Whole numbers** have neither quotes nor leading zeros.

A running gateway reads its settings again on SIGHUP. What is marked *restart* changes only when it starts anew.
"""


def example() -> str:
    """The example configuration file. Loading it unedited is the same as having none."""
    return _EXAMPLE_HEAD + "".join(f"{line}\n" for line in _example_members(TREE, ""))


def _example_members(section: Section, indent: str) -> Iterator[str]:
    for name, member in section.members.items():
        if isinstance(member, Setting):
            yield from _comment(member.help, indent)
            beside = f"  # suggestion: {member.kind.yaml(member.suggest)}" if member.suggest is not None else ""
            yield f"{indent}# {name}: {member.kind.yaml(member.default)}{beside}"
            continue
        if not indent:
            yield ""
        yield from _comment(member.help, indent)
        yield f"{indent}{name}:"
        if member.listed:
            yield f"{indent}  -"
        yield from _example_members(member, indent + ("    " if member.listed else "  "))


def _comment(text: str, indent: str) -> Iterator[str]:
    yield from wrap(text, width=115, initial_indent=f"{indent}## ", subsequent_indent=f"{indent}## ")


def reference() -> str:
    """The reference page, in Markdown."""
    return _REFERENCE_HEAD + "".join(
        f"\n{text}" for member in TREE.members.values() if isinstance(member, Section) for text in _table(member)
    )


def _table(section: Section) -> Iterator[str]:
    yield f"## {section.path}\n"
    yield f"{section.help}\n"
    rows = ["| setting | type | default | environment | meaning |", "| --- | --- | --- | --- | --- |"]
    for setting in section.settings():
        names = setting.variables or ((variable(section.path),) if section.listed else ())
        meaning = f"{setting.help} *Restart.*" if setting.restart else setting.help
        default = f"`{setting.kind.yaml(setting.default)}`"
        variables = ", ".join(f"`{name}`" for name in names)
        rows.append(f"| `{setting.path}` | {setting.kind.name} | {default} | {variables} | {meaning} |")
    yield "\n".join(rows) + "\n"


def json_schema() -> str:
    """The JSON Schema of the file (draft 2020-12), for editors."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ChatGPT API Platform",
        **_object(TREE),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _object(section: Section) -> dict[str, object]:
    members = {
        name: _described(member) if isinstance(member, Setting) else _section_schema(member)
        for name, member in section.members.items()
    }
    return {"type": ["object", "null"], "additionalProperties": False, "properties": members}


def _section_schema(section: Section) -> dict[str, object]:
    about: dict[str, object] = {"description": section.help}
    if section.listed:
        about |= {"type": ["array", "null"], "minItems": 1, "maxItems": MOST_ITEMS}
        return about | {"items": _object(section)}
    return about | _object(section)


def _described(setting: Setting) -> dict[str, object]:
    about: dict[str, object] = {"description": setting.help}
    return about | setting.kind.json_schema() | {"default": _plain(setting.kind.yaml(setting.default))}


def _plain(yaml: str) -> object:
    """A default as JSON: numbers, booleans and collections are written alike in both."""
    try:
        return json.loads(yaml)
    except ValueError:
        return yaml


def listing(loaded: Loaded) -> str:
    """The effective settings, a line each with its source; secrets are masked."""
    lines = {
        each.path: f"{each.path} = {each.kind.yaml(value_at(loaded.settings, each.path))}"
        for each in settings_of(loaded.settings)
    }
    width = max(map(len, lines.values()))
    return "".join(f"{line:<{width}}    ({loaded.sources[path]})\n" for path, line in lines.items())


def main() -> None:
    """Write the generated files below the working directory."""
    for name, text in {USUAL_FILE: example(), SCHEMA_FILE: json_schema(), REFERENCE_FILE: reference()}.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
