"""GET /api/usage, /admin/usage and /admin/keys: who may read what, and that it is what was used."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from chatgpt_platform.accounts.keystore import KeyStore
from chatgpt_platform.ledger import reports as ledger_reports
from chatgpt_platform.web import inquiries
from chatgpt_platform.web.reports import REFUSALS_A_MINUTE
from support.gateway import Running, gateway, settings_of, wait_until
from support.recorded import row, write
from support.ways import WAYS as ALL_WAYS

WAYS = [ALL_WAYS[0], ALL_WAYS[-1]]
"""What comes with the head is the handlers' on all of them."""

TOKEN = "the-owner-of-the-tests"
ANNA, BERT = "anna-key-of-the-tests", "bert-key-of-the-tests"
KEYS = json.dumps([
    {"name": "anna", "key": ANNA, "budget": ["5.00/month"], "tokens": ["100k/day"], "limits": {"minute": 60}},
    {"name": "bert", "key": "sha256:" + hashlib.sha256(BERT.encode()).hexdigest(), "expires": "2199-12-31"},
])  # fmt: skip
OWNED = {"CHATGPT_ADMIN__TOKEN": TOKEN, "CHATGPT_KEYS": KEYS, "CHATGPT_BUDGETS__TIME_ZONE": "UTC"}


@contextmanager
def kept(tmp_path: Path, **more: str) -> Iterator[Running]:
    """A gateway with a ledger, an owner and two keys."""
    with gateway({**OWNED, "CHATGPT_STATE__DIRECTORY": str(tmp_path / "state"), **more}) as running:
        yield running


def get(
    running: Running, path: str, token: str | None = None, headers: Mapping[str, str] | None = None, **query: str
) -> requests.Response:
    given = {**(headers or {}), **({"Authorization": f"Bearer {token}"} if token is not None else {})}
    return requests.get(running.url + path, params=query, headers=given, timeout=20)


def ask(running: Running, key: str | None = None) -> dict[str, Any]:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "one two three"}]}
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    answer = requests.post(running.url + "/v1/chat/completions", json=body, headers=headers, timeout=20)
    assert answer.status_code == 200, answer.text
    usage: dict[str, Any] = answer.json()["usage"]
    return usage


def recorded(running: Running) -> None:
    """Wait until the ledger has all calls so far."""

    async def settle() -> None:
        running.service.flush()
        ledger = running.service.accounts.ledger
        assert ledger is not None
        assert ledger.settle(20)

    running.background.run(settle())


def failure(answer: requests.Response, status: int) -> dict[str, Any]:
    """The error of an answer that must be one, in OpenAI's shape."""
    assert answer.status_code == status, answer.text
    assert answer.headers["cache-control"] == "no-store"
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def test_the_owner_is_told_all_and_a_holder_its_own(tmp_path: Path) -> None:
    with kept(tmp_path) as running:
        used = [ask(running, ANNA), ask(running, ANNA)]
        ask(running, BERT)
        ask(running)
        recorded(running)
        answer = get(running, "/admin/usage", TOKEN)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        assert answer.headers["content-type"].startswith("application/json")
        report = answer.json()
        rows = {line["key"]: line for line in report["rows"]}
        assert {name: line["calls"] for name, line in rows.items()} == {"anna": 2, "bert": 1, "": 1}
        assert rows["anna"]["completion_tokens"] == sum(each["completion_tokens"] for each in used)
        assert report["total"]["calls"] == 4
        for headers in ({"Authorization": f"Bearer {ANNA}"}, {"ApiKey": ANNA}):
            own = get(running, "/api/usage", headers=headers).json()
            assert own["filters"] == {"key": "anna"}
            assert (own["by"], own["total"]) == ("day", {k: v for k, v in rows["anna"].items() if k != "key"})
        models = get(running, "/api/usage", BERT, by="model", since="1h").json()
        assert [(line["model"], line["calls"]) for line in models["rows"]] == [("gpt-4o-mini", 1)]
        assert running.keys_shown() == []
        assert not any(secret in running.output() for secret in (TOKEN, ANNA, BERT))


def test_reports_are_no_calls_of_their_own(tmp_path: Path) -> None:
    with kept(tmp_path, DAY_LIMIT="1") as running:
        for _ in range(3):
            assert get(running, "/admin/usage", TOKEN).status_code == 200
            assert get(running, "/api/usage", ANNA).status_code == 200
        recorded(running)
        assert get(running, "/admin/usage", TOKEN).json()["total"]["calls"] == 0
        ask(running)


