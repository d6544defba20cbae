"""``check``: what is in force, and whether the upstream knows the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatgpt_platform.cli.main import main

KEY = "test-key-1"


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_it_prints_every_value_with_its_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text("server:\n  port: 8080\n")
    assert main(["check", "--config", "mine.yaml"], {"API_KEY": KEY, "HOUR_LIMIT": "50"}) == 0
    captured = capsys.readouterr()
    lines = [" ".join(line.split()) for line in captured.out.splitlines()]
    assert lines[0] == "configuration file: mine.yaml"
    for line in (
        "server.port = 8080 (mine.yaml:2)",
        "limits.hour = 50 (environment variable HOUR_LIMIT)",
        "upstreams[0].api_keys = [***] (environment variable API_KEY)",
        "limits.day = 0 (default)",
    ):
        assert line in lines
    assert KEY not in captured.out + captured.err


def test_it_lists_every_upstream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    second = f"  - name: b\n    api_keys: [{KEY}]\n    headers: {{X-A: {KEY}}}\n"
    (tmp_path / "mine.yaml").write_text(f"upstreams:\n  - api_keys: [{KEY}, {KEY}2]\n{second}")
    assert main(["check", "--config", "mine.yaml"], {"BASE_URL": "http://first/v1"}) == 0
    captured = capsys.readouterr()
    lines = [" ".join(line.split()) for line in captured.out.splitlines()]
    for line in (
        "upstreams[0].name = openai (default)",
        "upstreams[0].base_url = http://first/v1 (environment variable BASE_URL)",
        "upstreams[0].api_keys = [***, ***] (mine.yaml:2)",
        "upstreams[1].name = b (mine.yaml:3)",
        "upstreams[1].base_url = https://api.openai.com/v1 (default)",
        "upstreams[1].api_keys = [***] (mine.yaml:4)",
        "upstreams[1].headers = {X-A: ***} (mine.yaml:5)",
    ):
        assert line in lines
    assert KEY not in captured.out + captured.err


def test_a_file_of_authorities_is_part_of_the_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text("upstreams: [{}, {name: b, ca_file: none.pem}]")
    assert main(["check", "--config", "mine.yaml"], {}) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "upstreams[1].ca_file: none.pem: no such file, expected a PEM file with the certificates of authorities"
    ]


def test_no_file_is_fine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"], {}) == 0
    assert capsys.readouterr().out.startswith("configuration file: none\n")


def test_problems_are_a_line_each_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", "none.yaml"], {"HOUR_LIMIT": "fifty"}) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "none.yaml: no such file, expected the one that --config names",
        'HOUR_LIMIT: found "fifty", expected a whole number, 0 or more',
    ]
