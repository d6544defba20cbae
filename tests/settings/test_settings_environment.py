"""Settings from environment variables and the files that they name."""

from __future__ import annotations

import json
from ipaddress import ip_network
from pathlib import Path

import pytest

from chatgpt_platform.errors import ConfigurationError
from chatgpt_platform.settings.load import Loaded, load
from chatgpt_platform.settings.schema import SETTINGS, Secret, Settings, value_at


def read(directory: Path, **environment: str) -> Loaded:
    return load(environment, directory=directory)


def problems(directory: Path, **environment: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(environment, directory=directory)
    assert all(len(line.splitlines()) == 1 for line in caught.value.lines)
    return caught.value.lines


@pytest.mark.parametrize(
    ("name", "text", "path", "value"),
    [
        ("API_KEY", "test-key-1", "upstreams[0].api_keys", (Secret("test-key-1"),)),
        ("API_KEY", "test,key", "upstreams[0].api_keys", (Secret("test,key"),)),
        ("BASE_URL", "http://127.0.0.1:9/v1/", "upstreams[0].base_url", "http://127.0.0.1:9/v1"),
        ("SECOND_LIMIT", "1", "limits.second", 1),
        ("MINUTE_LIMIT", "3", "limits.minute", 3),
        ("HOUR_LIMIT", " 50\r\n", "limits.hour", 50),
        ("DAY_LIMIT", "100", "limits.day", 100),
        ("ROUTE", "api", "server.route", "/api"),
        ("PORT", "0", "server.port", 0),
        ("CHATGPT_SERVER__PORT", "8080", "server.port", 8080),
        ("CHATGPT_SERVER__TIMEOUTS__DRAIN", "5s", "server.timeouts.drain", 5.0),
        ("CHATGPT_SERVER__TIMEOUTS__HEADER", "1s", "server.timeouts.header", 1.0),
        ("CHATGPT_SERVER__TIMEOUTS__BODY", "1m", "server.timeouts.body", 60.0),
        ("CHATGPT_SERVER__TIMEOUTS__WRITE", "500ms", "server.timeouts.write", 0.5),
        ("CHATGPT_SERVER__TIMEOUTS__IDLE", "1h", "server.timeouts.idle", 3600.0),
        ("CHATGPT_ACCESS__ALLOW", "10.0.0.1, 10.1.0.0/16", "access.allow", None),
        ("CHATGPT_ACCESS__ALLOW", '["10.0.0.1", "10.1.0.0/16"]', "access.allow", None),
        ("CHATGPT_ACCESS__CALLER_KEYS", "True", "access.caller_keys", "true"),
        ("CHATGPT_MODELS__ALIASES", '{"a": "b"}', "models.aliases", {"a": "b"}),
        ("CHATGPT_MODELS__DEFAULT", "null", "models.default", "null"),
        ("CHATGPT_LOGGING__PROMPTS", "TRUE", "logging.prompts", True),
    ],
)
def test_a_variable_sets_its_setting(tmp_path: Path, name: str, text: str, path: str, value: object) -> None:
    loaded = read(tmp_path, **{name: text})
    expected = (ip_network("10.0.0.1"), ip_network("10.1.0.0/16")) if value is None else value
    assert value_at(loaded.settings, path) == expected
    assert loaded.sources[path] == f"environment variable {name}"
    assert [source for key, source in loaded.sources.items() if key != path] == ["default"] * (len(SETTINGS) + 1)


def test_every_setting_has_its_variable(tmp_path: Path) -> None:
    for path, setting in SETTINGS.items():
        if not path.startswith("upstreams"):
            assert f"CHATGPT_{path.upper().replace('.', '__')}" in setting.variables
    inside = {path for path, each in SETTINGS.items() if not each.variables}
    assert all(path.startswith("upstreams[0].") for path in inside)


def test_an_empty_variable_counts_as_unset(tmp_path: Path) -> None:
    loaded = read(tmp_path, PORT="", HOUR_LIMIT=" ", API_KEY_FILE="", CHATGPT_UPSTREAMS="", CHATGPT_NO__SUCH="")
    assert loaded.settings == Settings()


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("HOUR_LIMIT", "fifty", 'HOUR_LIMIT: found "fifty", expected a whole number, 0 or more'),
        ("HOUR_LIMIT", "-1", 'HOUR_LIMIT: found "-1", expected a whole number, 0 or more'),
        ("HOUR_LIMIT", "010", 'HOUR_LIMIT: found "010", expected'),
        ("PORT", "tcp://10.0.0.1:80", 'PORT: found "tcp://10.0.0.1:80", expected'),
        ("PORT", "\udcff", r'PORT: found "\udcff", expected'),
        ("ROUTE", "healthz", 'ROUTE: found "healthz", expected'),
        ("BASE_URL", "example", "BASE_URL: found a value that is not shown, expected an http:// or https:// URL"),
        ("CHATGPT_SERVER__HOST", "a\x1b[2J", r'CHATGPT_SERVER__HOST: found "a\u001b[2J", expected'),
        ("CHATGPT_ACCESS__DENY", "a,", 'CHATGPT_ACCESS__DENY: access.deny[0]: found "a", expected'),
        ("CHATGPT_ACCESS__DENY", "[1", "CHATGPT_ACCESS__DENY: not valid JSON: "),
        ("CHATGPT_ACCESS__DENY", '[["10.0.0.1"]]', "CHATGPT_ACCESS__DENY: access.deny[0]: found a list"),
        ("CHATGPT_MODELS__ALIASES", "a=b", "CHATGPT_MODELS__ALIASES: not valid JSON: "),
        ("CHATGPT_MODELS__ALIASES", "[]", "CHATGPT_MODELS__ALIASES: found a list, expected a mapping"),
        ("CHATGPT_MODELS__ALIASES", '{"a": 1}', 'CHATGPT_MODELS__ALIASES: models.aliases["a"]: found "1"'),
        ("CHATGPT_MODELS__ALIASES", '{"a": "b", "a": "c"}', 'models.aliases["a"]: found a second time'),
        ("CHATGPT_SEVER__PORT", "1", "did you mean CHATGPT_SERVER__PORT"),
        ("CHATGPT_UPSTREAMS__0__NAME", "a", "CHATGPT_UPSTREAMS__0__NAME: found an unknown variable"),
        ("CHATGPT___", "a", "CHATGPT___: found an unknown variable, expected CHATGPT_ and the path of a setting"),
        ("CHATGPT_UPSTREAMS", "{", "CHATGPT_UPSTREAMS: not valid JSON: "),
        ("CHATGPT_UPSTREAMS", "{}", "CHATGPT_UPSTREAMS: upstreams: found a mapping, expected a list"),
        ("CHATGPT_UPSTREAMS", '[{"nam": "a"}]', "CHATGPT_UPSTREAMS: upstreams[0].nam: found an unknown setting"),
        ("CHATGPT_UPSTREAMS", '[{"name": true}]', 'CHATGPT_UPSTREAMS: upstreams[0].name: found "true", expected'),
        ("CHATGPT_UPSTREAMS", '[{"name": "a", "name": "a"}]', "upstreams[0].name: found a second time"),
        ("CHATGPT_UPSTREAMS", "[{}, {}]", "CHATGPT_UPSTREAMS: upstreams[1].name: found none, expected one"),
    ],
)
def test_a_bad_value_names_its_variable(tmp_path: Path, name: str, text: str, says: str) -> None:
    found = problems(tmp_path, **{name: text})
    assert says in found[0]
    assert found[0].startswith(f"{name}: ")


