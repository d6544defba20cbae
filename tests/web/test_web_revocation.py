"""Keys that come, change and go while calls wait and stream: by another configuration, and by the key store."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from chatgpt_platform.accounts.keystore import KeyStore, StoredKey, StoreError
from chatgpt_platform.simulator.server import Behaviour
from support.fleet import MESSAGES, PATHS, SHAPE_NAMES, SHAPES, Outcome, ask, call, fleet, scripted, up
from support.gateway import Running, gateway, settings_of, wait_until
from support.keyed import ALICE, account, bearer, sharing, spent, virtual_key
from support.scripted import Peer
from support.ways import WAYS as ALL_WAYS

WAYS = ALL_WAYS[:1]  # what is tested is the same on all
SHAPED = pytest.mark.parametrize(("api", "stream"), SHAPES, ids=SHAPE_NAMES)
EITHER = pytest.mark.parametrize("api", PATHS)
REVOKED = "The API key has been revoked."
BOBS = "bobs-key-0123456789"


def reload(running: Running, *keys: Mapping[str, Any], **environment: str) -> None:
    """Put these keys in place of those that hold."""

    async def apply() -> None:
        settings = {**running.environment, "CHATGPT_KEYS": json.dumps(keys), **environment}
        running.service.apply(settings_of(settings), running.logs)
        running.server.rebuild()

    running.background.run(apply())


@contextmanager
def asked(running: Running, api: str, key: str = ALICE, **how: Any) -> Iterator[Future[Outcome]]:
    """A call that is under way."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(ask, running, api, headers=bearer(key), **how)


@pytest.mark.every_way
@EITHER
def test_a_stream_of_a_key_that_goes_ends_with_an_error(api: str) -> None:
    environment = sharing(virtual_key(tokens=["100000/day"]), virtual_key("bob", BOBS))
    with gateway(environment, Behaviour(tokens=4000, interval=0.005)) as running:
        with (
            asked(running, api, stream=True, max_tokens=4000) as future,
            asked(running, api, BOBS, stream=True, max_tokens=150) as other,
        ):
            wait_until(lambda: running.simulator.stats.tokens > 20)
            reload(running, virtual_key("bob", BOBS))
            outcome = future.result()
            assert other.result().good, "goes on"
        assert (outcome.status, outcome.whole, outcome.reason) == (200, False, REVOKED)
        assert "[DONE]" not in outcome.events
        wait_until(lambda: running.simulator.stats.cancelled == 1)
        wait_until(lambda: len(running.records()) == 2)
        cut = running.records()[0]
        assert (cut["key"], cut["status"]) == ("alice", 200)
        assert cut["completion_tokens"] > 5
        assert not running.held()
        assert spent(running)["tokens/day"] == cut["prompt_tokens"] + cut["completion_tokens"]


@pytest.mark.every_way
@SHAPED
def test_a_call_that_waits_for_its_answer_is_refused(api: str, stream: bool) -> None:
    with gateway(sharing(virtual_key(tokens=["9000/day"])), Behaviour(latency=60)) as running:
        with asked(running, api, stream=stream) as future:
            wait_until(lambda: running.simulator.stats.under_way == 1)
            reload(running)
            outcome = future.result()
        assert (outcome.status, outcome.failure, outcome.reason) == (401, 401, REVOKED)
        wait_until(lambda: running.simulator.stats.cancelled == 1)
        assert running.record()["status"] == 401
        wait_until(lambda: not running.held())
        assert spent(running)["tokens/day"] > 0, "the upstream may have begun"


@SHAPED
@pytest.mark.parametrize("options", [{"concurrency": 1}, {"tokens": ["9000/day"]}], ids=["place", "budget"])
def test_one_that_waits_for_others_is_refused(options: dict[str, Any], api: str, stream: bool) -> None:
    environment = sharing(virtual_key(**options, limits={"day": 9}), CHATGPT_LOAD__WAIT="20s")
    with gateway(environment, Behaviour(latency=60)) as running:
        with (
            call(running, headers=bearer(), max_tokens=8000),
            asked(running, api, stream=stream, max_tokens=8000) as future,
        ):
            wait_until(lambda: running.simulator.stats.under_way == 1)
            wait_until(lambda: len(account(running).waiting) == 1)
            reload(running)
            outcome = future.result()
        assert (outcome.status, outcome.reason) == (401, REVOKED)
        wait_until(lambda: len(running.records()) == 2)
        assert running.simulator.stats.calls == 1
        assert not running.held()


@EITHER
def test_one_whose_stream_has_begun_with_heartbeats_only(api: str) -> None:
    environment = sharing(virtual_key(), CHATGPT_SERVER__HEARTBEAT="50ms")
    with gateway(environment, Behaviour(latency=60)) as running:
        with requests.post(
            running.url + PATHS[api], json={"model": "m", "messages": MESSAGES, "prompt": "x", "stream": True},
            headers=bearer(), stream=True, timeout=20,
        ) as answer:  # fmt: skip
            pieces = answer.iter_content(None)
            assert next(pieces).startswith(b":")
            reload(running)
            got = b""
            with pytest.raises(requests.exceptions.RequestException):
                for piece in pieces:
                    got += piece
        assert REVOKED.encode() in got
        wait_until(lambda: running.simulator.stats.cancelled == 1)


