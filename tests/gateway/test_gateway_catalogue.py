"""The list of models: of all upstreams together, kept for a while, and honest where one cannot be had."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping
from typing import Any

import pytest

from chatgpt_platform.errors import Kind, Problem
from chatgpt_platform.gateway import catalogue
from chatgpt_platform.gateway.catalogue import AGAIN, KEPT, Catalogue
from chatgpt_platform.gateway.forward import FailedAnswer
from chatgpt_platform.settings.schema import Upstream
from chatgpt_platform.upstream.fleet import Fleet
from support.scripted import Peer, RawServer
from support.upstreams import LOGGER, fleet, upstream


def http(status: str, body: bytes, kind: bytes = b"application/json") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nContent-Type: ".encode()
    return head + kind + b"\r\n\r\n" + body


def model(name: str, owner: str = "them") -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 7, "owned_by": owner, "unknown": {"member": 1.0}}


def listing(*names: str, owner: str = "them") -> bytes:
    return http("200 OK", json.dumps({"object": "list", "data": [model(name, owner) for name in names]}).encode())


class Lister(RawServer):
    """An upstream that lists models; it answers with ``answer``, or not at all while that is empty."""

    def __init__(self, answer: bytes = b"") -> None:
        super().__init__(self._answer)
        self.answer = answer
        self.asked: list[bytes] = []
        self.has_been_asked = asyncio.Event()
        self.left = asyncio.Event()
        """One that waited for an answer has given up."""

    async def _answer(self, peer: Peer) -> None:
        try:
            while True:
                self.asked.append(await peer.request())
                self.has_been_asked.set()
                if not self.answer:
                    await peer.gone()
                    self.left.set()
                    return
                await peer.send(self.answer)
        except asyncio.IncompleteReadError:
            return

    def upstream(self, name: str, **settings: Any) -> Upstream:
        return upstream(name, base_url=f"{self.url}/v1", **settings)


def down(name: str, **settings: Any) -> Upstream:
    """One where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    return upstream(name, base_url=f"http://127.0.0.1:{port}/v1", **settings)


class Told:
    """A catalogue as a test asks it."""

    def __init__(self, *upstreams: Upstream, aliases: Mapping[str, str] | None = None) -> None:
        self.fleet: Fleet = fleet(*upstreams)
        self.later = 0.0
        """Seconds that have gone by."""
        self.catalogue = Catalogue(self.fleet, aliases or {}, LOGGER, clock=lambda: 1000 + self.later)

    async def __aenter__(self) -> Told:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.catalogue.close()
        await self.fleet.close()

    async def models(self) -> list[dict[str, Any]]:
        body = json.loads(await self.catalogue.body())
        assert body["object"] == "list"
        found: list[dict[str, Any]] = body["data"]
        return found

    async def names(self) -> list[str]:
        return [each["id"] for each in await self.models()]


# What is told.


@pytest.mark.gen_test
async def test_the_models_of_all_upstreams_in_the_order_of_the_settings() -> None:
    async with (
        Lister(listing("b", "a")) as one,
        Lister(listing("c", "a", owner="others")) as two,
        Told(one.upstream("one", priority=1), two.upstream("two")) as told,
    ):
        models = await told.models()
        assert models == [model("b"), model("a"), model("c", "others")], "as they have them, each once"
    head = one.asked[0].split(b"\r\n")
    assert head[0] == b"GET /v1/models HTTP/1.1"
    assert b"Authorization: Bearer sk-one-1" in head


@pytest.mark.gen_test
async def test_only_what_the_upstream_is_asked_for() -> None:
    async with (
        Lister(listing("gpt-4o", "gpt-5", "whisper-1", "o1", "o12")) as one,
        Told(one.upstream("one", models=("gpt-*", "o?"))) as told,
    ):
        assert await told.names() == ["gpt-4o", "gpt-5", "o1"]