def test_the_files_of_tls_have_their_variables(tmp_path: Path) -> None:
    names = {"certificate": "CHATGPT_SERVER__TLS__CERTIFICATE", "key": "CHATGPT_SERVER__TLS__KEY"}
    loaded = read(tmp_path, **{name: f" {path}.pem\n" for path, name in names.items()})
    assert (loaded.settings.server.tls.certificate, loaded.settings.server.tls.key) == (
        "certificate.pem",
        "key.pem",
    )
    for path, name in names.items():
        assert loaded.sources[f"server.tls.{path}"] == f"environment variable {name}"


@pytest.mark.parametrize("mistake", ["CHATGPT_SERVER__TLS__KEY", "CHATGPT_SERVER__TLS__KEY_FILE"])
def test_a_private_key_in_place_of_its_path_is_not_repeated(tmp_path: Path, mistake: str) -> None:
    content = "-----BEGIN PRIVATE KEY-----\ntestkey1\n-----END PRIVATE KEY-----\n"
    (tmp_path / "key.pem").write_text(content)
    given = {mistake: "key.pem" if mistake.endswith("_FILE") else content, "CHATGPT_SERVER__TLS__CERTIFICATE": "c"}
    (line,) = problems(tmp_path, **given)
    assert line.startswith(f"{mistake}: found a value that is not shown, expected the path of a PEM file")
    assert "testkey1" not in line


