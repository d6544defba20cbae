"""scripts/truth.py, in short; what it runs is tested in tests/web and tests/cli."""

import subprocess
import sys
from pathlib import Path

import pytest

import truth


def test_the_accounts_agree() -> None:
    done = subprocess.run(
        [sys.executable, truth.__file__, "--calls", "200", "--seed", "7"],
        capture_output=True, encoding="utf-8", timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("seed 7: 200 calls\n")
    assert "reported  complete" in done.stdout


def test_it_runs_native_modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From what scripts/native.py makes, whose first module tells that it was found there."""
    package = tmp_path / "native" / "chatgpt_platform"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('found')\n", "utf-8")
    script = (
        f"import native, truth, pathlib\nnative.make = lambda: pathlib.Path({str(package.parent)!r})\ntruth.main()"
    )
    monkeypatch.setenv("PYTHONPATH", str(Path(truth.__file__).parent))
    done = subprocess.run(
        [sys.executable, "-c", script, "--native", "--calls", "1"],
        capture_output=True, encoding="utf-8", timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "found\n")


@pytest.mark.parametrize("wrong", [["--calls", "0"], ["--kills", "-1"], ["--seed", "x"]])
def test_a_wrong_command_line(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        truth.parse(wrong)
    assert caught.value.code == 2
    assert wrong[0] in capsys.readouterr().err
