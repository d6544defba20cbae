"""Which file, what wins, and every problem at once."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path

import pytest

from chatgpt_platform.errors import ConfigurationError
from chatgpt_platform.settings.load import LARGEST, Loaded, load
from chatgpt_platform.settings.schema import SETTINGS, Secret, Settings, changes_needing_restart, value_at

NAME = "config/chatgpt.yaml"


def write(directory: Path, text: str | bytes, name: str = NAME) -> Path:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def problems(directory: Path, environment: Mapping[str, str] | None = None, **flags: object) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(
            environment or {}, directory=directory, flags={path.replace("__", "."): v for path, v in flags.items()}
        )
    assert all(len(line.splitlines()) == 1 for line in caught.value.lines)
    return caught.value.lines


def read(directory: Path, text: str, **environment: str) -> Loaded:
    write(directory, text)
    return load(environment, directory=directory)


# --- which file


def test_no_file_means_the_defaults(tmp_path: Path) -> None:
    loaded = load({}, directory=tmp_path)
    assert loaded.settings == Settings()
    assert loaded.file is None
    assert dict(loaded.sources) == dict.fromkeys((*SETTINGS, "keys", "prices"), "default")


def test_the_flag_wins_over_the_variable_and_that_over_the_usual_place(tmp_path: Path) -> None:
    usual, other, third = (
        write(tmp_path, f"server: {{port: {n}}}", f) for n, f in ((1, NAME), (2, "b"), (3, "c"))
    )
    environment = {"CHATGPT_CONFIG": "b"}
    for loaded, port, file in (
        (load({"CHATGPT_CONFIG": " "}, directory=tmp_path), 1, usual),
        (load(environment, directory=tmp_path), 2, other),
        (load(environment, directory=tmp_path, config="c"), 3, third),
        (load(environment, directory=tmp_path, config=str(third)), 3, third),
    ):
        assert loaded.settings.server.port == port
        assert loaded.file == file


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    for environment, config, by in (
        ({}, "no.yaml", "--config"),
        ({"CHATGPT_CONFIG": "no.yaml"}, None, "CHATGPT_CONFIG"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            load(environment, config=config, directory=tmp_path)
        assert caught.value.lines == [f"no.yaml: no such file, expected the one that {by} names"]


def test_an_empty_name_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match='--config: found "", expected the name of a file'):
        load({}, config="", directory=tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\xff\xfea", f"{NAME}:1: not UTF-8"),
        (b"# ok\n# \xe9\n", f"{NAME}:2: not UTF-8"),
        (b"#" * (LARGEST + 1), f"{NAME}: is larger than 1 MiB"),
        (b"server:\n\tport: 1", f"{NAME}:2: found a tab"),
        (b"- 1", f"{NAME}:1: found a list, expected a mapping with server, access"),
        (b"test-key-1", f"{NAME}:1: found a text, expected a mapping"),
        (b"a: &a [x]\nb: &b [*a,*a]\nc: [*b,*b]", f"{NAME}:2: found an alias"),
        (b"[" * 10_000, f"{NAME}:1: nested too deeply"),
        (b"a: \x07", f"{NAME}:1: found a control character"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes, says: str) -> None:
    write(tmp_path, content)
    (line,) = problems(tmp_path)
    assert line.startswith(says)


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    write(tmp_path, b"\xef\xbb\xbfserver: {port: 1}\r\n")
    assert load({}, directory=tmp_path).settings.server.port == 1


def test_a_directory_in_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir(parents=True)
    assert problems(tmp_path) == [f"{NAME}: is a directory, expected a file"]


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="this user may read every file")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    write(tmp_path, "").chmod(0)
    assert problems(tmp_path) == [f"{NAME}: cannot be read: Permission denied"]


# --- what the file says


def test_every_setting_of_the_file_arrives(tmp_path: Path) -> None:
    loaded = read(
        tmp_path,
        """
server:
  host: 127.0.0.1
  port: 8080
  user: 65532:65532
  route: api/
  language: zh_TW
  trusted_proxies: [10.0.0.0/8, "fd00::/8"]
  max_body: 1MiB
  timeouts: {header: 1s, body: 2s, write: 3s, idle: 10s, drain: 1m}
  heartbeat: 0s
  cors: ["*"]
  tls: {certificate: tls/server.pem, key: "/run/secrets/ключ"}