def test_a_stream_that_is_cut_within_an_event() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        await peer.send(b'data: {"choices":[]}\n\ndata: {"choices":[{"delta":{"content":"' + b"x" * 3_000_000)
        await peer.gone()

    with (
        scripted(script) as server,
        fleet(up("only", url=server.url), **sharing(virtual_key())) as running,
        call(running, stream=True, headers=bearer()) as client,
    ):
        got = b""
        while len(got) < 200_000:
            piece = client.recv(65536)
            assert piece, got[-500:]
            got += piece
        reload(running)
        with suppress(ConnectionResetError):
            while piece := client.recv(65536):
                got += piece
        assert b"\r\n2\r\n\n\n\r\n" in got, "the event that was begun is ended"
        last = got[got.rindex(b"data: ") + 6 :]
        assert json.loads(last[: last.index(b"\n")])["error"]["message"] == REVOKED
        assert not got.endswith(b"0\r\n\r\n")


def test_one_whose_caller_does_not_read() -> None:
    environment = sharing(virtual_key())
    with gateway(environment, Behaviour(tokens=100_000)) as running, call(running, stream=True, headers=bearer()):
        stats = running.simulator.stats
        wait_until(lambda: stats.tokens > 0)
        seen = 0
        while stats.tokens != seen:  # until nobody takes any more
            seen = stats.tokens
            time.sleep(0.3)
        reload(running)
        wait_until(lambda: len(running.records()) == 1)
        wait_until(lambda: stats.cancelled == 1)
        assert not running.held()


