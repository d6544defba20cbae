"""packaging/windows/install.ps1, as far as it can be judged without PowerShell: it parses as 5.1 would have it,
calls what there is, and agrees with the program. tests/packaging/test_packaging_windows.py runs it on Windows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import tree_sitter
import tree_sitter_powershell

from chatgpt_platform.cli import service_windows
from chatgpt_platform.settings import load
from support.program import ROOT, run

SCRIPT: Final = (ROOT / "packaging" / "windows" / "install.ps1").read_text("utf-8")
CMDLETS: Final = frozenset(
    """
    Copy-Item ForEach-Object Get-Acl Get-ChildItem Get-CimInstance Get-Item Get-Service Get-WinEvent
    Invoke-CimMethod Join-Path New-Item New-ItemProperty New-NetFirewallRule New-Object New-Service Read-Host
    Remove-Item Remove-NetFirewallRule Resolve-Path Set-Item Set-StrictMode Start-Service Start-Sleep
    Test-Path Unblock-File Where-Object Write-Host Write-Verbose
    """.split()  # noqa: SIM905
)
"""In PowerShell 5.1 as in 7, each looked up."""


def parsed(script: str) -> tree_sitter.Tree:
    language = tree_sitter.Language(tree_sitter_powershell.language())
    return tree_sitter.Parser(language).parse(script.encode())


def texts(kind: str) -> Iterator[str]:
    """Each piece of the script of this kind."""
    waiting = [parsed(SCRIPT).root_node]
    while waiting:
        node = waiting.pop()
        waiting.extend(node.children)
        if node.type == kind and node.text is not None:
            yield node.text.decode()


def test_it_parses() -> None:
    assert not parsed(SCRIPT).root_node.has_error


@pytest.mark.parametrize("fault", ["if ($x { }", "$a = $b ?? 1", "$a = $b ? 1 : 2", "$a = @{ x = 1", "$a?.b"])
def test_what_5_1_does_not_know_would_be_seen(fault: str) -> None:
    assert parsed(SCRIPT + fault).root_node.has_error


def test_it_calls_only_what_there_is() -> None:
    own, called = set(texts("function_name")), set(texts("command_name"))
    assert called <= own | CMDLETS
    assert own <= called, "each function is used"
    assert not set(texts("pipeline_chain_tail")), "5.1 knows no && and ||"


def test_it_is_ascii() -> None:
    assert SCRIPT.isascii(), "5.1 takes a file without a mark for the machine's code page"


def test_each_tool_s_failure_is_seen() -> None:
    called = [line for line in SCRIPT.splitlines() if re.search(r"\b(icacls|sc)\.exe'", line)]
    assert called
    assert all("Invoke-Tool" in line for line in called)
    assert SCRIPT.count("& $Tool") == 1


def test_it_agrees_with_the_program(tmp_path: Path) -> None:
    assert f"$Name = '{service_windows.NAME}'" in SCRIPT
    folder, file = load.WINDOWS_FILE.split("\\")
    assert folder == service_windows.NAME
    assert "$Data = Join-Path $env:ProgramData $Name" in SCRIPT
    assert f"$Config = Join-Path $Data '{file}'" in SCRIPT
    assert 'serve --service --config `"$Config`"' in SCRIPT
    pattern = re.search(r"-match '(\^server.*?)'", SCRIPT)
    assert pattern
    listing = run("check", directory=tmp_path, environment={"PORT": "5123"}).stdout
    found = re.search(pattern[1], listing, re.MULTILINE)
    assert found
    assert found[1] == "5123"
    for name in re.findall(r'"(\w+)=\$', SCRIPT):
        # What it gives the service: either the system's own or known here.
        given = run("check", directory=tmp_path, environment={name: str(tmp_path / "x")})
        assert name in ("TEMP", "TMP") or f"environment variable {name}" in given.stdout or name in given.stderr


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_the_settings_that_it_writes_name_the_state(newline: str, tmp_path: Path) -> None:
    pattern = re.search(r"-replace '(.*?)',", SCRIPT)
    assert pattern
    example = (ROOT / "config" / "chatgpt.yaml").read_text("utf-8").replace("\n", newline)
    changed, times = re.subn(pattern[1], r"\1  directory: 'C:\\state'", example)
    assert times == 1
    (tmp_path / "chatgpt.yaml").write_bytes(changed.encode())
    listing = run("check", "--config", "chatgpt.yaml", directory=tmp_path).stdout
    (from_file,) = re.findall(r"^.*\(chatgpt\.yaml:.*$", listing, re.MULTILINE)
    assert re.match(r'state\.directory = "C:\\\\state" ', from_file)


def test_the_key_is_on_no_command_line() -> None:
    for line in SCRIPT.splitlines():
        assert not re.search(r"\[(string|securestring)\]\$(Api)?Key\b(?!File)", line, re.IGNORECASE)
        if "Invoke-Tool" in line or "$command" in line:
            assert "$text" not in line
            assert "$typed" not in line


def test_failures_restart_it() -> None:
    assert "'restart/5000/restart/15000/restart/60000'" in SCRIPT
    assert "'failureflag', $Name, '1'" in SCRIPT
    assert "StartMode = 'Automatic'" in SCRIPT


def test_rights_are_not_given_below_what_the_service_can_write() -> None:
    assert not re.search(r"'/t'", SCRIPT, re.IGNORECASE), "a link that the service made there would be followed"


def body(name: str) -> str:
    """The text of a function of the script."""
    (found,) = (each for each in texts("function_statement") if each.startswith(f"function {name}"))
    return found


def test_what_lies_in_the_folder_is_looked_at_when_nobody_can_add_to_it() -> None:
    steps = (
        "New-Item -ItemType Directory -Path $Data",
        "Assert-Ours $Data",
        "Set-Rights $Data",
        "Get-ChildItem -LiteralPath $Data -Force | ForEach-Object { Assert-Ours",
        "New-Item -ItemType Directory -Path $folder",
    )
    places = [body("Initialize-Data").index(step) for step in steps]
    assert places == sorted(places)
    assert "ReparsePoint" in body("Assert-Ours")
    assert "GetOwner" in body("Assert-Ours")
    installation = body("Install-All")
    assert installation.index("Initialize-Data") < installation.index("Write-Config")
    assert installation.index("Initialize-Data") < installation.index("Write-Key")


def test_no_junction_is_followed_at_a_removal() -> None:
    removals = [each for each in texts("command") if each.startswith("Remove-Item ") and "-Recurse" in each]
    assert removals == ["Remove-Item -Path $EventKey -Recurse"], "the registry has no junctions"
    assert "Invoke-Tool 'cmd.exe' @('/d', '/c', 'rd', '/s', '/q', $Path)" in body("Remove-Folder")
    assert body("Remove-All").count("Remove-Folder") == 2
