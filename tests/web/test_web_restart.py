"""What outlives the gateway in ``state.directory``: how far limits and budgets are used."""

from __future__ import annotations

import re
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from chatgpt_platform.accounts.keystore import KeyStore
from chatgpt_platform.ledger import reports
from chatgpt_platform.simulator.server import Behaviour
from support.fleet import Outcome, ask
from support.gateway import gateway, settings_of, wait_until
from support.keyed import account, bearer, sharing, spent, virtual_key
from support.ways import WAYS as ALL_WAYS

WAYS = ALL_WAYS[:1]  # what is tested is the same on all


def left(outcome: Outcome) -> dict[str, int]:
    """The calls that each window still has, as the answer tells."""
    found = re.findall(r'"([\w-]+)";r=(\d+)', outcome.headers.get("ratelimit", ""))
    return {name: int(figure) for name, figure in found}


def test_limits_of_addresses_and_keys_go_on_where_they_stood(tmp_path: Path) -> None:
    with closing(KeyStore(tmp_path)) as store:
        stored = store.create("carol", '{"limits": {"hour": 7}}', time.time())
    environment = sharing(
        virtual_key(limits={"minute": 9, "hour": 5, "day": 8}), directory=tmp_path, HOUR_LIMIT="20",
        MINUTE_LIMIT="50", CHATGPT_SERVER__TRUSTED_PROXIES="127.0.0.1",
    )  # fmt: skip
    first, second = ({"X-Forwarded-For": f"192.0.2.{number}"} for number in (1, 2))
    with gateway(environment) as running:
        for _ in range(3):
            assert ask(running, "openai", headers={**bearer(), **first}).good
        assert ask(running, "platform", headers={**bearer(stored), **second}).good
    for round_ in (1, 2):
        with gateway(environment) as running:
            of_alice = left(ask(running, "openai", headers={**bearer(), **first}))
            assert of_alice == {
                "minute": 49, "hour": 17 - round_, "key-minute": 8, "key-hour": 2 - round_, "key-day": 5 - round_,
            }  # fmt: skip
            of_carol = left(ask(running, "platform", headers={**bearer(stored), **second}))
            assert of_carol == {"minute": 49, "hour": 19 - round_, "key-hour": 6 - round_}
            of_nobody = left(ask(running, "platform", headers={"X-Forwarded-For": "192.0.2.9"}))
            assert of_nobody == {"minute": 49, "hour": 20 - round_}
    with gateway(environment) as running:
        denied = ask(running, "openai", headers={**bearer(), **first})
        assert (denied.status, denied.headers["retry-after"] > "600") == (429, True)


def test_budgets_of_every_period_go_on_where_they_stood(tmp_path: Path) -> None:
    key = virtual_key(
        tokens=["900/day", "5k/week", "20k/month", "1M/year", "4000/total", "3000/24h", "2M/30d", "1500/hour"],
        budget=["0.50/day", "2/total", "1.5/7d"],
    )
    environment = sharing(key, directory=tmp_path)
    with gateway(environment, Behaviour(tokens=300)) as running:
        assert ask(running, "openai", headers=bearer(), max_tokens=300).good
        assert ask(running, "openai", stream=True, headers=bearer(), max_tokens=300).good
        wait_until(lambda: not running.held())
        before = spent(running)
        assert len(before) == 11
        assert before["tokens/day"] == running.simulator.stats.tokens + running.simulator.stats.prompt_tokens
        of_the_hour = before.pop("tokens/hour")
    for _ in range(2):
        with gateway(environment, Behaviour(tokens=300)) as running:
            after = spent(running)
            assert 0 < after.pop("tokens/hour") <= 2 * of_the_hour
            assert after == before
            assert ask(running, "openai", headers=bearer(), max_tokens=300).status == 429
    other = sharing(virtual_key(tokens=["2000/day", "900/30d"]), directory=tmp_path)
    with gateway(other, Behaviour(tokens=300)) as running:
        assert spent(running) == {"tokens/day": before["tokens/day"], "tokens/2592000s": before["tokens/2592000s"]}


def test_a_calls_share_is_written_within_a_moment_while_it_runs(tmp_path: Path) -> None:
    """Not only at a stop: a kill leaves what was flushed."""
    environment = sharing(virtual_key(tokens=["900/day"], limits={"day": 9}), directory=tmp_path)
    with gateway(environment, Behaviour(tokens=30)) as running:
        assert ask(running, "openai", headers=bearer()).good
        wait_until(lambda: len(running.records()) == 1)
        running.flush()
        assert not account(running).touched

        def written(kind: str) -> str:
            with closing(reports.connect(tmp_path)) as connection:
                found = connection.execute(
                    "SELECT value FROM states WHERE kind = ? AND name = 'alice'", (kind,)
                ).fetchone()
                return "" if found is None else str(found[0])

        wait_until(lambda: written("allowance") != "")
        assert str(spent(running)["tokens/day"]) in written("allowance")
        assert '"day":[9,' in written("key")


@pytest.mark.interpreted("replaces a function of ours")
def test_the_timer_outlives_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with gateway(sharing(virtual_key(), directory=tmp_path)) as running:
        running.expected = ["the accounts met a fault of this gateway"]
        assert ask(running, "openai", headers=bearer()).good
        with monkeypatch.context() as patch:
            patch.setattr(running.service.accounts, "write_rows", lambda: 1 // 0)
            running.flush()
        assert "ZeroDivisionError" in running.output()
        running.flush()

        def rows() -> int:
            with closing(reports.connect(tmp_path)) as connection:
                return int(connection.execute("SELECT count(*) FROM calls").fetchone()[0])

        wait_until(lambda: rows() == 1)


def test_reports_stay_with_the_directory_and_the_zone_of_the_start(tmp_path: Path) -> None:
    token = "owner-token-0123456789"
    environment = sharing(virtual_key(), directory=tmp_path / "state", CHATGPT_ADMIN__TOKEN=token)
    with gateway(environment) as running:
        assert ask(running, "openai", headers=bearer()).good
        running.flush()
        others = {"CHATGPT_STATE__DIRECTORY": str(tmp_path / "other"), "CHATGPT_BUDGETS__TIME_ZONE": "Asia/Tokyo"}

        async def reload() -> None:
            running.service.apply(settings_of({**environment, **others}), running.logs)
            running.server.rebuild()

        running.background.run(reload())

        def report() -> Any:
            answer = requests.get(running.url + "/admin/usage", headers=bearer(token), timeout=10)
            assert answer.status_code == 200, "other settings take a restart"
            return answer.json()

        wait_until(lambda: report()["total"]["calls"] == 1)
        assert report()["time_zone"] == "UTC"
