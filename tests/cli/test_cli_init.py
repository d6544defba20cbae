"""``init``: the example file, written once."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from chatgpt_platform.cli import init
from chatgpt_platform.settings.load import USUAL_FILE, load
from chatgpt_platform.settings.render import example
from chatgpt_platform.settings.schema import Settings


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    init.add_parser(parser.add_subparsers())
    arguments = parser.parse_args(["init", *words])
    code: int = arguments.run(arguments, {})
    return code


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_it_writes_where_serve_looks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    loaded = load({}, directory=tmp_path)
    assert loaded.file == tmp_path / USUAL_FILE
    assert loaded.settings == Settings()
    assert (tmp_path / USUAL_FILE).read_bytes() == example().encode()
    assert USUAL_FILE in capsys.readouterr().out


def test_it_writes_where_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("deep/down/mine.yaml") == 0
    assert (tmp_path / "deep/down/mine.yaml").read_text(encoding="utf-8") == example()
    assert "--config deep/down/mine.yaml" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["mine.yaml", "directory", "mine.yaml/below"])
def test_it_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (tmp_path / "mine.yaml").write_text("mine")
    (tmp_path / "directory").mkdir()
    assert run(name) == 1
    assert (tmp_path / "mine.yaml").read_text() == "mine"
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert name.partition("/")[0] in captured.err