access: {allow: [192.0.2.1], deny: [], caller_keys: true, require_key: true}
limits: {second: 1, minute: 3, hour: 50, day: 100, max_clients: 5}
models:
  default: gpt-4o
  aliases: {no: gpt-4o-mini}
  max_tokens: {default: 100, cap: 200}
upstreams:
  - name: main
    base_url: http://127.0.0.1:9/v1/
    api_keys: [test-key-1]
    api: Azure
    api_version: 2024-10-21
    models: [gpt-4o*, "o?"]
    rename: {gpt-4o: deployed}
    priority: 1
    weight: 2
    concurrency: 3
    headers: {X-Team: "one two", x-number: 5}
    proxy: HTTP://user:pass%40word@Proxy
    ca_file: ca.pem
    retry_unsafe: true
    stream_usage: false
    timeouts: {connect: 1s, first_byte: 2s, idle: 3s, total: 500ms}
retries: {attempts: 1, budget: 100}
load: {calls: 0, calls_per_client: 1, queue: 0, wait: 100ms}
metrics: {host: "::1", port: 9100, allow: [10.0.0.0/8]}
logging:
  directory: /app/logs
  level: DEBUG
  rotate: {size: 1KiB, keep: 0}
  prompts: true
state: {directory: /var/lib/chatgpt}
ledger: {keep: 0s, size: 0, addresses: truncated}
budgets:
  time_zone: Europe/Berlin
  reserve: worst
  warn: [50]
  webhook: {url: "https://hooks.example/in?a=1", secret: test-secret-of-the-hook}
admin: {token: test-token-of-the-owner, allow: []}
""",
    )
    expected: dict[str, object] = {
        "server.host": "127.0.0.1",
        "server.port": 8080,
        "server.user": "65532:65532",
        "server.route": "/api",
        "server.language": "zh_TW",
        "server.trusted_proxies": (ip_network("10.0.0.0/8"), ip_network("fd00::/8")),
        "server.max_body": 2**20,
        "server.timeouts.header": 1.0,
        "server.timeouts.body": 2.0,
        "server.timeouts.write": 3.0,
        "server.timeouts.idle": 10.0,
        "server.timeouts.drain": 60.0,
        "server.heartbeat": 0.0,
        "server.cors": ("*",),
        "server.tls.certificate": "tls/server.pem",
        "server.tls.key": "/run/secrets/ключ",
        "access.allow": (ip_network("192.0.2.1/32"),),
        "access.deny": (),
        "access.caller_keys": "true",
        "access.require_key": True,
        "limits.second": 1,
        "limits.minute": 3,
        "limits.hour": 50,
        "limits.day": 100,
        "limits.max_clients": 5,
        "models.default": "gpt-4o",
        "models.aliases": {"no": "gpt-4o-mini"},
        "models.max_tokens.default": 100,
        "models.max_tokens.cap": 200,
        "upstreams[0].name": "main",
        "upstreams[0].base_url": "http://127.0.0.1:9/v1",
        "upstreams[0].api_keys": (Secret("test-key-1"),),
        "upstreams[0].api": "azure",
        "upstreams[0].api_version": "2024-10-21",
        "upstreams[0].models": ("gpt-4o*", "o?"),
        "upstreams[0].rename": {"gpt-4o": "deployed"},
        "upstreams[0].priority": 1,
        "upstreams[0].weight": 2,
        "upstreams[0].concurrency": 3,
        "upstreams[0].headers": {"X-Team": Secret("one two"), "x-number": Secret("5")},
        "upstreams[0].proxy": Secret("http://user:pass%40word@proxy:80"),
        "upstreams[0].ca_file": "ca.pem",
        "upstreams[0].retry_unsafe": True,
        "upstreams[0].stream_usage": False,
        "upstreams[0].timeouts.connect": 1.0,
        "upstreams[0].timeouts.first_byte": 2.0,
        "upstreams[0].timeouts.idle": 3.0,
        "upstreams[0].timeouts.total": 0.5,
        "retries.attempts": 1,
        "retries.budget": 100,
        "load.calls": 0,
        "load.calls_per_client": 1,
        "load.queue": 0,
        "load.wait": 0.1,
        "metrics.host": "::1",
        "metrics.port": 9100,
        "metrics.allow": (ip_network("10.0.0.0/8"),),
        "logging.directory": "/app/logs",
        "logging.level": "debug",
        "logging.rotate.size": 1024,
        "logging.rotate.keep": 0,
        "logging.prompts": True,
        "state.directory": "/var/lib/chatgpt",
        "ledger.keep": 0.0,
        "ledger.size": 0,
        "ledger.addresses": "truncated",
        "budgets.time_zone": "Europe/Berlin",
        "budgets.reserve": "worst",
        "budgets.warn": (50,),
        "budgets.webhook.url": "https://hooks.example/in?a=1",
        "budgets.webhook.secret": Secret("test-secret-of-the-hook"),
        "admin.token": Secret("test-token-of-the-owner"),
        "admin.allow": (),
    }
    assert {path: value_at(loaded.settings, path) for path in SETTINGS} == expected
    assert loaded.sources["server.port"] == f"{NAME}:4"
    assert loaded.sources["upstreams[0].api_keys"] == f"{NAME}:23"
    assert "test-key-1" not in repr(loaded)


@pytest.mark.parametrize("text", ["", "server:", "upstreams:", "upstreams: [~]", "server: {timeouts: ~}", "{}"])
def test_nothing_where_a_section_stands_is_an_empty_section(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text).settings == Settings()


def test_all_problems_come_at_once_with_their_lines(tmp_path: Path) -> None:
    write(
        tmp_path,
        """server:
  port: "80"
  rute: api