def test_only_what_was_used_can_lack_a_price(tmp_path: Path) -> None:
    with kept(tmp_path) as running:
        url = running.url + "/v1/chat/completions"
        assert requests.post(url, data=b"{", timeout=20).status_code == 400
        messages = [{"role": "user", "content": "hi"}]
        assert requests.post(url, json={"model": "nobody-prices-it", "messages": messages}, timeout=20).ok
        recorded(running)
        total = get(running, "/admin/usage", TOKEN).json()["total"]
        assert (total["calls"], total["denied"], total["unpriced_calls"]) == (2, 1, 1)


def test_filters_and_csv(tmp_path: Path) -> None:
    now = time.time()
    write(tmp_path / "state", [
        row(time=now, model="=a", client="192.0.2.1"), row(time=now, model="b", client="2001:db8::1"),
        row(time=now, key="bert", model="b", upstream=""), row(time=now - 50 * 86400, key="old"),
    ])  # fmt: skip
    with kept(tmp_path) as running:
        answer = get(running, "/admin/usage", TOKEN, by="model", key="anna", format="csv")
        assert answer.headers["content-type"].startswith("text/csv")
        assert answer.headers["cache-control"] == "no-store"
        lines = list(csv.DictReader(io.StringIO(answer.content.decode(), newline="")))
        assert [(line["model"], line["calls"]) for line in lines] == [("'=a", "1"), ("b", "1")]
        for query, names in (
            ({"client": "2001:DB8:0::1"}, ["anna"]), ({"upstream": ""}, ["bert"]),
            ({"model": "b"}, ["anna", "bert"]),
            ({"since": "60d", "until": "40d"}, ["old"]), ({"key": "nobody"}, []),
            ({"since": "40d", "until": "60d"}, []), ({"since": "2199-01-01"}, []),
        ):  # fmt: skip
            report = get(running, "/admin/usage", TOKEN, None, **query).json()
            assert [line["key"] for line in report["rows"]] == names, query


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"since": "yesterday"}, "since"), ({"until": "30"}, "until"), ({"by": "colour"}, "by"),
        ({"format": "table"}, "format"), ({"key": "x" * 513}, "key"), ({"sicne": "7d"}, "sicne"),
        ({"since": ["1d", "2d"]}, "since"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_named(tmp_path: Path, query: dict[str, Any], param: str) -> None:
    with kept(tmp_path) as running:
        assert failure(get(running, "/admin/usage", TOKEN, **query), 400)["param"] == param


def test_a_holder_cannot_ask_for_others(tmp_path: Path) -> None:
    with kept(tmp_path) as running:
        for query in ({"key": "bert"}, {"by": "key"}, {"client": "127.0.0.1"}, {"format": "csv"}):
            assert failure(get(running, "/api/usage", ANNA, None, **query), 400)["param"] in query


def test_who_is_refused(tmp_path: Path) -> None:
    with kept(tmp_path) as running:
        for path, wrong in (("/admin/usage", ANNA), ("/admin/keys", "x"), ("/api/usage", TOKEN)):
            answer = get(running, path)
            assert failure(answer, 401)["code"] == "invalid_api_key"
            assert answer.headers["www-authenticate"] == "Bearer"
            assert failure(get(running, path, wrong), 401)
        for odd in (
            "",
            "Basic x",
            "Bearer",
            "Bearer \xff\xfe",
            "Bearer " + "x" * 9000,
            f"Bearer {TOKEN}, Bearer {TOKEN}",
        ):
            answer = requests.get(
                running.url + "/api/usage", headers={"Authorization": odd.encode("latin-1")}, timeout=20
            )
            assert answer.status_code in (401, 429), odd


def test_refusals_count(tmp_path: Path) -> None:
    """However many calls an address may make: only so many guesses."""
    with kept(tmp_path) as running:
        for _ in range(REFUSALS_A_MINUTE):
            failure(get(running, "/admin/usage", "guess"), 401)
        answer = get(running, "/admin/usage", TOKEN)
        assert failure(answer, 429)["code"] == "rate_limit_exceeded"
        assert 0 < int(answer.headers["retry-after"]) <= 60
        ask(running)
    with kept(tmp_path, DAY_LIMIT="2") as running:
        failure(get(running, "/api/usage", "guess"), 401)
        failure(get(running, "/admin/keys", "guess"), 401)
        failure(get(running, "/admin/keys", "guess"), 429)
        assert get(running, "/admin/keys", TOKEN).status_code == 200, "the owner's own calls take nothing"


def test_addresses(tmp_path: Path) -> None:
    trusted = {"CHATGPT_SERVER__TRUSTED_PROXIES": "127.0.0.1"}
    with kept(tmp_path, CHATGPT_ADMIN__ALLOW="192.0.2.0/24", **trusted) as running:
        failure(get(running, "/admin/usage", TOKEN), 403)
        for forwarded, status in (("192.0.2.9", 200), ("198.51.100.1", 403), ("junk", 403)):
            answer = get(running, "/admin/usage", TOKEN, {"X-Forwarded-For": forwarded})
            assert answer.status_code == status, forwarded
        assert get(running, "/api/usage", ANNA).status_code == 200
    with kept(tmp_path, CHATGPT_ACCESS__DENY="127.0.0.1") as running:
        failure(get(running, "/api/usage", ANNA), 403)
        assert get(running, "/admin/usage", TOKEN).status_code == 200, "it has a list of its own"
    with kept(tmp_path, CHATGPT_ADMIN__ALLOW="[]") as running:
        failure(get(running, "/admin/usage", TOKEN), 403)


def test_without_a_token_there_is_no_admin(tmp_path: Path) -> None:
    with kept(tmp_path, CHATGPT_ADMIN__TOKEN="") as running:
        nowhere = requests.get(running.url + "/nowhere", timeout=20)
        for path in ("/admin/usage", "/admin/keys", "/admin/openapi.json"):
            answer = get(running, path, TOKEN)
            assert answer.status_code == 404
            assert answer.text == nowhere.text.replace("/nowhere", path)
        assert get(running, "/api/usage", ANNA).status_code == 200


def test_a_token_that_is_given_by_its_digest(tmp_path: Path) -> None:
    digest = "sha256:" + hashlib.sha256(TOKEN.encode()).hexdigest()
    with kept(tmp_path, CHATGPT_ADMIN__TOKEN=digest) as running:
        assert get(running, "/admin/usage", TOKEN).status_code == 200
        failure(get(running, "/admin/usage", digest), 401)


def test_without_a_state_directory_there_is_no_report() -> None:
    with gateway(OWNED) as running:
        for path, token in (("/admin/usage", TOKEN), ("/api/usage", ANNA)):
            assert "state.directory" in failure(get(running, path, token), 404)["message"]
        assert len(get(running, "/admin/keys", TOKEN).json()["data"]) == 2


def test_methods(tmp_path: Path) -> None:
    with kept(tmp_path) as running:
        for path in ("/api/usage", "/admin/usage"):
            head = requests.head(
                running.url + path, headers={"Authorization": f"Bearer {TOKEN}", "ApiKey": ANNA}, timeout=20
            )
            assert (head.status_code, head.content) == (200, b"")
            for method in ("POST", "DELETE", "OPTIONS", "FOO"):
                refused = requests.request(method, running.url + path, data=b"x" * 1000, timeout=20)
                failure(refused, 405)
                assert refused.headers["allow"] == "GET, HEAD"
        recorded(running)
        assert get(running, "/admin/usage", TOKEN).json()["total"]["calls"] == 0


def test_pages_of_other_origins(tmp_path: Path) -> None:
    asked = {"Origin": "https://example.org", "Access-Control-Request-Method": "GET"}
    with kept(tmp_path, CHATGPT_SERVER__CORS="https://example.org") as running:
        for path, status in (("/api/usage", 204), ("/admin/usage", 405)):
            assert requests.options(running.url + path, headers=asked, timeout=20).status_code == status


def test_keys_are_told_without_the_keys(tmp_path: Path) -> None:
    with kept(tmp_path) as running:
        with closing(KeyStore(tmp_path / "state")) as store:
            text = store.create("carl", json.dumps({"models": ["gpt-*"], "concurrency": 2}), 1_790_000_000.0)
            store.create("dora", "{}", 1_790_000_001.0)
            store.revoke("dora", 1_790_000_002.0)
        ask(running, ANNA)
        wait_until(lambda: len(get(running, "/admin/keys", TOKEN).json()["data"]) == 4)
        answer = get(running, "/admin/keys", TOKEN)
        anna, bert, carl, dora = answer.json()["data"]
        assert (anna["name"], anna["source"], anna["created"], anna["expires"]) == ("anna", "file", None, None)
        assert (anna["budget"], anna["tokens"], anna["limits"]["minute"]) == (["5.00/month"], ["100k/day"], 60)
        tokens, budget = anna["allowances"]
        assert (tokens["unit"], budget["unit"]) == ("tokens", "dollars")
        assert int(tokens["spent"]) + int(tokens["left"]) == 100_000
        assert int(tokens["spent"]) > 0
        assert budget["allowance"] == "5.00/month"
        assert budget["resets"].endswith("-01T00:00:00+00:00")
        assert bert["expires"] == "2200-01-01T00:00:00+00:00"
        assert (carl["source"], carl["models"], carl["concurrency"]) == ("store", ["gpt-*"], 2)
        assert carl["created"] == "2026-09-21T14:13:20+00:00"
        assert carl["hint"]
        assert (carl["revoked"], dora["revoked"]) == (None, "2026-09-21T14:13:22+00:00")
        assert not any(
            secret in answer.text
            for secret in (text, ANNA, BERT, TOKEN, hashlib.sha256(BERT.encode()).hexdigest())
        )


def test_a_draining_gateway_tells_nothing(tmp_path: Path) -> None:
    with kept(tmp_path) as running:
        running.service.draining = True
        for path in ("/api/usage", "/admin/usage"):
            failure(get(running, path, TOKEN), 503)
        running.service.draining = False


def test_a_reload_changes_the_owner(tmp_path: Path) -> None:
    with kept(tmp_path) as running:

        async def apply() -> None:
            given = {**running.environment, "CHATGPT_ADMIN__TOKEN": "another-owner-of-the-tests"}
            running.service.apply(settings_of(given), running.logs)
            running.server.rebuild()

        running.background.run(apply())
        failure(get(running, "/admin/usage", TOKEN), 401)
        assert get(running, "/admin/usage", "another-owner-of-the-tests").status_code == 200


def test_a_ledger_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with kept(tmp_path) as running:
        running.expected = ["no report: disk I/O error"]
        monkeypatch.setattr(ledger_reports, "figures", broken)
        answer = get(running, "/admin/usage", TOKEN)
        assert "disk" not in failure(answer, 503)["message"]
        ask(running)


@pytest.mark.skipif("sys.platform == 'win32'", reason="an open file cannot be moved there")
def test_a_ledger_that_is_gone(tmp_path: Path) -> None:
    with kept(tmp_path) as running:
        running.expected = ["ledger.db"]
        (tmp_path / "state" / "ledger.db").rename(tmp_path / "elsewhere")
        failure(get(running, "/admin/usage", TOKEN), 503)
        assert "holds no ledger.db" in running.output()
        ask(running)


SLOW = "WITH RECURSIVE many (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many) SELECT count(*) FROM many"


class Slow:
    """Stands in for a report that would never end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Semaphore(0)
        self.ended = threading.Semaphore(0)
        monkeypatch.setattr(ledger_reports, "figures", self)

    def __call__(self, connection: sqlite3.Connection, *_: object) -> None:
        self.begun.release()
        try:
            connection.execute(SLOW).fetchone()
        finally:
            self.ended.release()


def send(running: Running) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", running.port), timeout=20)
    client.sendall(b"GET /admin/usage HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n\r\n" % TOKEN.encode())
    return client


def test_a_report_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inquiries, "LONGEST", 0.05)
    slow = Slow(monkeypatch)
    with kept(tmp_path) as running:
        assert "too long" in failure(get(running, "/admin/usage", TOKEN), 503)["message"]
        assert slow.ended.acquire(timeout=20)


def test_two_reports_at_a_time_and_calls_beside_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)
    with kept(tmp_path) as running:
        clients = [send(running) for _ in range(inquiries.AT_A_TIME + inquiries.MOST_WAITING)]
        for _ in range(inquiries.AT_A_TIME):
            assert slow.begun.acquire(timeout=20)
        wait_until(lambda: running.service._inquiries.begun == len(clients))
        assert not slow.begun.acquire(blocking=False)
        assert failure(get(running, "/admin/usage", TOKEN), 503)
        ask(running, ANNA)
        for client in clients:
            client.close()
        wait_until(lambda: running.service._inquiries.begun == 0)
        assert slow.ended.acquire(timeout=20)


def test_a_report_under_way_does_not_hold_up_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)
    with kept(tmp_path) as running:
        client = send(running)
        assert slow.begun.acquire(timeout=20)
    assert slow.ended.acquire(timeout=20)
    client.close()
