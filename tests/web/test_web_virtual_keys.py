"""Virtual keys: wherever one stands, the owner's key pays; what does not count is refused, and nobody sees it."""

from __future__ import annotations

import json
import time
from collections import Counter
from hashlib import sha256
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import requests

from chatgpt_platform.accounts import tokens
from chatgpt_platform.accounts.keystore import KeyStore
from chatgpt_platform.simulator.models import MODELS
from support.fleet import MESSAGES, PATHS, SHAPE_NAMES, SHAPES, ask, calls, fleet, up
from support.gateway import KEY, Running, gateway, wait_until
from support.inside import inside
from support.keyed import ALICE, bearer, sharing, virtual_key
from support.ways import WAYS as ALL_WAYS

WAYS = ALL_WAYS[:1]  # what is tested is the same on all, but for where the key is found
SHAPED = pytest.mark.parametrize(("api", "stream"), SHAPES, ids=SHAPE_NAMES)
EITHER = pytest.mark.parametrize("api", PATHS)
MODES = pytest.mark.parametrize("caller_keys", ["auto", "true", "false"])
CHAT = {"model": "gpt-4o-mini", "messages": MESSAGES}

PLACES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "openai-bearer": ("POST", "/v1/chat/completions", {"json": CHAT, "headers": bearer()}),
    "platform-bearer": ("POST", "/chatgpt", {"json": {"prompt": "x"}, "headers": bearer()}),
    "lower": ("POST", "/chatgpt", {"json": {"prompt": "x"}, "headers": {"Authorization": f"bearer  {ALICE}"}}),
    "header": ("POST", "/chatgpt", {"json": {"prompt": "x"}, "headers": {"ApiKey": ALICE}}),
    "json": ("POST", "/chatgpt", {"json": {"prompt": "x", "api_key": ALICE}}),
    "form": ("POST", "/chatgpt", {"data": {"prompt": "x", "api_key": ALICE}}),
    "multipart": ("POST", "/chatgpt", {"files": {"prompt": (None, "x"), "api_key": (None, ALICE)}}),
    "query": ("GET", "/chatgpt", {"params": {"prompt": "x", "api_key": ALICE}}),
    "member-before-bearer": (
        "POST", "/chatgpt", {"json": {"prompt": "x", "api_key": ALICE}, "headers": bearer("sk-placeholder")},
    ),
}  # fmt: skip


def request(running: Running, place: str) -> requests.Response:
    method, path, how = PLACES[place]
    return requests.request(method, running.url + path, timeout=20, **how)


@pytest.mark.every_way
@MODES
def test_the_owner_pays_wherever_a_key_stands(caller_keys: str) -> None:
    with gateway(sharing(virtual_key(), CHATGPT_ACCESS__CALLER_KEYS=caller_keys)) as running:
        assert {place: request(running, place).status_code for place in PLACES} == dict.fromkeys(PLACES, 200)
        assert {each.key for each in running.simulator.seen} == {KEY}
        assert len(running.simulator.seen) == len(PLACES)
        for each in running.simulator.seen:
            assert ALICE not in str(dict(each.headers)) + each.body.decode()
        wait_until(lambda: len(running.records()) == len(PLACES))
        assert {record["key"] for record in running.records()} == {"alice"}
        assert {record["status"] for record in running.records()} == {200}


@SHAPED
@MODES
def test_an_upstream_without_a_key_of_the_owner_is_none_for_holders(
    api: str, stream: bool, caller_keys: str
) -> None:
    environment = sharing(virtual_key(), CHATGPT_ACCESS__CALLER_KEYS=caller_keys)
    with fleet(up("bare", api_keys=[]), **environment) as running:
        outcome = ask(running, api, stream=stream, headers=bearer())
        assert (outcome.status, calls(running)) == (401 if api == "openai" else 400, {"bare": 0})
        assert running.record()["key"] == "alice"
    with fleet(up("bare", api_keys=[]), up("paid", priority=1), **environment) as running:
        assert ask(running, api, stream=stream, headers=bearer()).good
        assert calls(running) == {"bare": 0, "paid": 1}


@MODES
@pytest.mark.parametrize("configured", [True, False])
def test_what_looks_like_a_virtual_key_and_is_none_goes_nowhere(configured: bool, caller_keys: str) -> None:
    valid = tokens.make()
    for bad in (valid, valid[:-1] + ("a" if valid[-1] != "a" else "b"), "cgp_", "cgp_x", valid + "x", valid[:-1]):
        environment = sharing(virtual_key(), CHATGPT_ACCESS__CALLER_KEYS=caller_keys)
        with fleet(up("only", api_keys=["k1"] if configured else []), **environment) as running:
            refused = [
                ask(running, "openai", headers=bearer(bad)),
                ask(running, "platform", headers=bearer(bad)),
                ask(running, "platform", headers={"ApiKey": bad}),
                ask(running, "platform", api_key=bad),
                ask(running, "platform", api_key=bad, headers=bearer()),
            ]
            assert [each.status for each in refused] == [401] * 5
            assert {each.reason for each in refused} == {"The API key was refused."}
            assert all(bad not in each.body for each in refused if len(bad) > 8)
            assert requests.get(running.url + "/v1/models", headers=bearer(bad)).status_code == 401
            assert calls(running) == {"only": 0}
            if len(bad) > 8:
                assert bad not in running.output()


