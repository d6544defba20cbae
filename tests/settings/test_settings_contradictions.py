"""What is possible each by itself, but not together."""

from __future__ import annotations

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
