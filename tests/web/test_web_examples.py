"""The two programs that the container's README taught, re-written and run as users ran them."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from support.gateway import gateway

CONVERSATION = """
    import json, sys
    import requests

    url, key = sys.argv[1], sys.argv[2]
    system = input("sys> ")
    history = [{"role": "system", "content": system}]
    while True:
        said = input("user> ")
        if said.lower() in ("exit", "quit"):
            break
        answer = requests.post(url, json={
            "system_content": system,
            "user_content": said,
            "model": "gpt-3.5-turbo",
            "api_key": key,
            "continuous": [],
            "max_tokens": 3000,
        })
        if answer.status_code != 200:
            print(f"failed: {answer.status_code}, {answer.text}")
            continue
        result = json.loads(answer.text)
        print(f"ChatGPT> {result['current_response']}")
        history.append({"role": "user", "content": said})
        history.append({"role": "assistant", "content": result["current_response"]})
    print("turns", len(history))
"""

QUESTION = """
    import json, sys
    import requests

    url, key = sys.argv[1], sys.argv[2]
    system = input("sys> ")
    answer = requests.post(url, json={
        "system_content": system,
        "user_content": input("user> "),
        "model": "gpt-3.5-turbo",
        "api_key": key,
        "max_tokens": 100,
    })
    if answer.status_code != 200:
        print(f"failed: {answer.status_code}, {answer.text}")
        sys.exit(1)
    print("ChatGPT>", json.loads(answer.text)["current_response"])
"""

HEADERS = """
    import sys
    import requests

    answer = requests.get(
        sys.argv[1], headers={"ApiKey": sys.argv[2], "Model": "text-davinci-003"}, params={"prompt": "Hello"}
    )
    print(answer.json()["data"]["response"])
"""


def run(program: str, tmp_path: Path, url: str, key: str, typed: str) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "program.py"
    file.write_text(textwrap.dedent(program), "utf-8")
    return subprocess.run(
        [sys.executable, str(file), url, key],
        input=typed,
        capture_output=True,
        encoding="utf-8",
        timeout=30,
        check=False,
    )


def test_the_conversation_loop(tmp_path: Path) -> None:
    with gateway(key="") as running:
        done = run(
            CONVERSATION, tmp_path, running.url + "/api", "test-key-own", "Be brief.\nHello\nAnd you?\nexit\n"
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("ChatGPT> ") == 2
        assert "failed" not in done.stdout
        assert "turns 5" in done.stdout
        assert "test-key-own" not in running.output()


def test_the_single_question(tmp_path: Path) -> None:
    with gateway(key="") as running:
        done = run(QUESTION, tmp_path, running.url + "/api", "test-key-own", "\nHello\n")
        assert (done.returncode, done.stderr) == (0, "")
        assert "Hello" in done.stdout
        refused = run(QUESTION, tmp_path, running.url + "/api", "Your API Key", "x\nHello\n")
        assert refused.returncode == 1
        assert "failed: 401" in refused.stdout


def test_the_question_by_headers(tmp_path: Path) -> None:
    with gateway(key="") as running:
        done = run(HEADERS, tmp_path, running.url + "/chatgpt", "test-key-own", "")
        assert (done.returncode, done.stderr) == (0, "")
        assert "Hello" in done.stdout