@SHAPED
def test_one_that_does_not_count_says_why(api: str, stream: bool) -> None:
    keys = (
        virtual_key("old", "old-key-0123456789", expires="2020-01-31"),
        virtual_key("late", "late-key-0123456789", expires="2020-01-31T12:00:00"),
        virtual_key("far", "far-key-0123456789", addresses=["192.0.2.0/24", "2001:db8::/32"]),
        virtual_key("here", "here-key-0123456789", addresses=["127.0.0.0/8"], expires="2999-12-31"),
    )
    with gateway(sharing(*keys, CHATGPT_SERVER__TRUSTED_PROXIES="127.0.0.1")) as running:
        found = {each["name"]: ask(running, api, stream=stream, headers=bearer(str(each["key"]))) for each in keys}
        assert {name: outcome.status for name, outcome in found.items()} == {
            "old": 401, "late": 401, "far": 403, "here": 200,
        }  # fmt: skip
        assert found["old"].reason == found["late"].reason == "The API key has expired."
        assert found["far"].reason == "This API key is not valid from your address."
        for address in ("192.0.2.7", "2001:db8::7"):
            headers = {**bearer("far-key-0123456789"), "X-Forwarded-For": address}
            assert ask(running, api, stream=stream, headers=headers).status == 200
        assert ask(running, api, headers={**bearer("far-key-0123456789"), "X-Forwarded-For": "::7"}).status == 403
        wait_until(lambda: len(running.records()) == 7)
        assert running.records()[0]["key"] == "old", "whose it was is known"


@SHAPED
def test_a_model_that_it_is_not_for(api: str, stream: bool) -> None:
    environment = sharing(
        virtual_key(models=["gpt-4o-mini", "o?-*", "smart"]),
        CHATGPT_MODELS__ALIASES=json.dumps({"smart": "gpt-4o", "cheap": "gpt-4o-mini", "dear": "gpt-4o"}),
    )
    with gateway(environment) as running:

        def status(model: str) -> int:
            outcome = ask(running, api, stream=stream, model=model, headers=bearer())
            if outcome.status == 403:
                assert model in outcome.reason
            return outcome.status

        wanted = {"gpt-4o-mini": 200, "o3-mini": 200, "smart": 200, "cheap": 200, "gpt-4o": 403, "dear": 403}
        assert {model: status(model) for model in wanted} == wanted
        if api == "platform":
            assert status("text-davinci-003") == 200, "the default, by another name"
        assert ask(running, api, stream=stream, model="gpt-4o").status == 200, "of others"
        forbidden = ask(running, "openai", model="gpt-4o", headers=bearer()).last["error"]
        assert (forbidden["type"], forbidden["code"], forbidden["param"]) == (
            "permission_error", "forbidden", "model",
        )  # fmt: skip


def test_the_list_of_models_is_that_of_its_own() -> None:
    environment = sharing(
        virtual_key(models=["gpt-4o*", "smart"]), virtual_key("bob", "bobs-key-0123456789"),
        CHATGPT_MODELS__ALIASES=json.dumps({"smart": "gpt-3.5-turbo", "cheap": "gpt-4o-mini"}),
    )  # fmt: skip
    with gateway(environment) as running:

        def listed(headers: dict[str, str]) -> set[str]:
            answer = requests.get(running.url + "/v1/models", headers=headers)
            assert answer.status_code == 200
            return {model["id"] for model in answer.json()["data"]}

        assert listed(bearer()) == {"gpt-4o", "gpt-4o-mini", "smart", "cheap"}
        assert listed(bearer("bobs-key-0123456789")) == listed({}) == {*MODELS, "smart", "cheap"}

        def one(name: str) -> int:
            return requests.get(f"{running.url}/v1/models/{name}", headers=bearer()).status_code

        assert [one("gpt-4o"), one("smart"), one("gpt-3.5-turbo")] == [200, 200, 403]
        wait_until(lambda: len(running.records()) == 6)
        assert [record.get("key") for record in running.records()].count("alice") == 4


@pytest.mark.every_way
@MODES
def test_where_one_is_required(caller_keys: str) -> None:
    environment = sharing(
        virtual_key(), CHATGPT_ACCESS__REQUIRE_KEY="true", CHATGPT_ACCESS__CALLER_KEYS=caller_keys
    )
    with gateway(environment) as running:
        for headers in ({}, bearer("sk-of-the-caller"), {"Authorization": f"Basic {ALICE}"}):
            openai = ask(running, "openai", headers=headers)
            assert (openai.status, openai.last["error"]["code"]) == (401, "invalid_api_key")
            assert requests.get(running.url + "/v1/models", headers=headers).status_code == 401
            assert requests.get(running.url + "/v1/models/gpt-4o", headers=headers).status_code == 401
            assert ask(running, "platform", headers=headers).status == 400
        assert ask(running, "platform", headers={"ApiKey": "sk-of-the-caller"}).status == 400
        assert ask(running, "platform", api_key="sk-of-the-caller").status == 400
        assert running.simulator.stats.calls == 0
        assert requests.get(running.url + "/healthz").status_code == 200
        assert requests.get(running.url + "/readyz").status_code == 200
        assert ask(running, "openai", headers=bearer()).good
        assert ask(running, "platform", api_key=ALICE).good
        assert requests.get(running.url + "/v1/models", headers=bearer()).status_code == 200