def test_what_container_platforms_set_is_left_alone(tmp_path: Path) -> None:
    loaded = read(
        tmp_path,
        CHATGPT_PORT="tcp://10.0.0.1:80",
        CHATGPT_SERVICE_HOST="10.0.0.1",
        CHATGPT_PORT_80_TCP="x",
        HOST="x",
    )
    assert loaded.settings == Settings()


def test_keys_are_not_repeated(tmp_path: Path) -> None:
    upstreams = json.dumps([{"api_keys": ["test key 1"], "api_key": "test key 1", "test key 1": 1}])
    for environment in (
        {"API_KEY": "test key 1"},
        {"API_KEY_FILE": "test key 1"},
        {"CHATGPT_UPSTREAMS": upstreams},
        {"CHATGPT_UPSTREAMS": upstreams[:-1]},
        {"CHATGPT_UPSTREAMS": "test key 1"},
        {"API_KEY": "test-key-1", "CHATGPT_UPSTREAMS": upstreams.replace(" key ", "-key-").replace('1"]', '2"]')},
    ):
        assert not any("test" in line for line in problems(tmp_path, **environment))


# --- files that variables name


def test_a_variable_may_name_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xef\xbb\xbftest-key-1\r\n")
    (tmp_path / "limit").write_text("50\n")
    loaded = read(tmp_path, API_KEY_FILE="key", CHATGPT_LIMITS__HOUR_FILE=str(tmp_path / "limit"))
    assert loaded.settings.upstreams[0].api_keys == (Secret("test-key-1"),)
    assert loaded.settings.limits.hour == 50
    assert loaded.sources["upstreams[0].api_keys"] == "environment variable API_KEY_FILE"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "does not exist"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xff", "is not UTF-8"),
        (b"test key", "found a value that is not shown, expected a key"),
        (b"a\nb", "found a value that is not shown, expected a key"),
        (b"x" * (2**20 + 1), "larger than 1 MiB"),
    ],
)
def test_a_secret_file_that_cannot_be_used(tmp_path: Path, content: bytes | None, says: str) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    (line,) = problems(tmp_path, API_KEY_FILE="key")
    assert line.startswith("API_KEY_FILE: ")
    assert says in line


def test_a_directory_is_no_secret(tmp_path: Path) -> None:
    assert problems(tmp_path, API_KEY_FILE=".") == ["API_KEY_FILE: it names a directory, expected a file"]


# --- two names for one setting


def test_names_that_agree_are_fine(tmp_path: Path) -> None:
    (tmp_path / "port").write_text("8080")
    loaded = read(
        tmp_path,
        PORT="8080",
        CHATGPT_SERVER__PORT=" 8080",
        PORT_FILE="port",
        ROUTE="api",
        CHATGPT_SERVER__ROUTE="/api/",
    )
    assert loaded.settings.server.port == 8080


