"""Virtual keys and prices in the file and in the environment, and that no secret of theirs is shown."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from hashlib import sha256
from ipaddress import ip_network
from pathlib import Path

import pytest

from chatgpt_platform.errors import ConfigurationError
from chatgpt_platform.settings import render
from chatgpt_platform.settings.allowances import PICODOLLARS, Allowance
from chatgpt_platform.settings.hidden import secrets_of
from chatgpt_platform.settings.load import Loaded, load
from chatgpt_platform.settings.schema import Settings, changes, changes_needing_restart
from chatgpt_platform.settings.secret import Secret, digest_of
from chatgpt_platform.settings.sharing import Budgets, KeyLimits, Price, State, VirtualKey, Webhook

PLAIN = "test-key-of-alice"
DIGEST = sha256(PLAIN.encode()).hexdigest()


def read(directory: Path, text: str = "", **environment: str) -> Loaded:
    (directory / "a.yaml").write_text(text, encoding="utf-8")
    return load(environment, config="a.yaml", directory=directory)


def problems(directory: Path, text: str = "", **environment: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read(directory, text, **environment)
    return caught.value.lines


def test_every_setting_of_a_key_and_a_price_arrives(tmp_path: Path) -> None:
    text = f"""
keys:
  - name: alice
    key: {PLAIN}
    limits: {{second: 1, minute: 2, hour: 3, day: 4}}
    tokens: [2k/minute, 100000/day]
    budget: [5.00/month, 1/24h]
    models: [gpt-4o*]
    expires: 2027-01-31
    addresses: [10.0.0.0/8]
    concurrency: 4
    prompts: true
  - {{name: bob, key: "SHA256:{DIGEST[::-1]}"}}
state: {{directory: s}}
prices:
  - {{model: my-*, input: 0.15, cached_input: 0.075, output: 10, since: 2026-01-01}}
  - {{model: free, input: 0, output: 0}}