limits:
  hour: fifty
  hour: 5
  day:
acess: {}
logging: [a]
access: {allow: [10.0.0.0/8, x]}
""",
    )
    found = problems(tmp_path, {"HOUR_LIMIT": "fifty", "CHATGPT_XYZZY__PLUGH": "x"}, server__port="x")
    assert found == [
        f'{NAME}:2: server.port: found "80", expected a whole number, 0 to 65535, without quotes',
        f"{NAME}:3: server.rute: found an unknown setting, did you mean server.route?",
        f'{NAME}:5: limits.hour: found "fifty", expected a whole number, 0 or more',
        f"{NAME}:6: limits.hour: found a second time (first on line 5), expected once",
        f"{NAME}:7: limits.day: found nothing, expected a whole number, 0 or more",
        f"{NAME}:8: acess: found an unknown setting, did you mean access?",
        f"{NAME}:9: logging: found a list, expected a mapping with directory, level, rotate, prompts",
        (
            f'{NAME}:10: access.allow[1]: found "x", '
            "expected an IP address or a network such as 10.0.0.0/8 or fd00::/8"
        ),
        'HOUR_LIMIT: found "fifty", expected a whole number, 0 or more',
        "CHATGPT_XYZZY__PLUGH: found an unknown variable, expected CHATGPT_ and the path of a setting",
        '--port: found "x", expected a whole number, 0 to 65535',
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("port: 80", "did you mean server.port"),
        ("server: {xyzzy: 1}", "expected one of host, port"),
        ("server: {tsl: {}}", "server.tsl: found an unknown setting"),
        ("<<: {a: 1}", "unknown setting"),
        ("upstreams: []", "found an empty list, expected one item or more"),
        ("upstreams: {name: a}", "found a mapping, expected a list of upstreams"),
        (f"upstreams: [{'~,' * 101}]", "found 101 upstreams, expected at most 100"),
        ("upstreams: [{api_keys: [a, b, a]}]", "api_keys[2]: found a key that stands there already"),
        ("models: {max_tokens: {default: 5, cap: 4}}", "found 5, expected at most 4"),
        ("access: {caller_keys: no}", "expected auto, true or false"),
        ("server: {route: /v1}", "does not begin with one of v1, healthz"),
        ('server: {"po\\u001brt\\n": 1}', "a key that is not shown"),
        ('server: {host: "a\\u001b[31m\\nb"}', r"a\u001b[31m\u000ab"),
    ],
)
def test_what_cannot_be(tmp_path: Path, text: str, says: str) -> None:
    write(tmp_path, text)
    (line,) = problems(tmp_path)
    assert says in line
    assert line.startswith(f"{NAME}:1: ")


@pytest.mark.parametrize(
    "text",
    [
        "upstreams: [{api_keys: 'test key 1'}]",
        "upstreams: [{api_keys: ['test key 1']}]",
        "upstreams: [{api_key: test key 1}]",
        "upstreams: [{api_keys: {test key 1: a}}]",
        "upstreams: ['test key 1']",
        "upstreams: test key 1",
        "upstreams: [{test key 1}]",
        "upstreams: [{timeouts: test key 1}]",
        "upstreams: [{base_url: test key 1}]",
        "upstreams: [{base_url: 'https://test key 1@host'}]",
        "api_key: test key 1",
        "api_key:'test key 1'",
        "upstreams: [{api_keys: [*test key 1]}]",
        "upstreams: [{api_keys: [!test key 1]}]",
        "upstreams: [{api_keys: [@test key 1]}]",
        "upstreams: [{api_keys: ['test key 1]}]",
        "upstreams:\n  - api_keys:test key 1\n    name: a",
        "upstreams: [{}, {name: a, api_keys: [[test key 1]]}]",
        "upstreams: [{headers: {X-Key:test key 1}}]",
        "upstreams: [{headers: X-Key test key 1}]",
        "upstreams: [{headers: {Authorization: test key 1}}]",
        "upstreams: [{proxy: 'http://user:test key 1@proxy/path'}]",
        "upstreams: [{proxy: {test key 1: a}}]",
        "upstreams: [{ca_file: '-----BEGIN PRIVATE KEY----- test key 1'}]",
        "server: {tls: {key: [test key 1]}}",
        "server: {tls: {key: '-----BEGIN PRIVATE KEY----- test key 1'}}",
        "server:\n  tls:\n    key: |\n      -----BEGIN PRIVATE KEY-----\n      test key 1\n    certificate: c",
        "server:\n  tls:\n    key:\n      -----BEGIN PRIVATE KEY-----\n      test key 1",
        "server: {tls: {certificate: LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0t test key 1}}",
    ],
)
def test_no_key_is_repeated_however_it_is_misplaced(tmp_path: Path, text: str) -> None:
    for written in (text, text.replace(" key ", "-key-")):
        write(tmp_path, written)
        if written != "upstreams: [{api_keys: ['test-key-1']}]":
            assert not any("test" in line for line in problems(tmp_path))


def test_a_thousand_problems_are_cut_short(tmp_path: Path) -> None:
    write(tmp_path, "server: {cors: [" + "x," * 1000 + "]}")
    found = problems(tmp_path)
    assert len(found) == 101
    assert found[-1] == "... and 900 more problems"


# --- precedence and flags


def test_flag_over_environment_over_file_over_default(tmp_path: Path) -> None:
    write(tmp_path, "server: {port: 1, host: 127.0.0.1, route: a}")
    loaded = load({"PORT": "2", "ROUTE": "b"}, flags={"server.port": "3", "server.host": None}, directory=tmp_path)
    server = loaded.settings.server
    assert (server.port, server.route, server.host, server.language) == (3, "/b", "127.0.0.1", "auto")
    assert {path: loaded.sources[f"server.{path}"] for path in ("port", "route", "host", "language")} == {
        "port": "flag --port",
        "route": "environment variable ROUTE",
        "host": f"{NAME}:1",
        "language": "default",
    }


def test_flags_may_be_values(tmp_path: Path) -> None:
    flags = {
        "server.port": 0,
        "logging.prompts": True,
        "access.allow": ["10.0.0.0/8"],
        "upstreams[0].base_url": "http://127.0.0.1:9/v1",
        "upstreams[0].api_keys": "test-key-1",
    }
    settings = load({}, flags=flags, directory=tmp_path).settings
    assert settings.server.port == 0
    assert settings.logging.prompts
    assert settings.access.allow == (ip_network("10.0.0.0/8"),)
    assert settings.upstreams[0].base_url == "http://127.0.0.1:9/v1"
    assert settings.upstreams[0].api_keys == (Secret("test-key-1"),)
    assert problems(tmp_path, server__port="") == ['--port: found "", expected a whole number, 0 to 65535']


def test_contradictions_across_sources_name_both(tmp_path: Path) -> None:
    write(tmp_path, "models: {max_tokens: {cap: 10}}")
    assert problems(tmp_path, {"CHATGPT_MODELS__MAX_TOKENS__DEFAULT": "20"}) == [
        (
            "CHATGPT_MODELS__MAX_TOKENS__DEFAULT: found 20, expected at most 10, "
            f"as models.max_tokens.cap says ({NAME}:1)"
        )
    ]


@pytest.mark.parametrize(
    ("path", "other"),
    [("certificate", "key"), ("key", "certificate")],
)
def test_half_of_tls_names_both_halves(tmp_path: Path, path: str, other: str) -> None:
    says = f"found server.tls.{path} without server.tls.{other}, expected both of them or none"
    variable = f"CHATGPT_SERVER__TLS__{path.upper()}"
    assert problems(tmp_path, {variable: "a.pem"}) == [f"{variable}: {says}"]
    write(tmp_path, f"server:\n  tls:\n    {path}: a.pem\n    {other}: ''\n")
    assert problems(tmp_path) == [f"{NAME}:3: server.tls.{path}: {says}"]
    write(tmp_path, f"server: {{tls: {{{path}: a.pem, {other}: 1}}}}")
    assert load({}, directory=tmp_path).settings.server.tls.key, "1 is a name like any other"
    write(tmp_path, f"server: {{tls: {{{path}: a.pem, {other}: [b.pem]}}}}")
    (line,) = problems(tmp_path)
    assert (
        line == f"{NAME}:1: server.tls.{other}: found a list, expected the path of a PEM file, not what it holds"
    )


def test_halves_of_tls_may_come_from_two_places(tmp_path: Path) -> None:
    tls = read(tmp_path, "server: {tls: {certificate: c}}", CHATGPT_SERVER__TLS__KEY="k").settings.server.tls
    assert (tls.certificate, tls.key) == ("c", "k")


# --- several upstreams


def test_every_upstream_has_its_own_values_lines_and_defaults(tmp_path: Path) -> None:
    loaded = read(
        tmp_path,
        """upstreams:
  - name: a
    api_keys: [test-key-1, test-key-2]
  - name: b
    timeouts: {total: 5s}
  - name: c
    base_url: http://c/v1
