"""The checks of scripts/check.py that are its own, on small trees."""

import subprocess
import sys
from pathlib import Path

import pytest

import check
import environment
import lock

PYPROJECT = """\
[project]
version = "1.2.3"
dependencies = ["tornado"]
[dependency-groups]
dev = ["pytest"]
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree in which everything agrees."""
    write(tmp_path, "pyproject.toml", PYPROJECT)
    write(tmp_path, "chatgpt_platform/__init__.py", '"""Doc."""\n\n__version__: Final = "1.2.3"\n')
    write(tmp_path, "CHANGELOG.md", "# Changelog\n\n## Unreleased\n\n## [1.2.3] - 2026-01-01\n\n## [1.2.2]\n")
    write(
        tmp_path,
        "Dockerfile",
        'LABEL org.opencontainers.image.title="x" \\\n  org.opencontainers.image.version="1.2.3"\n',
    )
    for name in lock.NAMES:
        write(tmp_path, f"packaging/locks/{name}", lock.header(lock.inputs_digest(PYPROJECT)) + "x==1\n")
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, "utf-8")


def test_versions_that_agree(root: Path) -> None:
    assert check.versions(root) == ""


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pyproject.toml", PYPROJECT.replace("1.2.3", "1.2.4")),
        ("chatgpt_platform/__init__.py", '__version__ = "1.3.0"\n'),
        ("chatgpt_platform/__init__.py", ""),
        ("Dockerfile", 'LABEL org.opencontainers.image.version="1.2.2"'),
        ("Dockerfile", 'LABEL org.opencontainers.image.version="${VERSION}"'),
        ("CHANGELOG.md", "## [1.2.4]\n\n## [1.2.3]\n"),
        ("CHANGELOG.md", "## Unreleased\n"),
    ],
)
def test_versions_that_differ_are_all_named(root: Path, file: str, text: str) -> None:
    write(root, file, text)
    problem = check.versions(root)
    assert [line.partition(":")[0] for line in problem.splitlines()] == [
        "pyproject.toml",
        "chatgpt_platform/__init__.py",
        "Dockerfile",
        "CHANGELOG.md",
    ]


def test_locks_follow_the_dependencies_only(root: Path) -> None:
    assert check.locks(root) == ""
    write(root, "pyproject.toml", PYPROJECT.replace("1.2.3", "9.9.9"))
    assert check.locks(root) == ""
    write(root, "pyproject.toml", PYPROJECT.replace('"pytest"', '"pytest>=9"'))
    assert check.locks(root).startswith("run.txt and dev.txt and build.txt: out of date")


# Put together here, so that this file passes the check itself.
@pytest.mark.parametrize(
    "name",
    [
        "/" + "root/x",
        "/" + "home/someone/x",
        "/" + "Users/x/y",
        "C:" + "\\Users\\x",
        "pypi" + ".org",
        "registry.npmjs" + ".org",
    ],
)
def test_a_local_name_is_found_in_what_git_knows_or_would_add(root: Path, name: str) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    write(root, ".gitignore", "ignored.txt\n")
    write(root, "ignored.txt", name)
    (root / "picture.bin").write_bytes(b"\xff\xfe" + name.encode())
    assert check.local_names(root) == ""
    write(root, "docs/page.md", f"fine\nsee {name} here\n")
    assert check.local_names(root).startswith("docs/page.md:2: ")


@pytest.mark.parametrize(
    "text", ["app/home/page", "https://example.com/home/", "~/work/x", "/homework/", "Xpypi-orgs"]
)
def test_ordinary_text_names_nothing_local(text: str) -> None:
    assert check.LOCAL_NAME.search(text) is None


def test_outside_a_checkout_the_scan_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert check.local_names(tmp_path).startswith("git ls-files failed: ")


README = """\
# Title

Text.

## Start

```sh
python3 scripts/demo.py   # a comment
# another

docker run x
```

```text
## no heading, no command
```

### More
"""


def test_an_outline_is_headings_and_commands() -> None:
    assert check.outline(README) == ["#", "##", "python3 scripts/demo.py", "docker run x", "###"]


def test_readmes_agree_whatever_their_language(root: Path) -> None:
    write(root, check.README, README)
    chinese = README.replace("Title", "标题").replace("# a comment", "# 注释").replace("no heading", "不是标题")
    write(root, check.README_CHINESE, chinese)
    assert check.readmes(root) == ""


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("## Start", "### Start", "item 2"),
        ("docker run x", "docker run y", "item 4"),
        ("### More", "", "5 headings"),
    ],
)
def test_readmes_that_differ(root: Path, old: str, new: str, reason: str) -> None:
    write(root, check.README, README)
    write(root, check.README_CHINESE, README.replace(old, new))
    assert reason in check.readmes(root)


def test_main_prints_a_line_each_and_fails_if_one_did(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreadable(root: Path) -> str:
        raise FileNotFoundError("CHANGELOG.md")

    monkeypatch.setattr(environment, "enter", lambda lock: None)
    monkeypatch.setattr(check, "CHECKS", {"one": lambda root: "", "two": unreadable, "three": lambda root: "a\nb"})
    assert check.main() == 1
    assert capsys.readouterr().out == (
        "ok     one\nfailed two\n       FileNotFoundError: CHANGELOG.md\nfailed three\n       a\n       b\n"
    )
    monkeypatch.setattr(check, "CHECKS", {"one": lambda root: ""})
    assert check.main() == 0


def test_a_command_that_fails_gives_its_output(tmp_path: Path) -> None:
    assert check._command(tmp_path, sys.executable, "-c", "print('fine')") == ""
    assert check._command(tmp_path, sys.executable, "-c", "raise SystemExit('why')") == "why"
    assert check._command(tmp_path, sys.executable, "-c", "raise SystemExit(4)") == "exit code 4"