""".replace("SHA256", "sha256")
    loaded = read(tmp_path, text)
    assert loaded.settings.keys == (
        VirtualKey(
            name="alice",
            key=Secret(PLAIN),
            limits=KeyLimits(1, 2, 3, 4),
            tokens=(Allowance(2000, "minute", 60), Allowance(100_000, "day", 0)),
            budget=(Allowance(5 * PICODOLLARS, "month", 0), Allowance(PICODOLLARS, "rolling", 86_400)),
            models=("gpt-4o*",),
            expires="2027-01-31",
            addresses=(ip_network("10.0.0.0/8"),),
            concurrency=4,
            prompts=True,
        ),
        VirtualKey(name="bob", key=Secret(f"sha256:{DIGEST[::-1]}")),
    )
    assert loaded.settings.prices == (
        Price(model="my-*", input=150_000, cached_input=75_000, output=10_000_000, since="2026-01-01"),
        Price(model="free", input=0, cached_input=None, output=0),
    )
    assert loaded.sources["keys[0].limits.hour"] == "a.yaml:5"
    assert loaded.sources["keys[1].limits.hour"] == "default"
    assert "keys" not in loaded.sources
    assert PLAIN not in repr(loaded)


@pytest.mark.parametrize("text", ["", "keys:", "keys: []\nprices: []", "{keys: ~, prices: ~}"])
def test_there_need_be_none(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text).settings == Settings()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("keys: {}", "a.yaml:1: keys: found a mapping, expected a list of keys"),
        ("keys: test-key-of-alice", "a.yaml:1: keys: found a text, expected a list of keys"),
        (
            "keys: [test-key-of-alice]",
            "a.yaml:1: keys[0]: found a text, expected a mapping with name, key, limits",
        ),
        (
            f"keys: [{','.join(f'{{name: k{n}, key: key-{n:020d}}}' for n in range(1001))}]",
            "a.yaml:1: keys: found 1001 keys, expected at most 1000",
        ),
        (
            f"keys: [{{key: {PLAIN}}}]",
            "a.yaml:1: keys[0].name: found none, expected a name of letters, digits and",
        ),
        ("keys:\n -\n", "a.yaml:2: keys[0].name: found none, expected a name of letters, digits and ._-"),
        ("keys: [{name: a}]", "a.yaml:1: keys[0].key: found none, expected a key of 16 or more visible ASCII"),
        ("keys: [{nam: a}]", "keys[0].nam: found an unknown setting, did you mean keys[0].name?"),
        ("keys: [{limits: {minutes: 3}}]", "found an unknown setting, did you mean keys[0].limits.minute?"),
        ("keys: [{tokens: [1/day, 2/day]}]", 'keys[0].tokens[1]: found "2/day" beside "1/day"'),
        ("keys: [{models: []}]", 'keys[0].models: found no model, expected at least one; "*" stands for all'),
        ("prices: [{}]", "a.yaml:1: prices[0].model: found none, expected the name of a model, * and ? in it"),
        ("prices: [{model: a, output: 1}]", "prices[0].input: found none, expected dollars for a million tokens"),
        ("prices: [{model: a, input: '1', output: 1}]", 'prices[0].input: found "1", expected dollars for a'),
        ("budgets: {warn: [0]}", 'budgets.warn[0]: found "0", expected a whole number, 1 to 100'),
        ("budgets: {warn: [80, 50]}", "budgets.warn[1]: found 50 behind 80, expected each to be larger"),
        ("budgets: {warn: [80, 80]}", "budgets.warn[1]: found 80 behind 80, expected each to be larger"),
        ("budgets: {time_zone: Berlin}", 'budgets.time_zone: found "Berlin", expected the name of a time zone'),
        (
            "ledger: {keep: 5}",
            'ledger.keep: found "5", expected a duration with its unit, such as 12h, 30d or 400d',
        ),
        ("ledger: {keep: 36501d}", "expected a duration of at most 36500d"),
        ("server: {timeouts: {total: 1d}, heartbeat: 1d}", 'server.heartbeat: found "1d", expected a duration'),
        ("ledger: {size: 00}", 'ledger.size: found "00", expected 0, or a size from 1B to 1TiB'),
        ("server: {max_body: 0}", 'server.max_body: found "0", expected a size from 1B to 1TiB'),
        ("server: {route: api/usage}", "expected a path that does not begin with api/usage: it is in use"),
        ("server: {route: /API/Usage/mine}", "expected a path that does not begin with api/usage: it is in use"),
        ("server: {route: admin}", "expected a path that does not begin with one of v1,"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, says: str) -> None:
    assert [line for line in problems(tmp_path, text) if says in line]


def test_what_was_refused_is_not_missed_as_well(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, "prices: [{model: '', input: 1, output: 1}]")
    assert line.startswith('a.yaml:1: prices[0].model: found "", expected')
    assert len(problems(tmp_path, "keys: [5]\nprices: [[1]]")) == 2


def test_routes_beside_those_that_are_taken(tmp_path: Path) -> None:
    for route in ("api", "api/usages", "usage", "a/api/usage"):
        assert read(tmp_path, f"server: {{route: {route}}}").settings.server.route == f"/{route}"


# --- the environment


def test_lists_in_the_environment_replace_those_of_the_file(tmp_path: Path) -> None:
    file = f"keys: [{{name: a, key: {PLAIN}}}]\nprices: [{{model: a, input: 1, output: 1}}]\n"
    keys = json.dumps([{"name": "b", "key": f"sha256:{DIGEST}", "budget": ["1/day"]}])
    loaded = read(tmp_path, file, CHATGPT_KEYS=keys, CHATGPT_PRICES='[{"model": "b", "input": 0.5, "output": 2}]')
    assert [(each.name, str(each.budget[0])) for each in loaded.settings.keys] == [("b", "1/day")]
    assert loaded.settings.prices == (Price(model="b", input=500_000, output=2_000_000),)
    assert loaded.sources["keys[0].name"] == "environment variable CHATGPT_KEYS"
    none = read(tmp_path, file, CHATGPT_KEYS="[]")
    assert (none.settings.keys, len(none.settings.prices)) == ((), 1)
    assert none.sources["keys"] == "environment variable CHATGPT_KEYS"
    assert read(tmp_path, file, CHATGPT_KEYS="null").sources["keys"] == "default"


def test_two_lists_of_the_environment_must_agree(tmp_path: Path) -> None:
    given = json.dumps([{"name": "b", "key": PLAIN}])
    (tmp_path / "keys").write_text(given)
    upstreams = '[{"name": "u"}]'
    assert read(tmp_path, CHATGPT_UPSTREAMS=upstreams, CHATGPT_KEYS=given, CHATGPT_KEYS_FILE="keys").settings.keys
    text = "found two different values for keys, expected only one of them to be set"
    for other in ("[]", given.replace("b", "c")):
        for first, second in ((given, other), (other, given)):
            (tmp_path / "keys").write_text(first)
            lines = problems(tmp_path, CHATGPT_KEYS=second, CHATGPT_KEYS_FILE="keys")
            assert lines == [f"CHATGPT_KEYS_FILE and CHATGPT_KEYS: {text}"]


def test_other_names_of_the_environment(tmp_path: Path) -> None:
    loaded = read(
        tmp_path,
        CHATGPT_BUDGETS__WARN="50,90",
        CHATGPT_ADMIN__TOKEN=f"sha256:{DIGEST.upper()}",
        CHATGPT_ADMIN__ALLOW="10.0.0.0/8",
        CHATGPT_LEDGER__KEEP="30d",
        CHATGPT_BUDGETS__WEBHOOK__URL="https://hooks.example:8443/services/T0/B0?x=y",
        CHATGPT_BUDGETS__WEBHOOK__SECRET="test-secret-of-a-hook",
    )
    assert loaded.settings.budgets.warn == (50, 90)
    assert loaded.settings.admin.token == Secret(f"sha256:{DIGEST}")
    assert loaded.settings.ledger.keep == 30 * 86_400.0


# --- what is shown


@pytest.mark.parametrize(
    "text",
    [
        "keys: [{name: a, key: test key of alice}]",
        "keys: [{name: a, key: test-key-}]",
        "keys: [{name: a, key: 'sha256:test-key-of-alice'}]",
        "keys: [{name: a, key: [test-key-of-alice]}]",
        "keys: [{name: a, test-key-of-alice-1: b}]",
        "admin: {token: test-key}",
        "budgets: {webhook: {url: 'test-key-of-alice', secret: test-key}}",
        "budgets: {webhook: {url: 'https://test-key:test-key@hooks.example/'}}",
        "budgets: {webhook: {url: 'https://hooks.example/#test-key'}}",
        "budgets: {webhook: {url: 'ftp://hooks.example/test-key'}}",
        f"keys: [{{name: a, key: {PLAIN}}}, {{name: b, key: 'sha256:{DIGEST}'}}]",
    ],
)
def test_no_secret_is_repeated(tmp_path: Path, text: str) -> None:
    lines = problems(tmp_path, text)
    assert lines
    assert not any("test" in line or DIGEST in line for line in lines)


def test_the_listing_masks_them_and_names_empty_lists(tmp_path: Path) -> None:
    text = f"""keys:
  - {{name: alice, key: {PLAIN}, budget: [5.00/month]}}
