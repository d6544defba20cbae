"""Where each service has its endpoints, and how a key reaches it."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgpt_platform.gateway import endpoints
from chatgpt_platform.upstream import dialect

AZURE = dialect.of("azure", "2024-10-21")
PATHS = [endpoint.upstream_path for endpoint in (*endpoints.OPENAI_POSTS, endpoints.MODELS)]


@pytest.mark.parametrize("path", PATHS)
def test_openai_and_what_resembles_it_have_them_where_openai_has_them(path: bytes) -> None:
    assert dialect.of("openai", "").path(path, "gpt-4o") == path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/chat/completions", b"/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21"),
        (b"/completions", b"/openai/deployments/my-gpt/completions?api-version=2024-10-21"),
        (b"/embeddings", b"/openai/deployments/my-gpt/embeddings?api-version=2024-10-21"),
        (b"/responses", b"/openai/responses?api-version=2024-10-21"),
        (b"/models", b"/openai/models?api-version=2024-10-21"),
        (b"/models/my-gpt", b"/openai/models/my-gpt?api-version=2024-10-21"),
    ],
)
def test_azure_names_the_deployment_and_the_version(path: bytes, expected: bytes) -> None:
    assert AZURE.path(path, "my-gpt") == expected


@given(st.text())
def test_a_deployment_is_one_segment_of_the_path_whatever_its_name(model: str) -> None:
    try:
        model.encode()
    except UnicodeEncodeError:
        return
    path = AZURE.path(b"/chat/completions", model).decode("ascii")
    assert all("!" <= sign <= "~" for sign in path)
    parts = urlsplit(path)
    assert parts.query == "api-version=2024-10-21"
    assert [unquote(part) for part in parts.path.split("/")] == [
        "", "openai", "deployments", model, "chat", "completions",
    ]  # fmt: skip


def test_a_version_stays_one_value_of_the_query() -> None:
    assert dialect.of("azure", "v1&x=/ y").path(b"/models", "").endswith(b"?api-version=v1%26x%3D%2F%20y")


def test_the_line_that_brings_the_key() -> None:
    assert dialect.of("openai", "").key_line("sk-1") == b"Authorization: Bearer sk-1\r\n"
    assert AZURE.key_line("sk-1") == b"api-key: sk-1\r\n"


def test_azures_list_is_not_one_of_what_can_be_called() -> None:
    assert dialect.of("openai", "").lists_models
    assert not AZURE.lists_models