@pytest.mark.gen_test
async def test_names_of_the_settings_are_told_even_where_the_upstream_lists_others() -> None:
    settings: dict[str, Any] = {"models": ("plain", "fast", "l*"), "rename": {"fast": "llama-3-8b"}}
    async with Lister(listing("llama-3-8b", "plain", "x")) as one, Told(one.upstream("one", **settings)) as told:
        models = {each["id"]: each for each in await told.models()}
        assert set(models) == {"plain", "fast", "llama-3-8b"}
        assert models["plain"] == model("plain"), "the upstream knows better"
        assert models["fast"] == {"id": "fast", "object": "model", "created": 0, "owned_by": "one"}


@pytest.mark.gen_test
async def test_aliases() -> None:
    aliases = {"mini": "gpt-4o-mini", "gpt-4o": "gpt-4o-mini", "other": "gpt-9", "nobodys": "o1"}
    async with (
        Lister(listing("gpt-4o-mini", "gpt-4o")) as one,
        Told(one.upstream("one", models=("gpt-*",)), aliases=aliases) as told,
    ):
        models = await told.models()
        assert [each["id"] for each in models] == ["gpt-4o-mini", "gpt-4o", "mini", "other"]
        assert models[1] == model("gpt-4o"), "as the upstream has it"
        assert models[2] == model("gpt-4o-mini") | {"id": "mini"}
        assert models[3] == {"id": "other", "object": "model", "created": 0, "owned_by": "gpt-9"}


@pytest.mark.gen_test
async def test_azure_lists_what_could_be_deployed_so_its_settings_are_told() -> None:
    settings: dict[str, Any] = {"models": ("gpt-4o", "emb*"), "rename": {"embed": "my-embeddings"}}
    async with Lister(listing("a-hundred-others")) as azure, Lister(listing("x")) as one:
        both = [
            azure.upstream("az", api="azure", api_version="2024-10-21", **settings),
            one.upstream("one"),
        ]
        async with Told(*both) as told:
            assert await told.names() == ["gpt-4o", "embed", "x"]
        async with Told(both[0]) as told:
            assert await told.names() == ["gpt-4o", "embed"]
    assert azure.asked == []


@pytest.mark.gen_test
async def test_what_is_only_for_callers_with_keys_of_their_own_is_not_told() -> None:
    async with (
        Lister(listing("x")) as theirs,
        Lister(listing("y")) as one,
        Told(theirs.upstream("theirs", keys=0, models=("x", "z")), one.upstream("one")) as told,
    ):
        assert await told.names() == ["y"]
    assert theirs.asked == []


# Kept.


@pytest.mark.gen_test
async def test_a_list_is_asked_for_once() -> None:
    async with (
        Lister(listing("a")) as one,
        Lister(listing("b")) as two,
        Told(one.upstream("one"), two.upstream("two")) as told,
    ):
        for _ in range(3):
            assert await told.names() == ["a", "b"]
        assert [len(one.asked), len(two.asked)] == [1, 1]


@pytest.mark.gen_test
async def test_those_that_ask_at_once_wait_for_the_same_list() -> None:
    async with Lister(listing("a")) as one, Told(one.upstream("one")) as told:
        assert await asyncio.gather(*(told.names() for _ in range(20))) == [["a"]] * 20
        assert len(one.asked) == 1


@pytest.mark.gen_test
async def test_one_that_leaves_while_it_waits_spoils_it_for_nobody() -> None:
    async with Lister() as one, Told(one.upstream("one")) as told:
        leaving, staying = (asyncio.create_task(told.names(), name="names") for _ in range(2))
        await one.has_been_asked.wait()
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert not staying.done()
        one.peers[0].cut()
        with pytest.raises(Problem):
            await staying
        assert len(one.asked) == 1


@pytest.mark.gen_test
async def test_later_it_is_asked_for_again() -> None:
    async with Lister(listing("a")) as one, Told(one.upstream("one")) as told:
        assert await told.names() == ["a"]
        one.answer = listing("b")
        told.later = KEPT - 1
        assert await told.names() == ["a"]
        told.later = KEPT
        assert await told.names() == ["b"]
        assert len(one.asked) == 2