def test_who_knows_the_hash_does_not_have_the_key() -> None:
    digest = f"sha256:{sha256(ALICE.encode()).hexdigest()}"
    with gateway(sharing(virtual_key(key=digest), CHATGPT_ACCESS__REQUIRE_KEY="true")) as running:
        assert ask(running, "openai", headers=bearer()).good
        for text in (digest, digest.removeprefix("sha256:"), digest.upper()):
            assert ask(running, "openai", headers=bearer(text)).status == 401
            assert ask(running, "platform", api_key=text).status == 400


def test_a_key_of_ones_own_beside_a_virtual_one_is_not_used() -> None:
    with gateway(sharing(virtual_key(), CHATGPT_ACCESS__CALLER_KEYS="true")) as running:
        assert ask(running, "platform", api_key="sk-own-key-of-the-caller", headers=bearer()).good
        assert ask(running, "platform", headers={"ApiKey": "sk-own-key-of-the-caller"}).good
        assert [each.key for each in running.simulator.seen] == [KEY, "sk-own-key-of-the-caller"]


@pytest.mark.parametrize("required", ["true", "false"])
def test_anything_as_a_key_is_an_answer(required: str) -> None:
    odd = [
        "пароль", "钥匙", "cgp_пароль", "cgp_" + "9" * 46, "' OR 1=1; --", "cgp_' OR '1'='1", "a\x00b", "\ud800",
        "x" * 1_000_000, "cgp_" + "x" * 1_000_000, " ", "", "\u2028", "sha256:" + "0" * 64, "cgp_\ud800",
    ]  # fmt: skip
    environment = sharing(virtual_key(), CHATGPT_ACCESS__REQUIRE_KEY=required, CHATGPT_ACCESS__CALLER_KEYS="true")
    with gateway(environment) as running:
        for key in odd:
            answer = requests.post(
                running.url + "/chatgpt", data=json.dumps({"prompt": "x", "api_key": key}),
                headers={"Content-Type": "application/json"}, timeout=20,
            )  # fmt: skip
            wanted = {401} if key.startswith("cgp_") else {200, 401} if required == "false" else {400, 401}
            if "\ud800" in key:
                wanted = {400}  # no JSON
            assert answer.status_code in wanted, ascii(key[:40])
        for raw in (b"\xff\xfe\x80", "пароль".encode(), b"cgp_\xc3\xa9", b"' OR 1=1 --", b"x" * 100_000):
            for name in ("Authorization", "ApiKey"):
                connection = HTTPConnection("127.0.0.1", running.port, timeout=20)
                value = b"Bearer " + raw if name == "Authorization" else raw
                connection.request("GET", "/chatgpt?prompt=x", headers={name: value})
                assert connection.getresponse().status in (200, 400, 401, 431)
                connection.close()
        assert "fault" not in running.output()


def test_a_key_is_nowhere_but_with_its_holder(tmp_path: Path) -> None:
    state = tmp_path / "state"
    store = KeyStore(state)
    stored = store.create("bob", "{}", time.time())
    store.close()
    environment = sharing(
        virtual_key(prompts=True), directory=state, CHATGPT_ACCESS__REQUIRE_KEY="true", DAY_LIMIT="100"
    )
    secrets = (ALICE, stored, sha256(ALICE.encode()).hexdigest(), stored[4:30])
    with gateway(environment) as running:
        for key in (ALICE, stored):
            for path in PATHS.values():
                body = {**CHAT, "prompt": "x", "model": 7}
                answer = requests.post(running.url + path, json=body, headers=bearer(key))
                assert answer.status_code == 400
                assert not any(secret in answer.text + str(answer.headers) for secret in secrets)
            assert all(ask(running, api, stream=stream, headers=bearer(key)).good for api, stream in SHAPES)
            # Where it does not belong, as callers err.
            assert ask(running, "platform", prompt=f"My key is {key}.", headers=bearer(ALICE)).good
            assert ask(running, "openai", model=stored, headers=bearer(key)).good
        running.flush()
        wait_until(lambda: len(running.records()) == 16)
        accounts = running.service.accounts
        told = running.output() + repr(running.service.settings) + inside(accounts) + inside(accounts.ring)
        assert Counter(record["key"] for record in running.records()) == {"alice": 9, "bob": 7}
    files = {path.name: path.read_bytes() for path in state.rglob("*") if path.is_file()}
    assert {"ledger.db", "keys.db", "keys.secret"} <= set(files)
    for secret in secrets[:2]:
        assert secret not in told
    for secret in secrets:
        assert [name for name, data in files.items() if secret.encode() in data] == []
