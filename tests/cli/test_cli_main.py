"""The command line as a whole: commands are imported when they are asked for; missing standard streams."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import requests

from chatgpt_platform.cli.main import COMMANDS, main, parser
from support.program import PATIENCE, ROOT, environment_of, serving


def test_every_command_is_a_module_and_in_the_help() -> None:
    words = parser([]).format_help().split()
    for command in COMMANDS:
        assert callable(importlib.import_module(f"chatgpt_platform.cli.{command}").run)
        assert command in words


def test_what_pyproject_names_can_be_started(capsys: pytest.CaptureFixture[str]) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    assert list(scripts) == ["chatgpt-platform"]
    for name, place in scripts.items():
        assert EntryPoint(name, place, "console_scripts").load()(["version"], {}) == 0
        assert capsys.readouterr().out.startswith(f"{name} ")


def test_a_command_that_there_is_not_names_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["sevre"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert all(repr(command) in said for command in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "not_imported"),
    [
        (["version"], {"tornado", "yaml", "asyncio", "openai"}),
        (["healthcheck", "--url", "http://127.0.0.1:1"], {"tornado", "yaml", "asyncio", "openai"}),
        (["serve", "--port", "x"], {"yaml", "openai", "chatgpt_platform.simulator"}),
    ],
)
def test_a_command_imports_only_what_it_needs(
    arguments: list[str], not_imported: set[str], tmp_path: Path
) -> None:
    program = (
        "import sys; from chatgpt_platform.cli.main import main\n"
        f"code = main({arguments!r}, {{}})\n"
        f"print(sorted({not_imported!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path, env=environment_of({}), capture_output=True, text=True, timeout=PATIENCE, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.skipif(sys.platform == "win32", reason="a shell closes them")
def test_it_serves_without_standard_streams(tmp_path: Path) -> None:
    """Their numbers must not go to sockets; standard output stays here, to tell the port."""
    given = {"CHATGPT_LOGGING__DIRECTORY": str(tmp_path / "logs")}
    without = ["sh", "-c", 'exec "$@" <&- 2>&-', "sh", sys.executable, "-m", "chatgpt_platform"]
    with serving("--demo", directory=tmp_path, environment=given, command=without) as program:
        assert requests.get(f"{program.url}/chatgpt?prompt=x", timeout=PATIENCE).status_code == 200
        program.process.terminate()
        assert program.end() == 0
