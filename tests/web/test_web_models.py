"""Which upstream a model is asked of, what it is called there, and what ``/v1/models`` lists of all of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import openai
import pytest
import requests
from openai import OpenAI

from chatgpt_platform.simulator.models import MODELS
from chatgpt_platform.simulator.server import Behaviour
from support.fleet import SHAPE_NAMES, SHAPES, ask, calls, fleet, scripted, up
from support.gateway import Running
from support.scripted import Peer, Script
from support.ways import WAYS

WAYS = WAYS[:1]  # what is tested is the same on all
SHAPED = pytest.mark.parametrize(("api", "stream"), SHAPES, ids=SHAPE_NAMES)


def listed(running: Running, **headers: str) -> list[str]:
    """The ids that the gateway lists."""
    answer = requests.get(running.url + "/v1/models", headers=headers, timeout=15)
    assert answer.status_code == 200, answer.text
    assert answer.json()["object"] == "list"
    return [model["id"] for model in answer.json()["data"]]


def listing(*models: str, others: int = 404) -> Script:
    """Lists these models, and fails all other calls."""

    async def script(peer: Peer) -> None:
        with suppress(asyncio.IncompleteReadError):
            while True:
                head = (await peer.request()).partition(b" HTTP")[0]
                document: Any = {"error": {"message": "no such thing"}}
                if head == b"GET /models":
                    document = {"object": "list", "data": [{"id": name, "object": "model"} for name in models]}
                body = json.dumps(document).encode()
                status = b"200 OK" if "data" in document else b"%d Not so" % others
                await peer.send(
                    b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                    % (status, len(body), body)
                )

    return script


@SHAPED
def test_a_model_is_asked_of_the_upstream_that_serves_it(api: str, stream: bool) -> None:
    ups = (up("exact", models=["special"]), up("wild", models=["gpt-*", "o?-mini"]), up("rest", priority=9))
    with fleet(*ups) as running:
        for model, name in {"special": "exact", "gpt-4o": "wild", "o3-mini": "wild", "o33-mini": "rest"}.items():
            before = calls(running)
            assert ask(running, api, stream=stream, model=model).good
            assert calls(running) == {**before, name: before[name] + 1}
            assert json.loads(running.simulators[name].seen[-1].body)["model"] == model
            assert running.simulators[name].seen[-1].key == f"{name}-1"


@SHAPED
def test_a_model_that_nobody_serves(api: str, stream: bool) -> None:
    with fleet(up("a", models=["gpt-*"]), up("b", models=["o1"])) as running:
        outcome = ask(running, api, stream=stream, model="llama", headers={"Accept-Language": "en"})
        assert outcome.status == (404 if api == "openai" else 400)
        assert outcome.reason == "No model service here offers llama."
        if api == "openai":
            assert outcome.last["error"]["code"] == "model_not_found"
        assert calls(running) == {"a": 0, "b": 0}
        record = running.record()
        assert (record["model"], record["upstream"], record["attempts"]) == ("llama", None, 0)


@SHAPED
def test_a_model_goes_by_its_upstreams_name_there(api: str, stream: bool) -> None:
    with fleet(up("a", rename={"gpt-4o": "their/4o"}), CHATGPT_MODELS__ALIASES='{"smart": "gpt-4o"}') as running:
        for asked in ("gpt-4o", "smart"):
            assert ask(running, api, stream=stream, model=asked).good
            assert json.loads(running.simulator.seen[-1].body)["model"] == "their/4o"
        assert ask(running, api, stream=stream, model="gpt-4o-mini").good
        assert json.loads(running.simulator.seen[-1].body)["model"] == "gpt-4o-mini"


@pytest.mark.parametrize("own", [False, True], ids=["the owner's key", "a caller's"])
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("api", ["platform", "openai"])
def test_azure_has_paths_and_a_header_of_its_own(api: str, stream: bool, own: bool) -> None:
    heads: list[bytes] = []

    async def script(peer: Peer) -> None:
        heads.append(await peer.request())
        body = b'{"choices":[{"message":{"content":"hey"},"finish_reason":"stop"}]}'
        kind = b"application/json"
        if stream:
            body = b'data: {"choices":[{"index":0,"delta":{"content":"hey"}}]}\n\ndata: [DONE]\n\n'
            kind = b"text/event-stream"
        lines = b"Content-Type: %b\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (kind, len(body))
        await peer.send(b"HTTP/1.1 200 OK\r\n" + lines + body)
        peer.end()

    azure: dict[str, Any] = {"api": "azure", "api_version": "2024-10-21", "rename": {"gpt-4o": "our deployment"}}
    with scripted(script) as server:
        ups = (up("azure", url=server.url, models=["gpt-4o"], **azure), up("other", models=["other"]))
        with fleet(*ups, CHATGPT_ACCESS__CALLER_KEYS="true") as running:
            bearer = {"Authorization": "Bearer of-a-caller"} if own else {}
            assert ask(running, api, stream=stream, model="gpt-4o", headers=bearer).good
        (head,) = heads
        where = (
            f"POST /openai/deployments/{quote('our deployment')}/chat/completions?api-version=2024-10-21 HTTP/1.1"
        )
        assert head.startswith(where.encode())
        assert (b"\r\napi-key: of-a-caller\r\n" if own else b"\r\napi-key: azure-1\r\n") in head
        assert b"authorization" not in head.lower()


def test_equals_share_by_their_weights() -> None:
    with fleet(up("heavy", weight=3), up("light", weight=1)) as running:
        assert all(ask(running, "openai").good for _ in range(20))
        assert calls(running) == {"heavy": 15, "light": 5}


def test_the_least_loaded_for_its_weight_is_asked() -> None:
    with fleet(up("a", weight=2), up("b", weight=1)) as running:
        upstreams = {each.name: each for each in running.service.fleet.upstreams}
        upstreams["a"].under_way += 9  # a backlog that will not end
        try:
            assert all(ask(running, "openai").good for _ in range(3))
        finally:
            upstreams["a"].under_way -= 9
        assert calls(running) == {"a": 0, "b": 3}


def test_the_list_is_that_of_all_with_aliases_and_without_what_is_not_asked_for() -> None:
    with (
        scripted(listing("llama-3", "llama-guard", "gpt-4o")) as server,
        fleet(
            up("one", models=["gpt-4o*", "text-*"]),
            up("two", url=server.url, models=["llama-?", "gpt-4o", "mine"], rename={"mine": "theirs"}),
            CHATGPT_MODELS__ALIASES='{"smart": "gpt-4o", "tiny": "gpt-4o-mini"}',
        ) as running,
    ):
        here = [name for name in MODELS if name.startswith(("gpt-4o", "text-"))]
        names = listed(running)
        assert sorted(names) == sorted([*here, "llama-3", "mine", "smart", "tiny"])
        assert len(set(names)) == len(names)
        with OpenAI(base_url=running.url + "/v1", api_key="x", max_retries=0) as made:
            assert [model.id for model in made.models.list()] == names
        assert listed(running) == names
        assert len([each for peer in server.peers for each in peer.requests]) == 1, "it is kept"


def test_a_list_that_cannot_be_had_leaves_the_others() -> None:
    with (
        scripted(listing(others=500)) as gone,
        fleet(
            up("one", models=["gpt-4o"]),
            up("two", url=gone.url + "/nowhere", models=["named", "other-*"]),
        ) as running,
    ):
        assert sorted(listed(running)) == ["gpt-4o", "named"]
        assert "two: its models cannot be listed" in running.output()


@pytest.mark.parametrize(("fault", "status"), [("refuse", 502), ("wrong key", 401)])
def test_no_list_at_all_is_the_failure_that_it_is(fault: str, status: int) -> None:
    wrong = fault == "wrong key"
    with fleet(up("only", fail="" if wrong else fault, api_keys=["wrong" if wrong else "k1"])) as running:
        running.expected = ["upstream_unreachable"]
        answer = requests.get(running.url + "/v1/models", timeout=15)
        assert answer.status_code == status
        assert answer.json()["error"]["message"]
        running.simulator.behaviour = Behaviour()


def test_a_callers_own_key_gets_its_own_list() -> None:
    with fleet(up("a"), up("b"), CHATGPT_ACCESS__CALLER_KEYS="true") as running:
        assert listed(running, Authorization="Bearer of-a-caller") == list(MODELS)
        assert [each.key for each in running.simulators["a"].seen] == ["of-a-caller"]
        assert not running.simulators["b"].seen


@pytest.mark.parametrize("name", ["gpt-4o", "smart", "their/model"])
def test_one_model_is_asked_of_the_upstream_that_serves_it(name: str) -> None:
    ups: Sequence[Any] = (up("a", models=["none"]), up("b", rename={"gpt-4o": "gpt-4o-2024"}))
    with (
        fleet(*ups, CHATGPT_MODELS__ALIASES='{"smart": "gpt-4o"}') as running,
        OpenAI(base_url=running.url + "/v1", api_key="x", max_retries=0) as made,
    ):
        assert made.models.retrieve(name).id
        real = "their/model" if name.startswith("their") else "gpt-4o-2024"
        assert running.simulators["b"].seen[-1].path == "/v1/models/" + quote(real, safe="/")
        assert not running.simulators["a"].seen


def test_one_model_that_nobody_serves() -> None:
    with (
        fleet(up("a", models=["gpt-*"])) as running,
        OpenAI(base_url=running.url + "/v1", api_key="x", max_retries=0) as made,
        pytest.raises(openai.NotFoundError),
    ):
        made.models.retrieve("llama")
