"""scripts/release.py, in real repositories."""

import subprocess
from pathlib import Path

import pytest

import release

CHANGELOG = """\
# Changelog

## [Unreleased]

## [1.2.3] - 2026-01-31

### Added

- This: `code`.

## [1.2.2] - 2026-01-01

- That.
"""


def git(root: Path, *arguments: str) -> str:
    own = ["-c", "user.name=A Tester", "-c", "user.email=tester@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *own, *arguments], cwd=root, capture_output=True, encoding="utf-8", check=True)
    return done.stdout.strip()


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, "utf-8")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that is ready to be released."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(tmp_path / "gitconfig"))
    write(tmp_path, "gitconfig", "[user]\nname = A Tester\nemail = tester@example.org\n")
    root = tmp_path / "project"
    write(root, "pyproject.toml", '[project]\nversion = "1.2.3"\n')
    write(root, "chatgpt_platform/__init__.py", '__version__ = "1.2.3"\n')
    write(root, "Dockerfile", 'LABEL org.opencontainers.image.version="1.2.3"\n')
    write(root, "CHANGELOG.md", CHANGELOG)
    git(root, "init", "--quiet", "--initial-branch=main")
    commit(root)
    return root


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "--message", "A state")


def test_a_release_is_tagged_and_not_pushed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert release.main([], root) == 0
    assert capsys.readouterr().out == "v1.2.3 is made. To publish it: git push origin v1.2.3\n"
    assert git(root, "cat-file", "-t", "v1.2.3") == "tag"
    assert git(root, "rev-parse", "v1.2.3^{commit}") == git(root, "rev-parse", "HEAD")
    message = git(root, "for-each-ref", "--format=%(contents)", "refs/tags/v1.2.3")
    assert message == "v1.2.3\n\n### Added\n\n- This: `code`."


def test_a_dry_run_makes_no_tag(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert release.main(["--dry-run"], root) == 0
    assert "v1.2.3 would be made at " in capsys.readouterr().out
    assert git(root, "tag") == ""


def refused(root: Path, capsys: pytest.CaptureFixture[str]) -> str:
    before = git(root, "tag")
    assert release.main([], root) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert git(root, "tag") == before
    return told.err


def test_what_is_not_committed_is_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(root, "new.txt", "x")
    write(root, "pyproject.toml", '[project]\nversion = "1.2.3"\n\n')
    assert refused(root, capsys) == "Not committed: pyproject.toml, new.txt; commit or remove it\n"


@pytest.mark.parametrize("switch", [("switch", "--create", "other"), ("checkout", "--detach")])
def test_only_main_is_released(root: Path, capsys: pytest.CaptureFixture[str], switch: tuple[str, str]) -> None:
    git(root, *switch)
    assert "git switch main" in refused(root, capsys)


def test_the_versions_must_be_equal(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(root, "chatgpt_platform/__init__.py", '__version__ = "1.2.4"\n')
    commit(root)
    assert "chatgpt_platform/__init__.py: 1.2.4" in refused(root, capsys)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (" - 2026-01-31", "", "the heading of 1.2.3 has no date"),
        ("2026-01-31", "2026-02-31", "the heading of 1.2.3 has no date"),
        ("2026-01-31", "soon", "the heading of 1.2.3 has no date"),
        ("## [1.2.3]", "## [1.2.30]", "no section for 1.2.3"),
        ("## [Unreleased]\n", "## [Unreleased]\n\n- More.\n", "move what stands under Unreleased"),
    ],
)
def test_the_changelog_must_be_dated_and_complete(
    root: Path, capsys: pytest.CaptureFixture[str], before: str, after: str, told: str
) -> None:
    write(root, "CHANGELOG.md", CHANGELOG.replace(before, after))
    commit(root)
    assert f"CHANGELOG.md: {told}" in refused(root, capsys)


def test_a_version_is_released_once(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    git(root, "tag", "v1.2.3")
    commit(root)
    assert refused(root, capsys) == "The tag v1.2.3 exists; raise the version\n"


def test_all_problems_are_told_at_once(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    git(root, "tag", "v1.2.3")
    git(root, "switch", "--create", "other")
    write(root, "new.txt", "x")
    assert len(refused(root, capsys).splitlines()) == 3


def test_without_a_repository_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert release.main([], tmp_path) == 1
    assert capsys.readouterr().err.startswith("git rev-parse failed: ")


def test_the_notes_are_the_section(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert release.main(["--notes", "1.2.2"], root) == 0
    assert capsys.readouterr().out == "- That.\n"
    assert release.main(["--notes", "1.2.3"], root) == 0
    assert capsys.readouterr().out == "### Added\n\n- This: `code`.\n"


@pytest.mark.parametrize("version", ["9.9.9", "1.2", "Unreleased"])
def test_notes_that_are_not_there_are_an_error(
    root: Path, capsys: pytest.CaptureFixture[str], version: str
) -> None:
    assert release.main(["--notes", version], root) == 1
    assert capsys.readouterr().err.startswith(f"CHANGELOG.md says nothing of {version}")