""",
    )
    a, b, c = loaded.settings.upstreams
    assert [each.name for each in (a, b, c)] == ["a", "b", "c"]
    assert a.api_keys == (Secret("test-key-1"), Secret("test-key-2"))
    assert (b.timeouts.total, b.timeouts.connect, b.base_url) == (5.0, 5.0, "https://api.openai.com/v1")
    assert (c.base_url, c.timeouts.total) == ("http://c/v1", 600.0)
    assert loaded.sources["upstreams[1].timeouts.total"] == f"{NAME}:5"
    assert loaded.sources["upstreams[2].base_url"] == f"{NAME}:7"
    assert loaded.sources["upstreams[2].api_keys"] == "default"


def test_a_hundred_upstreams_are_read(tmp_path: Path) -> None:
    listed = "".join(f"  - name: a{n}\n    weight: {n + 1}\n" for n in range(100))
    assert [each.weight for each in read(tmp_path, f"upstreams:\n{listed}").settings.upstreams] == [*range(1, 101)]


# --- the result


def test_settings_are_frozen_and_name_what_needs_a_restart(tmp_path: Path) -> None:
    text = "server: {port: 1, route: a, timeouts: {idle: 1s}, tls: {certificate: c, key: k}}"
    old, new = Settings(), read(tmp_path, text).settings
    assert changes_needing_restart(old, new) == ("server.port", "server.tls.certificate", "server.tls.key")
    assert changes_needing_restart(new, new) == ()
    assert {path for path, each in SETTINGS.items() if each.restart} == {
        "budgets.time_zone",
        "metrics.host",
        "metrics.port",
        "server.host",
        "server.port",
        "server.tls.certificate",
        "server.tls.key",
        "server.user",
        "state.directory",
    }
    with pytest.raises(AttributeError):
        old.server.port = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        old.models.aliases["a"] = "b"  # type: ignore[index]


def test_a_json_file_is_read_too(tmp_path: Path) -> None:
    assert read(tmp_path, json.dumps({"server": {"port": 1}}, indent=1)).settings.server.port == 1