@pytest.mark.gen_test
async def test_the_keys_that_work_ask() -> None:
    async with Lister(listing("a")) as one, Told(one.upstream("one", keys=3)) as told:
        keys = told.fleet.upstreams[0].keys
        now = asyncio.get_running_loop().time()
        keys.set_aside(keys.keys[0], now)
        keys.rest(keys.keys[1], now, 60.0)
        assert await told.names() == ["a"]
        assert b"Bearer sk-one-3\r\n" in one.asked[0]


# Where a list cannot be had.


@pytest.mark.gen_test
@pytest.mark.parametrize("failing", ["refuses", "answers 500"])
async def test_one_that_fails_takes_nothing_from_the_others(failing: str) -> None:
    async with Lister(listing("a")) as one, Lister(http("500 Oops", b"{}")) as two:
        bad = down("bad") if failing == "refuses" else two.upstream("bad")
        async with Told(bad, one.upstream("one")) as told:
            for _ in range(3):
                assert await told.names() == ["a"]
            assert len(one.asked) == 1
            assert len(two.asked) == (failing != "refuses"), "and it is left alone for a while"


@pytest.mark.gen_test
async def test_it_is_asked_again_before_the_others_are() -> None:
    async with (
        Lister(listing("a")) as one,
        Lister(http("500 Oops", b"{}")) as two,
        Told(one.upstream("one"), two.upstream("two")) as told,
    ):
        assert await told.names() == ["a"]
        two.answer = listing("b")
        told.later = AGAIN - 1
        assert await told.names() == ["a"]
        told.later = AGAIN
        assert await told.names() == ["a", "b"]
        assert await told.names() == ["a", "b"]
        assert len(two.asked) == 2


@pytest.mark.gen_test
async def test_what_it_listed_last_is_told() -> None:
    async with (
        Lister(listing("a")) as one,
        Lister(listing("b")) as two,
        Told(one.upstream("one"), two.upstream("two")) as told,
    ):
        assert await told.names() == ["a", "b"]
        one.answer = two.answer = http("503 Busy", b"{}")
        told.later = KEPT
        assert await told.names() == ["a", "b"]
        assert [len(each.asked) for each in (one, two)] == [2, 2]


@pytest.mark.gen_test
async def test_else_the_names_that_its_settings_have() -> None:
    async with Told(down("one", models=("gpt-4o", "o*", "fast"), rename={"fast": "x"})) as told:
        assert await told.names() == ["gpt-4o", "fast"]


@pytest.mark.gen_test
async def test_where_there_is_nothing_to_tell_the_real_failure_is() -> None:
    refusal = json.dumps({"error": {"message": "no such key: sk-one-1", "code": "invalid_api_key"}}).encode()
    async with Lister(http("401 Unauthorized", refusal)) as one, Told(one.upstream("one")) as told:
        for asked in (1, 2):
            with pytest.raises(FailedAnswer) as caught:
                await told.catalogue.body()
            assert caught.value.status == 401
            assert b"no such key" in caught.value.body
            assert b"sk-one-1" not in caught.value.body
            assert len(one.asked) == asked, "it is asked each time: the owner may have mended it"
        one.answer = listing("a")
        assert await told.names() == ["a"]


@pytest.mark.gen_test
async def test_all_refuse() -> None:
    async with Told(down("one"), down("two"), aliases={"mini": "gpt"}) as told:
        with pytest.raises(Problem) as caught:
            await told.catalogue.body()
        assert (caught.value.kind, caught.value.text) == (Kind.BAD_UPSTREAM, "upstream_unreachable")


@pytest.mark.interpreted("replaces constants, which are compiled in")
@pytest.mark.gen_test
async def test_one_that_does_not_answer_is_waited_for_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        Lister(http("500 Oops", b"{}")) as mute,
        Lister(listing("a")) as one,
        Told(mute.upstream("mute"), one.upstream("one")) as told,
    ):
        assert await told.names() == ["a"]
        mute.answer = b""
        told.later = AGAIN
        monkeypatch.setattr(catalogue, "PATIENCE", 0.3)
        assert await told.names() == ["a"]
        await mute.left.wait()
        assert await told.names() == ["a"]
        assert len(mute.asked) == 2, "nor does the next one wait"


