"""docs/upstreams.md: every example there is a configuration that loads and means what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chatgpt_platform.settings.load import load
from chatgpt_platform.settings.schema import Settings, Upstream

PAGE = (Path(__file__).parents[2] / "docs" / "upstreams.md").read_text(encoding="utf-8")
AZURE = "https://your-resource.openai.azure.com"
PRESETS = {
    "OpenAI": ("openai", "https://api.openai.com/v1"),
    "Azure OpenAI, by deployment": ("azure", AZURE),
    "Azure OpenAI, v1": ("openai", f"{AZURE}/openai/v1"),
    "DeepSeek": ("openai", "https://api.deepseek.com"),
    "Qwen": ("openai", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"),
    "Ollama": ("openai", "http://localhost:11434/v1"),
    "vLLM": ("openai", "http://localhost:8000/v1"),
    "LM Studio": ("openai", "http://localhost:1234/v1"),
}


def examples() -> dict[str, str]:
    """The one example below each heading that has any."""
    parts = re.split(r"(?m)^##+ (.+)$", PAGE)
    found = {
        heading: re.findall(r"(?ms)^```yaml\n(.*?)^```$", text)
        for heading, text in zip(parts[1::2], parts[2::2], strict=True)
    }
    assert all(len(blocks) < 2 for blocks in found.values())
    assert sum(map(len, found.values())) == PAGE.count("```yaml") > len(PRESETS)
    return {heading: blocks[0] for heading, blocks in found.items() if blocks}


def loaded(heading: str, directory: Path) -> Settings:
    (directory / "a.yaml").write_text(examples()[heading], encoding="utf-8")
    return load({}, config="a.yaml", directory=directory).settings


@pytest.mark.parametrize("heading", examples())
def test_each_example_loads_and_has_keys(heading: str, tmp_path: Path) -> None:
    assert all(each.api_keys for each in loaded(heading, tmp_path).upstreams)


@pytest.mark.parametrize(("heading", "meant"), PRESETS.items())
def test_each_preset_is_the_service_that_it_is_named_after(
    heading: str, meant: tuple[str, str], tmp_path: Path
) -> None:
    (upstream,) = loaded(heading, tmp_path).upstreams
    assert (upstream.api, upstream.base_url) == meant
    assert bool(upstream.api_version) is (upstream.api == "azure")


def test_several_upstreams_have_what_the_page_says(tmp_path: Path) -> None:
    several = loaded("Several upstreams", tmp_path).upstreams
    assert [(each.name, each.priority, each.weight, each.concurrency) for each in several] == [
        ("azure", 0, 3, 0),
        ("openai", 0, 1, 0),
        ("ollama", 1, 1, 4),
    ]
    keyed = loaded("Several keys", tmp_path).upstreams[0]
    assert len(keyed.api_keys) == 2
    again = loaded("Sending again", tmp_path)
    assert (again.retries.attempts, again.retries.budget, again.upstreams[0].retry_unsafe) == (3, 10, True)


def test_the_way_there_has_proxy_authority_and_headers(tmp_path: Path) -> None:
    (inside,) = loaded("The way there", tmp_path).upstreams
    assert inside.proxy.reveal() == "socks5h://USER:PASSWORD@proxy.example.internal:1080"
    assert inside.ca_file == "/etc/chatgpt-platform/our-ca.pem"
    assert {name: text.reveal() for name, text in inside.headers.items()} == {"X-Team": "research"}
    assert Upstream().headers == {}
