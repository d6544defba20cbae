"""What a file says, against what can be set: the values of the settings, and everything that is wrong."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Final, NamedTuple

from chatgpt_platform.settings.containers import again
from chatgpt_platform.settings.declaration import Section, Setting
from chatgpt_platform.settings.kinds import Unusable
from chatgpt_platform.settings.nodes import Array, Node, Scalar, Table, describe
from chatgpt_platform.settings.schema import SETTINGS


class Trouble(NamedTuple):
    """Something wrong at a setting or key. ``line`` counts from 1; 0: there are no lines."""

    path: str
    text: str
    line: int


class Findings:
    """``values``: for the path of each setting that was written, its value and line. ``lists``: for the path of
    each list of sections, the line of each item; where it is empty, ``values`` has its own line too."""

    def __init__(self) -> None:
        self.lists: Final[dict[str, tuple[int, ...]]] = {}
        self.values: Final[dict[str, tuple[object, int]]] = {}
        self.troubles: Final[list[Trouble]] = []


def read(section: Section, node: Node) -> Findings:
    """Read a section and all below it. A null is an empty section."""
    findings = Findings()
    _read_section(section, node, findings)
    return findings


def _read_section(section: Section, node: Node, findings: Findings) -> None:
    if isinstance(node, Scalar) and node.is_null:
        return
    if section.listed:
        _read_list(section, node, findings)
    else:
        _read_members(section, node, findings)


def _read_list(section: Section, node: Node, findings: Findings) -> None:
    name, least, most = section.path, section.least, section.most
    if not isinstance(node, Array):
        text = f"found {_unspoken(node)}, expected a list of {name}"
        findings.troubles.append(Trouble(name, text, node.line))
        return
    if len(node.items) < least:
        findings.troubles.append(Trouble(name, "found an empty list, expected one item or more", node.line))
        return
    if len(node.items) > most:
        text = f"found {len(node.items)} {name}, expected at most {most}"
        findings.troubles.append(Trouble(name, text, node.items[most].line))
    items = node.items[:most]
    findings.lists[name] = tuple(item.line for item in items)
    if not items:
        findings.values[name] = ((), node.line)
    for index, item in enumerate(items):
        _read_item(section.item(index), item, findings)


def _read_item(section: Section, node: Node, findings: Findings) -> None:
    """One group of a list, and what it lacks."""
    before = len(findings.troubles)
    _read_section(section, node, findings)
    refused = {trouble.path for trouble in findings.troubles[before:]}
    for member in section.members.values():
        if not isinstance(member, Setting) or not member.sample or section.path in refused:
            continue
        if member.path not in findings.values and not any(path.startswith(member.path) for path in refused):
            text = f"found none, expected {member.kind.expected}"
            findings.troubles.append(Trouble(member.path, text, node.line))


def _read_members(section: Section, node: Node, findings: Findings) -> None:
    prefix = f"{section.path}." if section.path else ""
    if not isinstance(node, Table):
        text = f"found {_unspoken(node)}, expected a mapping with {_names(section)}"
        findings.troubles.append(Trouble(section.path, text, node.line))
        return
    for key, first in node.repeated():
        findings.troubles.append(Trouble(f"{prefix}{_shown(key.text)}", again(first), key.line))
    for key, value in node.entries:
        member = section.members.get(key.text)
        if isinstance(member, Setting):
            _read_setting(member, key.line, value, findings)
        elif member is not None:
            _read_section(member, value, findings)
        else:
            text = _unknown(key.text, section, prefix)
            findings.troubles.append(Trouble(f"{prefix}{_shown(key.text)}", text, key.line))


def _read_setting(setting: Setting, line: int, node: Node, findings: Findings) -> None:
    try:
        findings.values[setting.path] = (setting.kind.parse(node), line)
    except Unusable as unusable:
        findings.troubles.extend(
            Trouble(setting.path + fault.where, fault.text, fault.line) for fault in unusable.faults
        )


def _unspoken(node: Node) -> str:
    """What stands in place of a section; its text may be a key."""
    return "a text" if isinstance(node, Scalar) else describe(node)


def _names(section: Section) -> str:
    return ", ".join(section.members)


def _shown(key: str) -> str:
    """An unknown key, unless it looks like a secret in the wrong place: ``{api_keys:abc1}`` is a key in YAML."""
    return key if re.fullmatch(r"[A-Za-z_-]{1,24}", key) else "(a key that is not shown)"


def _unknown(key: str, section: Section, prefix: str) -> str:
    near = [f"{prefix}{name}" for name in get_close_matches(key.lower(), section.members, n=2)]
    if not near:
        leaves = {path.rpartition(".")[2]: path for path in reversed(list(SETTINGS))}
        near = [leaves[name] for name in get_close_matches(key.lower(), leaves, n=2)]
    if not near:
        return f"found an unknown setting, expected one of {_names(section)}"
    return f"found an unknown setting, did you mean {' or '.join(near)}?"
