"""What the README says is true: every block of it runs."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from serving import Serving

from moa_graph import MoAConfig, draw_mermaid
from moa_graph.config.model import preset_names

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


SERVED = "http://localhost:8000"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("code", blocks("python"))
def test_python_runs(code, server, monkeypatch, tmp_path):
    """Against the local server, which stands in for the providers and for Ollama."""
    monkeypatch.chdir(tmp_path)
    for provider in ("OPENAI", "TOGETHER"):
        monkeypatch.setenv(f"{provider}_API_BASE", server.url)
        monkeypatch.setenv(f"{provider}_API_KEY", "key")
    code, scope = code.replace("http://localhost:11434/v1", server.url), {}
    with Serving(MoAConfig.load("openai")) if SERVED in code else nullcontext() as serving:
        code = code.replace(SERVED, serving.url if serving else SERVED)
        exec(compile(code, "README.md", "exec"), scope)
        if serving:
            scope["client"].close()
    if "result" not in scope and "graph" not in scope:
        scope["moa"].invoke({"messages": "q"})
    assert server.calls


@pytest.mark.process
@pytest.mark.parametrize("commands", [b for b in blocks("bash") if "python3 -m venv" not in b])
def test_commands_run(commands, tmp_path):
    """In a copy of the clone. The two that install are run by `.ci/run`."""
    left = shutil.ignore_patterns(".*", "tests", "__pycache__")
    clone = shutil.copytree(ROOT, tmp_path / "clone", ignore=left)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "MOA_DB": str(tmp_path / "runs.sqlite")}
    done = subprocess.run(
        ["bash", "-euc", commands], cwd=clone, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.process
def test_server_runs_and_answers(tmp_path, monkeypatch):
    """Its first block never ends; the second asks it."""
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    (tmp_path / "mixture.toml").write_text(blocks("toml")[0].replace("together:", "openai:"))
    serve, ask = blocks("sh")
    words = [Path(sys.executable).parent / "moa", *shlex.split(serve)[1:], "--port", "0"]
    with subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = process.stderr.readline()
            address = re.search(r"(http://\S+)/v1 serves offline, openai, mixture$", said)[1]
            command = ["bash", "-euc", ask.replace(SERVED, address)]
            done = subprocess.run(command, capture_output=True, text=True)
        finally:
            process.terminate()
    assert "Ada built it in 1910." in done.stdout


def test_configuration_is_the_one_that_is_drawn(tmp_path):
    (toml,), (mermaid,) = blocks("toml"), blocks("mermaid")
    path = tmp_path / "mixture.toml"
    path.write_text(toml, encoding="utf-8")
    assert draw_mermaid(MoAConfig.load(path).graph()) == mermaid


def test_all_presets_are_listed():
    assert sorted(re.findall(r"^\| `([\w-]+)` \| \d", README, re.MULTILINE)) == preset_names()


def test_all_examples_are_listed():
    listed = re.findall(r"^\| \[`(\w+)`\]\(examples/\1\.py\) \|", README, re.MULTILINE)
    assert sorted(listed) == sorted(path.stem for path in (ROOT / "examples").glob("*.py"))


@pytest.mark.process
def test_the_two_commands_are_complete():
    first, second = (block for block in blocks("bash") if "python3 -m venv" in block)
    assert "moa ask" in first
    assert "pytest" in second
    question = first.partition("&& .venv/bin/")[2].rpartition("&& .venv/bin/")[2]
    words = shlex.split(question)
    command = [Path(sys.executable).parent / words[0], *words[1:]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "it is left out and the others go on" in done.stdout
    assert first.count("\n") == second.count("\n") == 1