admin: {{token: {PLAIN}-2}}
budgets: {{webhook: {{url: "https://hooks.example/services/test", secret: {PLAIN}-3}}}}
"""
    listing = re.sub(" +", " ", render.listing(read(tmp_path, text)))
    for line in (
        "keys[0].name = alice (a.yaml:2)",
        "keys[0].key = *** (a.yaml:2)",
        "keys[0].budget = [5.00/month] (a.yaml:2)",
        "keys[0].tokens = [] (default)",
        "prices = [] (default)",
        "admin.token = *** (a.yaml:3)",
        'budgets.webhook.url = "https://hooks.example/***" (a.yaml:4)',
        "budgets.webhook.secret = *** (a.yaml:4)",
    ):
        assert f"{line}\n" in listing
    assert "test" not in listing
    empty = re.sub(" +", " ", render.listing(read(tmp_path, "keys: []")))
    assert "keys = [] (a.yaml:1)\n" in empty
    assert 'admin.token = "" (default)\n' in empty


def test_a_host_alone_is_shown_as_it_is(tmp_path: Path) -> None:
    text = "budgets: {webhook: {url: 'https://hooks.example/', secret: test-secret-of-a-hook}}"
    assert "budgets.webhook.url = https://hooks.example/ " in render.listing(read(tmp_path, text))


def test_no_log_may_show_them() -> None:
    hook = Webhook("https://hooks.example/services/T0?token=abcdefgh", Secret("test-secret-of-a-hook"))
    settings = replace(
        Settings(),
        keys=(VirtualKey("a", Secret(PLAIN)), VirtualKey("b", Secret(f"sha256:{DIGEST}"))),
        budgets=Budgets(webhook=hook),
    )
    found = list(secrets_of(settings))
    assert found == [PLAIN, DIGEST, "test-secret-of-a-hook", "/services/T0", "token=abcdefgh"]
    assert list(secrets_of(Settings())) == []


def test_a_key_and_its_digest_are_one() -> None:
    assert digest_of(Secret(PLAIN)) == digest_of(Secret(f"sha256:{DIGEST}")) == DIGEST


# --- a change


def test_changes_of_keys_are_named_without_a_secret() -> None:
    one = replace(Settings(), keys=(VirtualKey("a", Secret(PLAIN)),))
    other = replace(Settings(), keys=(VirtualKey("a", Secret(PLAIN), concurrency=1), VirtualKey("b")))
    assert changes(one, other) == ("keys[0].concurrency", "keys[1]")
    assert changes(one, Settings()) == ("keys[0]",)
    assert changes_needing_restart(one, other) == ()


def test_another_place_for_the_state_or_another_calendar_needs_a_restart() -> None:
    new = replace(Settings(), state=State("s"), budgets=Budgets(time_zone="UTC"))
    assert changes_needing_restart(Settings(), new) == ("state.directory", "budgets.time_zone")