@EITHER
def test_one_whose_body_has_not_come_yet(api: str) -> None:
    with gateway(sharing(virtual_key())) as running:
        body = json.dumps({"model": "m", "messages": MESSAGES, "prompt": "x"}).encode()
        head = (
            f"POST {PATHS[api]} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {ALICE}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        with socket.create_connection(("127.0.0.1", running.port), timeout=20) as client:
            client.sendall(head + body[:5])
            time.sleep(0.1)  # until it is surely read; if not, the test is only easier
            reload(running)
            client.sendall(body[5:])
            got = client.recv(65536)
        assert got.startswith(b"HTTP/1.1 401 ")
        assert running.simulator.stats.calls == 0


def test_when_all_keys_have_gone_nothing_is_left_held() -> None:
    key = virtual_key(tokens=["9000/day"], concurrency=2)
    with gateway(sharing(key), Behaviour(tokens=4000, interval=0.01)) as running:
        with asked(running, "openai", stream=True), asked(running, "platform"):
            wait_until(lambda: running.simulator.stats.under_way == 2)
            reload(running)
        wait_until(lambda: len(running.records()) == 2)
        assert not running.held()
        running.simulator.behaviour = Behaviour(tokens=2)
        reload(running, key)
        assert ask(running, "openai", headers=bearer()).good
        assert spent(running)["tokens/day"] > 3, "what was used stays used"


def test_other_limits_and_budgets_hold_at_once_and_what_was_used_stays_used() -> None:
    with gateway(sharing(virtual_key(tokens=["100/day"], limits={"day": 3})), Behaviour(tokens=90)) as running:
        assert ask(running, "openai", headers=bearer()).good
        used = spent(running)["tokens/day"]
        assert ask(running, "openai", headers=bearer(), max_tokens=50).status == 429
        reload(running, virtual_key(tokens=["1000/day", "5k/total"], limits={"day": 9}))
        assert spent(running) == {"tokens/day": used, "tokens/total": 0}
        assert '"key-day";r=7' in ask(running, "openai", headers=bearer()).headers["ratelimit"]
        assert spent(running) == {"tokens/day": 2 * used, "tokens/total": used}
        reload(running, virtual_key(limits={"day": 1}, addresses=["192.0.2.1"]))
        assert ask(running, "openai", headers=bearer()).status == 403
        reload(running, virtual_key(limits={"day": 1}))
        assert ask(running, "openai", headers=bearer()).status == 429
        reload(running, virtual_key("alice", BOBS))
        assert ask(running, "openai", headers=bearer(BOBS)).good, "another key of the same holder"


@pytest.mark.parametrize("options", [{"concurrency": 1}, {"tokens": ["10000/day"]}], ids=["place", "budget"])
def test_where_there_is_more_those_who_wait_go_on(options: dict[str, Any]) -> None:
    environment = sharing(virtual_key(**options), CHATGPT_LOAD__WAIT="20s")
    with (
        gateway(environment, Behaviour(latency=60)) as running,
        call(running, headers=bearer(), max_tokens=8000),
    ):
        wait_until(lambda: running.simulator.stats.under_way == 1)
        running.simulator.behaviour = Behaviour(tokens=1)
        with asked(running, "openai", max_tokens=8000) as future:
            wait_until(lambda: len(account(running).waiting) == 1)
            reload(
                running, virtual_key(**{"concurrency": 2} if "concurrency" in options else {"tokens": ["90k/day"]})
            )
            assert future.result().good


# The key store, in which another process writes.


@EITHER
def test_a_key_of_the_store_from_its_beginning_to_its_end(api: str, tmp_path: Path) -> None:
    with (
        closing(KeyStore(tmp_path)) as store,
        gateway(sharing(directory=tmp_path), Behaviour(tokens=3)) as running,
    ):
        carol = store.create("carol", "{}", time.time())

        def status(**how: Any) -> int:
            return ask(running, api, headers=bearer(carol), **how).status

        wait_until(lambda: status() == 200, pause=0.05)
        store.edit("carol", lambda _: '{"models": ["gpt-4o"], "tokens": ["50000/day"]}')
        wait_until(lambda: status(model="gpt-4o-mini") == 403, pause=0.05)
        assert status(model="gpt-4o") == 200
        running.simulator.behaviour = Behaviour(tokens=4000, interval=0.005)
        with asked(running, api, carol, stream=True, model="gpt-4o") as future:
            before = running.simulator.stats.tokens
            wait_until(lambda: running.simulator.stats.tokens > before + 10)
            store.revoke("carol", time.time())
            revoked = time.monotonic()
            outcome = future.result()
            assert time.monotonic() - revoked < 10, "a second, on a machine that has time"
        assert (outcome.whole, outcome.reason) == (False, REVOKED)
        assert status(model="gpt-4o") == 401
        assert 0 < spent(running, "carol")["tokens/day"] < 4000


@pytest.mark.interpreted("replaces a function of ours")
def test_a_change_that_cannot_be_read_at_first_is_read_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(KeyStore(tmp_path)) as store:
        carol = store.create("carol", "{}", time.time())
        with gateway(sharing(directory=tmp_path)) as running:
            running.expected = ["the keys that are known stay in force: "]
            assert ask(running, "openai", headers=bearer(carol)).good
            faults = [StoreError("the disk is slow"), RuntimeError("a fault of ours")]

            def read(store: KeyStore) -> list[StoredKey]:
                if faults:
                    raise faults.pop()
                return all_(store)

            all_ = KeyStore.all
            monkeypatch.setattr(KeyStore, "all", read)
            store.revoke("carol", time.time())
            wait_until(lambda: ask(running, "openai", headers=bearer(carol)).status == 401, pause=0.05)
            assert not faults
            assert running.output().count("stay in force: a fault of ours") == 1, "of one trouble one line"


def test_a_key_that_is_rotated(tmp_path: Path) -> None:
    with closing(KeyStore(tmp_path)) as store:
        first = store.create("carol", "{}", time.time())
        with gateway(sharing(directory=tmp_path), Behaviour(tokens=150, interval=0.01)) as running:

            def status(key: str) -> int:
                return ask(running, "openai", headers=bearer(key), max_tokens=1).status

            assert status(first) == 200
            second = store.rotate("carol", 60, time.time())
            wait_until(lambda: status(second) == 200, pause=0.05)
            assert status(first) == 200, "for as long as they overlap"
            with (
                asked(running, "openai", first, stream=True) as former,
                asked(running, "openai", second, stream=True) as latter,
            ):
                wait_until(lambda: running.simulator.stats.under_way == 2)
                third = store.rotate("carol", 60, time.time())
                assert former.result().reason == REVOKED, "only the one before overlaps"
                assert latter.result().good
            assert [status(first), status(second), status(third)] == [401, 200, 200]
            fourth = store.rotate("carol", 0.0, time.time())
            wait_until(lambda: status(third) == 401, pause=0.05)
            assert [status(second), status(fourth)] == [401, 200]
            fifth = store.rotate("carol", 0.5, time.time())
            wait_until(lambda: status(fifth) == 200, pause=0.05)
            wait_until(lambda: status(fourth) == 401, pause=0.05)
            assert len(running.service.accounts.ring.accounts) == 1


def test_the_settings_come_first(tmp_path: Path) -> None:
    with closing(KeyStore(tmp_path)) as store:
        stored = store.create("alice", "{}", time.time())
    with gateway(sharing(virtual_key(), directory=tmp_path)) as running:
        running.expected = ["the key alice of the key store does not count"]
        assert ask(running, "openai", headers=bearer()).good
        assert ask(running, "openai", headers=bearer(stored)).status == 401
        assert running.output().count("does not count") == 1
        reload(running)
        assert ask(running, "openai", headers=bearer(stored)).good


def test_a_key_works_from_the_moment_it_is_made(tmp_path: Path) -> None:
    with closing(KeyStore(tmp_path)) as store, gateway(sharing(directory=tmp_path)) as running:
        for name in ("first", "second"):
            outcome = ask(running, "openai", headers=bearer(store.create(name, "{}", time.time())))
            assert outcome.good
            assert account(running, name).key is not None