@pytest.mark.interpreted("replaces constants, which are compiled in")
@pytest.mark.gen_test
async def test_one_that_does_not_answer_is_no_empty_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "PATIENCE", 0.3)
    async with Lister() as mute, Told(mute.upstream("mute")) as told:
        with pytest.raises(Problem) as caught:
            await told.catalogue.body()
        assert caught.value.kind is Kind.UPSTREAM_TIMEOUT


NONSENSE = [
    b"",
    b"[]",
    b"null",
    b'{"data": null}',
    b'{"data": [{"id": 1}]}',
    b'{"data": [{"name": "x"}]}',
    b'{"data": [{"id": "\xff"}]}',
    b'{"data": ' + b"[" * 100_000,
]


@pytest.mark.gen_test
@pytest.mark.parametrize("answer", NONSENSE, ids=range(len(NONSENSE)))
async def test_nonsense_is_no_list(answer: bytes) -> None:
    async with Lister(http("200 OK", answer)) as one, Told(one.upstream("one")) as told:
        with pytest.raises(Problem) as caught:
            await told.catalogue.body()
        assert caught.value.kind is Kind.BAD_UPSTREAM


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "answer", [http("302 Found", b""), http("204 No", b"").replace(b"Content-Length: 0\r\n", b"")]
)
async def test_an_answer_that_is_neither_a_list_nor_a_failure(answer: bytes) -> None:
    async with Lister(answer) as one, Told(one.upstream("one")) as told:
        with pytest.raises(Problem) as caught:
            await told.catalogue.body()
        assert caught.value.kind is Kind.BAD_UPSTREAM


@pytest.mark.gen_test
async def test_a_list_of_none_is_a_list() -> None:
    async with Lister(listing()) as one, Told(one.upstream("one")) as told:
        assert await told.names() == []
        assert await told.names() == []
        assert len(one.asked) == 1


# A caller's own key.


@pytest.mark.gen_test
async def test_a_callers_own_key_asks_its_upstream_each_time() -> None:
    async with (
        Lister(listing("gpt-4o", "x")) as one,
        Lister(listing("b")) as two,
        Told(one.upstream("one", models=("gpt-*",)), two.upstream("two"), aliases={"m": "gpt-4o"}) as told,
    ):
        upstream = told.fleet.upstreams[0]
        for asked in (1, 2):
            body = json.loads(await told.catalogue.body_for(upstream, upstream.own_key("sk-own")))
            assert [each["id"] for each in body["data"]] == ["gpt-4o", "m"]
            assert len(one.asked) == asked
        assert b"Authorization: Bearer sk-own\r\n" in one.asked[0]
        assert b"sk-one" not in one.asked[0]
        assert two.asked == []
        assert await told.names() == ["gpt-4o", "b", "m"], "the owner's list is another one"
        assert len(one.asked) == 3


@pytest.mark.gen_test
async def test_an_own_key_that_is_refused() -> None:
    refusal = http("401 Unauthorized", b'{"error": {"message": "bad key sk-own"}}')
    async with Lister(refusal) as one, Told(one.upstream("one")) as told:
        upstream = told.fleet.upstreams[0]
        with pytest.raises(FailedAnswer) as caught:
            await told.catalogue.body_for(upstream, upstream.own_key("sk-own"))
        assert caught.value.status == 401
        assert b"sk-own" not in caught.value.body


# Its end.


@pytest.mark.gen_test
async def test_closed_while_it_asks_it_asks_no_more() -> None:
    async with Lister() as mute, Told(mute.upstream("mute")) as told:
        waiting = asyncio.create_task(told.catalogue.body(), name="body")
        await mute.has_been_asked.wait()
        await told.catalogue.close()
        await mute.left.wait()
        await asyncio.wait((waiting,))
        assert json.loads(waiting.result())["data"] == []
        await told.catalogue.close()


@pytest.mark.gen_test
async def test_closed_without_ever_having_been_asked() -> None:
    async with Told(down("one")):
        pass
