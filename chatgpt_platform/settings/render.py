"""Texts made from the schema: the example file, the reference page, the JSON Schema, the listing of ``check``.

``python -m chatgpt_platform.settings.render`` writes the first three into the project, from its root.

In the example the headings of groups are live and empty, which means the same as leaving them out. Each setting is
commented out with ``# `` in the place where it belongs, each explanation with ``## ``; so a setting is changed by
taking away its ``# `` and nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap
from typing import Any, Final

from chatgpt_platform.settings.containers import ListOf
from chatgpt_platform.settings.declaration import Section, Setting, variable
from chatgpt_platform.settings.kinds import Kind
from chatgpt_platform.settings.load import SYSTEM_FILE, USUAL_FILE, WINDOWS_FILE, Loaded
from chatgpt_platform.settings.schema import TREE, settings_of, value_at

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
`CHATGPT_UPSTREAMS` sets the whole list of upstreams as JSON, in place of the file's, `CHATGPT_KEYS` that of keys,
`CHATGPT_PRICES` that of prices. `API_KEY` and `BASE_URL` belong to the first upstream. `API_KEY` holds one key,
commas included, or a JSON list of keys. `LANG` is only the last resort inside `server.language: auto`.

**Upstreams** are one or more, up to 100. The table shows the first, `upstreams[0]`; the others have the same
settings, and each must give its `name`. [upstreams.md](upstreams.md) has examples. **Keys** and **prices** are
none or more, up to 1000 of each; the tables show the first.

**Durations** are written with their unit: `500ms`, `30s`, `1m30s`, `2h`; `ledger.keep` may be days, `400d`.
**Sizes** too: `512KiB`, `10MiB`, `50MB`; plain digits are bytes. **Whole numbers** have neither quotes nor leading
zeros, **dollars** at most 6 places behind the point.

**Allowances** are written as amount/period: `100k/day`, `5.00/month`. Tokens are whole numbers, `k` and `M` stand
for thousands and millions; money is in dollars, at most 6 places. Those of a `day`, a `week` (from Monday), a
`month` or a `year` begin anew with the calendar, in `budgets.time_zone`; a `total` never does. A duration such as
`90m`, `24h` or `30d` means any stretch as long as this. Tokens can also be those of a `second`, a `minute` or an
`hour`, refilled evenly, as `limits` are. A key can have several, each with another period.

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
            yield f"{indent}# {name}: {member.sample or member.kind.yaml(member.default)}{beside}"
            continue
        if not indent:
            yield ""
        yield from _comment(member.help, indent)
        if member.least == 0:
            yield from _example_item(name, member)
            continue
        yield f"{indent}{name}:"
        if member.listed:
            yield f"{indent}  -"
        yield from _example_members(member, indent + ("    " if member.listed else "  "))


def _example_item(name: str, section: Section) -> Iterator[str]:
    """A list that is empty by default, and what a group of it is, all of it explanation."""
    yield f"# {name}: []"
    yield "## With one of them:"
    yield f"## {name}:"
    yield "##   -"
    for line in _example_members(section.item(0), "      "):  # two more, as wide as the marks are then
        yield f"## {re.sub('^( *)##? ', _less, line.removeprefix('  '))}"


def _less(mark: re.Match[str]) -> str:
    """One mark less, for what stands inside of an explanation."""
    return f"{mark[1]}# " if "##" in mark[0] else mark[1]


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
    for setting in (section.item(0) if section.listed else section).settings():
        names = setting.variables or ((variable(section.path),) if section.listed else ())
        meaning = f"{setting.help} *Restart.*" if setting.restart else setting.help
        default = "*needed*" if setting.sample else f"`{setting.kind.yaml(setting.default)}`"
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
    about: dict[str, object] = {"type": ["object", "null"], "additionalProperties": False, "properties": members}
    needed = [name for name, member in section.members.items() if isinstance(member, Setting) and member.sample]
    return about | {"type": "object", "required": needed} if needed else about


def _section_schema(section: Section) -> dict[str, object]:
    about: dict[str, object] = {"description": section.help}
    if section.listed:
        about |= {"type": ["array", "null"], "minItems": section.least, "maxItems": section.most}
        return about | {"items": _object(section)}
    return about | _object(section)


def _described(setting: Setting) -> dict[str, object]:
    about: dict[str, object] = {"description": setting.help}
    about |= setting.kind.json_schema()
    return about if setting.sample else about | {"default": _plain(setting.kind, setting.default)}


def _plain(kind: Kind[Any], value: Any) -> object:
    """A default as JSON: numbers, booleans and mappings are written alike in both."""
    if isinstance(kind, ListOf):
        return [_plain(kind.item, item) for item in value]
    yaml = kind.yaml(value)
    try:
        return json.loads(yaml)
    except ValueError:
        return yaml


def listing(loaded: Loaded) -> str:
    """The effective settings, a line each with its source; secrets are masked."""
    settings = {each.path: each for each in settings_of(loaded.settings)}
    lines = {path: f"{path} = {_value(settings.get(path), path, loaded)}" for path in loaded.sources}
    width = max(map(len, lines.values()))
    return "".join(f"{line:<{width}}    ({loaded.sources[path]})\n" for path, line in lines.items())


def _value(setting: Setting | None, path: str, loaded: Loaded) -> str:
    """A value as YAML; a path without a setting is a list that is empty."""
    return setting.kind.yaml(value_at(loaded.settings, path)) if setting else "[]"


def main() -> None:
    """Write the generated files below the working directory."""
    for name, text in {USUAL_FILE: example(), SCHEMA_FILE: json_schema(), REFERENCE_FILE: reference()}.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
