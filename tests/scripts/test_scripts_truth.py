"""scripts/truth.py, in short; what it runs is tested in tests/web and tests/cli."""

import subprocess
import sys

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


@pytest.mark.parametrize("wrong", [["--calls", "0"], ["--kills", "-1"], ["--seed", "x"]])
def test_a_wrong_command_line(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        truth.parse(wrong)
    assert caught.value.code == 2
    assert wrong[0] in capsys.readouterr().err
