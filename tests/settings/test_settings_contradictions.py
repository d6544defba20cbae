"""What is possible each by itself, but not together."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from chatgpt_platform.errors import ConfigurationError
from chatgpt_platform.settings.load import load

RESOURCE = "https://NAME.openai.azure.com"


def problems(directory: Path, text: str = "", **environment: str) -> list[str]:
    (directory / "a.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load(environment, config="a.yaml", directory=directory)
    return caught.value.lines


def accepted(directory: Path, text: str, **environment: str) -> bool:
    (directory / "a.yaml").write_text(text, encoding="utf-8")
    return bool(load(environment, config="a.yaml", directory=directory).settings)


# --- names


def test_two_upstreams_of_one_name_are_named_with_both_places(tmp_path: Path) -> None:
    text = """upstreams:
  - name: a
  - {name: b}
  - priority: 1
    name: a
"""
    assert problems(tmp_path, text) == [
        (
            'a.yaml:5: upstreams[2].name: found "a" a second time (first at a.yaml:2: upstreams[0].name), '
            "expected once"
        )
    ]


def test_the_default_name_is_the_first_upstream_s(tmp_path: Path) -> None:
    text = "upstreams:\n  -\n  - name: openai\n  - weight: 2\n"
    assert problems(tmp_path, text) == [
        'a.yaml:3: upstreams[1].name: found "openai" a second time (by default upstreams[0]\'s), expected once',
        "a.yaml:4: upstreams[2].name: found none, expected one of its own: openai is the first upstream's",
    ]
    assert accepted(tmp_path, "upstreams:\n  -\n  - name: other\n")


def test_names_in_the_environment(tmp_path: Path) -> None:
    assert problems(tmp_path, CHATGPT_UPSTREAMS='[{"name": "a"}, {"name": "a"}, {}]') == [
        (
            "CHATGPT_UPSTREAMS: upstreams[1].name: "
            'found "a" a second time (first at CHATGPT_UPSTREAMS: upstreams[0].name), expected once'
        ),
        (
            "CHATGPT_UPSTREAMS: upstreams[2].name: "
            "found none, expected one of its own: openai is the first upstream's"
        ),
    ]


def test_a_name_that_was_refused_is_not_missed_as_well(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, "upstreams: [{}, {name: 'a b'}]")
    assert line.startswith('a.yaml:1: upstreams[1].name: found "a b", expected')


# --- Azure


def test_azure_needs_a_version_and_an_address(tmp_path: Path) -> None:
    assert problems(tmp_path, "upstreams:\n  - name: a\n    api: azure\n") == [
        "a.yaml:3: upstreams[0].api: found azure without api_version, expected one such as 2024-10-21",
        f"a.yaml:3: upstreams[0].api: found azure without base_url, expected one such as {RESOURCE}",
    ]
    text = "upstreams: [{api: azure, api_version: 2024-10-21}]"
    assert accepted(tmp_path, text, BASE_URL="https://mine.openai.azure.com/")
    assert accepted(tmp_path, text.replace("}", ", base_url: https://gateway.example/team/}"))


def test_a_version_is_for_azure(tmp_path: Path) -> None:
    assert problems(tmp_path, "upstreams: [{api_version: 2024-10-21}]") == [
        "a.yaml:1: upstreams[0].api_version: found without api: azure, expected both of them or none"
    ]


@pytest.mark.parametrize(
    ("path", "cure"),
    [
        ("/openai", "/openai is added here"),
        ("/openai/deployments/gpt", "/openai is added here"),
        ("/OpenAI/v1/", "/openai/v1 goes with api: openai"),
    ],
)
def test_azure_s_base_url_is_the_resource(tmp_path: Path, path: str, cure: str) -> None:
    address = f"https://mine.openai.azure.com{path}"
    text = f"upstreams:\n  - api: azure\n    api_version: 2024-10-21\n    base_url: {address}\n"
    says = f"upstreams[0].base_url: found a path with /openai, expected {RESOURCE} alone: {cure}"
    assert problems(tmp_path, text) == [f"a.yaml:4: {says}"]
    assert problems(tmp_path, text.rpartition("    base_url")[0], BASE_URL=address) == [f"BASE_URL: {says}"]


def test_what_was_refused_is_not_missed_as_well(tmp_path: Path) -> None:
    for text in (
        "upstreams: [{api: azure, api_version: a b, base_url: 'https://a'}]",
        "upstreams: [{api: azure, api_version: a, base_url: a}]",
        "upstreams: [{api: asure, api_version: a}]",
        "upstreams: [{api: azure, api: azure}]",
    ):
        assert len(problems(tmp_path, text)) == 1


# --- rename


def test_a_new_name_for_a_model_that_is_not_asked_for_here(tmp_path: Path) -> None:
    rename = "rename: {gpt-4o-mini: a, o3: b, a+b: c, aab: d, o: e}"
    text = f"upstreams:\n  - models: [gpt-4o*, 'o?', 'a+b']\n    {rename}\n"
    assert problems(tmp_path, text) == [
        f'a.yaml:3: upstreams[0].rename: found "{name}", expected a name that its models have'
        for name in ("aab", "o")
    ]
    (line,) = problems(tmp_path, "upstreams: [{rename: {'gpt-*': a}}]")
    assert 'upstreams[0].rename["gpt-*"]: found "gpt-*", expected the name of a model, without * and ?' in line


# --- all at once


def test_the_problems_of_every_upstream_come_at_once(tmp_path: Path) -> None:
    text = """upstreams:
  - weight: 0
  - name: b
    api: azure
    api_version: v
    base_url: https://b/openai
  - name: b
    timeouts: {total: 5}
    nam: c