def test_names_that_differ_are_fatal(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("test-key-2")
    assert problems(tmp_path, PORT="1", CHATGPT_SERVER__PORT="2", API_KEY="test-key-1", API_KEY_FILE="key") == [
        (
            "CHATGPT_SERVER__PORT and PORT: found two different values for server.port, "
            "expected only one of them to be set"
        ),
        (
            "API_KEY_FILE and API_KEY: found two different values for upstreams[0].api_keys, "
            "expected only one of them to be set"
        ),
    ]


# --- upstreams


def test_upstreams_as_json_replace_those_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config" / "chatgpt.yaml"
    file.parent.mkdir()
    file.write_text("upstreams: [{name: file, api_keys: [test-key-1], base_url: http://file}]")
    loaded = read(tmp_path, CHATGPT_UPSTREAMS='[{"name": "json", "timeouts": {"total": "5s"}}]')
    upstream = loaded.settings.upstreams[0]
    assert (upstream.name, upstream.api_keys, upstream.timeouts.total) == ("json", (), 5.0)
    assert upstream.base_url == Settings().upstreams[0].base_url
    assert loaded.sources["upstreams[0].name"] == "environment variable CHATGPT_UPSTREAMS"
    assert loaded.sources["upstreams[0].base_url"] == "default"


def test_short_names_belong_to_the_first_upstream(tmp_path: Path) -> None:
    loaded = read(
        tmp_path, CHATGPT_UPSTREAMS='[{"name": "json", "base_url": "http://json/"}]', API_KEY="test-key-1"
    )
    assert loaded.settings.upstreams[0].api_keys == (Secret("test-key-1"),)
    assert loaded.sources["upstreams[0].api_keys"] == "environment variable API_KEY"
    read(tmp_path, CHATGPT_UPSTREAMS='[{"base_url": "http://json/"}]', BASE_URL="http://json")
    assert problems(tmp_path, CHATGPT_UPSTREAMS='[{"base_url": "http://json"}]', BASE_URL="http://short") == [
        (
            "BASE_URL and CHATGPT_UPSTREAMS: found two different values for upstreams[0].base_url, "
            "expected only one of them to be set"
        )
    ]


def test_short_names_win_over_the_file_one_by_one(tmp_path: Path) -> None:
    file = tmp_path / "config" / "chatgpt.yaml"
    file.parent.mkdir()
    file.write_text("upstreams: [{name: file, api_keys: [test-key-1], base_url: http://file}]")
    upstream = read(tmp_path, API_KEY="test-key-2").settings.upstreams[0]
    assert (upstream.name, upstream.base_url, upstream.api_keys) == (
        "file",
        "http://file",
        (Secret("test-key-2"),),
    )


def test_a_list_of_another_length_replaces_the_file_s_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "config" / "chatgpt.yaml"
    file.parent.mkdir()
    file.write_text("upstreams: [{name: a, weight: 5}, {name: b, weight: 6}, {name: c, weight: 7}]")
    assert [each.weight for each in read(tmp_path, BASE_URL="http://a").settings.upstreams] == [5, 6, 7]
    loaded = read(tmp_path, CHATGPT_UPSTREAMS='[{"name": "d"}, {"name": "e", "weight": 8}]', API_KEY='["1", "2"]')
    assert [(each.name, each.weight) for each in loaded.settings.upstreams] == [("d", 1), ("e", 8)]
    assert [len(each.api_keys) for each in loaded.settings.upstreams] == [2, 0]
    assert loaded.sources["upstreams[1].weight"] == "environment variable CHATGPT_UPSTREAMS"
    assert loaded.sources["upstreams[0].weight"] == "default"
    assert [path for path in loaded.sources if path.startswith("upstreams[2]")] == []
    assert len(read(tmp_path, CHATGPT_UPSTREAMS="null").settings.upstreams) == 1, "nothing is the default"


def test_two_lists_must_agree(tmp_path: Path) -> None:
    (tmp_path / "list").write_text('[{"name": "a"}, {"name": "b"}]')
    same = '[{"name":"a"},{"name":"b"}]'
    assert len(read(tmp_path, CHATGPT_UPSTREAMS_FILE="list", CHATGPT_UPSTREAMS=same).settings.upstreams) == 2
    for other in (
        '[{"name": "a"}]',
        '[{"name": "a"}, {"name": "c"}]',
        '[{"name": "a"}, {"name": "b", "weight": 1}]',
    ):
        assert problems(tmp_path, CHATGPT_UPSTREAMS_FILE="list", CHATGPT_UPSTREAMS=other) == [
            (
                "CHATGPT_UPSTREAMS_FILE and CHATGPT_UPSTREAMS: found two different values for upstreams, "
                "expected only one of them to be set"
            )
        ]


def test_lang_is_kept_as_it_is(tmp_path: Path) -> None:
    loaded = read(tmp_path, LANG="zh_CN.UTF-8")
    assert loaded.settings.environment_language == "zh_CN.UTF-8"
    assert loaded.settings.server.language == "auto"
    assert read(tmp_path).settings.environment_language == ""