"""
    found = problems(tmp_path, text, HOUR_LIMIT="x")
    assert [line.partition(": found")[0] for line in found] == [
        "a.yaml:2: upstreams[0].weight",
        "a.yaml:8: upstreams[2].timeouts.total",
        "a.yaml:9: upstreams[2].nam",
        "HOUR_LIMIT",
        "a.yaml:7: upstreams[2].name",
        "a.yaml:6: upstreams[1].base_url",
    ]
    assert "did you mean upstreams[2].name or upstreams[2].rename?" in found[2]


# --- ports


def test_metrics_do_not_get_the_gateways_own_port(tmp_path: Path) -> None:
    cure = "for /metrics at the gateway's own port set metrics.allow"
    assert problems(tmp_path, "metrics:\n  port: 5000\n") == [
        f"a.yaml:2: metrics.port: found 5000 for metrics.port, expected another than server.port (default); {cure}"
    ]
    assert problems(tmp_path, CHATGPT_METRICS__PORT="7000", PORT="7000") == [
        (
            "CHATGPT_METRICS__PORT: found 7000 for metrics.port, expected another than server.port "
            f"(environment variable PORT); {cure}"
        )
    ]
    assert accepted(tmp_path, "server: {port: 0}\n")
    assert accepted(tmp_path, "metrics: {port: 5001}\n")


# --- virtual keys

KEY = "test-key-of-somebody"
DIGEST = f"sha256:{sha256(KEY.encode()).hexdigest()}"


def test_two_keys_of_one_name(tmp_path: Path) -> None:
    text = f"keys:\n  - {{name: a, key: {KEY}}}\n  - key: {KEY}-2\n    name: a\n"
    assert problems(tmp_path, text) == [
        'a.yaml:4: keys[1].name: found "a" a second time (first at a.yaml:2: keys[0].name), expected once'
    ]
    given = json.dumps([{"name": "a", "key": KEY}, {"name": "a", "key": f"{KEY}-2"}])
    (line,) = problems(tmp_path, CHATGPT_KEYS=given)
    assert line.startswith('CHATGPT_KEYS: keys[1].name: found "a" a second time')
    assert accepted(tmp_path, f"keys: [{{name: openai, key: {KEY}}}, {{name: OpenAI, key: {KEY}-2}}]")


@pytest.mark.parametrize(
    ("one", "other"), [(KEY, KEY), (KEY, DIGEST), (DIGEST, DIGEST.upper().replace("SHA", "sha"))]
)
def test_one_key_for_two(tmp_path: Path, one: str, other: str) -> None:
    text = f"keys:\n  - {{name: a, key: '{one}'}}\n  - {{name: b, key: '{other}'}}\n"
    assert problems(tmp_path, text) == [
        "a.yaml:3: keys[1].key: found what keys[0].key is as well, expected another for each"
    ]
    assert problems(tmp_path, f"keys: [{{name: a, key: '{one}'}}]\nadmin: {{token: '{other}'}}\n") == [
        "a.yaml:1: keys[0].key: found what admin.token is as well, expected another for each"
    ]


def test_a_key_is_asked_for_and_nobody_has_one(tmp_path: Path) -> None:
    text = "access:\n  require_key: true\n"
    cure = "expected keys, or state.directory for those of the command keys"
    assert problems(tmp_path, text) == [f"a.yaml:2: access.require_key: found true where there is no key, {cure}"]
    assert accepted(tmp_path, f"{text}state: {{directory: s}}\n")
    assert accepted(tmp_path, f"{text}keys: [{{name: a, key: {KEY}}}]\n")
    assert len(problems(tmp_path, f"{text}keys: [{{name: a}}]\n")) == 1, "of the key, not that there is none"
    assert len(problems(tmp_path, f"{text}keys: {{}}\n")) == 1


def test_half_of_a_webhook(tmp_path: Path) -> None:
    both = "expected both of them or none"
    assert problems(tmp_path, "budgets: {webhook: {url: 'https://hooks.example/a'}}") == [
        f"a.yaml:1: budgets.webhook.url: found budgets.webhook.url without budgets.webhook.secret, {both}"
    ]
    assert problems(tmp_path, CHATGPT_BUDGETS__WEBHOOK__SECRET=KEY) == [
        (
            "CHATGPT_BUDGETS__WEBHOOK__SECRET: found budgets.webhook.secret without budgets.webhook.url, "
            "expected both of them or none"
        )
    ]
    assert len(problems(tmp_path, "budgets: {webhook: {url: 'https://hooks.example/a', secret: short}}")) == 1
    assert accepted(tmp_path, f"budgets: {{webhook: {{url: 'https://hooks.example/a', secret: {KEY}}}}}")


def test_what_was_said_is_kept_in_the_ledger(tmp_path: Path) -> None:
    text = f"keys:\n  - name: a\n    key: {KEY}\n    prompts: true\n"
    assert problems(tmp_path, text) == [
        "a.yaml:4: keys[0].prompts: found true without state.directory, where the ledger would keep them"
    ]
    assert accepted(tmp_path, f"{text}state: {{directory: s}}\n")


def test_two_prices_of_one_model(tmp_path: Path) -> None:
    price = "input: 1, output: 1"
    text = f"prices:\n  - {{model: a, {price}}}\n  - {{model: a, since: 2026-01-01, {price}}}\n"
    assert accepted(tmp_path, text)
    assert problems(tmp_path, f"{text}  - {{model: a, {price}}}\n") == [
        (
            'a.yaml:4: prices[2].model: found "a" a second time for one day (first at a.yaml:2: prices[0].model), '
            "expected once"
        )
    ]
