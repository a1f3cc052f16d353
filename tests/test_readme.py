"""What the README and the pages of docs/ say is true: every block of them runs."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from contextlib import nullcontext
from pathlib import Path

import pytest
from forked_shell import moa_for_shells
from serving import Serving
from typer.main import get_command

from moa_graph import MoAConfig, draw_mermaid
from moa_graph.cli import deprecated
from moa_graph.cli.app import app
from moa_graph.config.model import preset_names
from moa_graph.prompting.layout import RANK_ALL

ROOT = Path(__file__).parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`(moa [^`]*)`")
SHELL = re.compile(r"(?:^|\$ |/|\| |\w=\S+ )(moa .*)", re.MULTILINE)
SERVED = "http://localhost:8000"
LOCAL_MODELS = re.compile(r"http://localhost:(11434|8080)/v1")
TUTORIAL = "docs/tutorial.md"
KEY = "my-key"


def blocks(language):
    return [
        pytest.param(page, code, id=f"{Path(page).stem}-{number}")
        for page, text in PAGES.items()
        for number, (tag, code) in enumerate(BLOCK.findall(text), start=1)
        if tag == language
    ]


def codes(language, page=None):
    return [code for name, code in (b.values for b in blocks(language)) if page in {None, name}]


def shown_outputs(page, commands):
    """What blocks of the page show as the output of these commands, which they show as `$ …`."""
    for code in codes("console", page):
        for command, output in re.findall(r"^\$ (.+)\n((?:[^$].*\n)+)", code, re.MULTILINE):
            if command in commands.splitlines():
                yield output.split()


def installs(code):
    return "python3 -m venv" in code


def moa_commands(text):
    """The command lines that begin with `moa`, of the prose and of blocks for a shell."""
    shells = [code for tag, code in BLOCK.findall(text) if tag in {"bash", "console", "sh"}]
    lines = "\n".join(shells).replace("\\\n", " ")
    return INLINE.findall(BLOCK.sub("", text)) + SHELL.findall(lines)


def reply_or_rank(body):
    """A voter ranks; the others say who they are."""
    ranks = str(body["messages"][-1]["content"]).endswith(RANK_ALL)
    return "1 > 2" if ranks else f"{body['model']} answers"


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")  # docs/agents.md
@pytest.mark.parametrize(("page", "code"), [b for b in blocks("python") if b.values[0] != TUTORIAL])
def test_python_runs(page, code, server, monkeypatch, tmp_path):
    """Against the local server, which stands in for providers, Ollama and llama.cpp."""
    monkeypatch.chdir(tmp_path)
    for provider in ("OPENAI", "TOGETHER"):
        monkeypatch.setenv(f"{provider}_API_BASE", server.url)
        monkeypatch.setenv(f"{provider}_API_KEY", "key")
    server.model("*", reply=reply_or_rank)
    code, scope = LOCAL_MODELS.sub(server.url, code), {}
    with (
        Serving(*map(MoAConfig.load, ("openai", "together")), api_key=KEY)
        if SERVED in code
        else nullcontext() as serving
    ):
        code = code.replace(SERVED, serving.url if serving else SERVED)
        exec(compile(code, page, "exec"), scope)
        if serving:
            scope["client"].close()
    if "result" not in scope and "graph" not in scope:
        scope["moa"].invoke({"messages": "q"})
    assert server.calls


def test_blocks_of_the_tutorial_build_on_each_other(server, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    server.model("*", reply=lambda body: f"{body['model']} answers")
    scope = {}
    for code in codes("python", TUTORIAL):
        exec(compile(LOCAL_MODELS.sub(server.url, code), TUTORIAL, "exec"), scope)
    told = capsys.readouterr().out
    assert "4 of 4 proposers answered" in told
    assert "unreliable: ConnectionError: the service is down" in told
    assert told.count("qwen2.5 answers") >= 4
    assert {path.name for path in tmp_path.iterdir()} >= {"run.svg", "run.html"}


@pytest.mark.parametrize(
    ("page", "second"),
    [("README.md", "openai:gpt-6.1-terra"), ("docs/concepts.md", "together:Qwen/Qwen3.8-Flash")],
)
def test_first_example_quotes_without_a_key(page, second, capsys):
    code = codes("python", page)[0]
    for model, agent in (
        ("openai:gpt-6-luna", "offline:lead"),
        (second, "offline:bm25"),
        ("openai:gpt-6.1-sol", "offline:consensus"),
    ):
        assert f'"{model}"' in code
        code = code.replace(f'"{model}"', f'"{agent}"')
    exec(compile(code, page, "exec"), {})
    assert capsys.readouterr().out.startswith("Air scatters blue light most.\n")


@pytest.mark.process
@pytest.mark.parametrize(
    ("page", "commands"), [b for b in blocks("bash") if not installs(b.values[1])]
)
def test_commands_run(page, commands, server, tmp_path):
    """In a copy of the clone. The two that install are run by `.ci/run`."""
    server.listed = ["llama3.2", "qwen2.5"]
    commands = LOCAL_MODELS.sub(server.url, commands)
    left = shutil.ignore_patterns(".*", "tests", "__pycache__")
    clone = shutil.copytree(ROOT, tmp_path / "clone", ignore=left)
    with moa_for_shells() as programs:
        path = os.pathsep.join([programs, str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = os.environ | {"PATH": path, "MOA_DB": str(tmp_path / "runs.sqlite")}
        done = subprocess.run(
            ["bash", "-euc", commands], cwd=clone, env=environment, capture_output=True, text=True
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    for words in shown_outputs(page, commands):
        assert " ".join(words) in " ".join(done.stdout.split())


@pytest.mark.process
def test_server_runs_and_answers(tmp_path, monkeypatch):
    """Its first block never ends; the second asks it."""
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    (mixture,) = codes("toml", "docs/configuration.md")
    (tmp_path / "mixture.toml").write_text(mixture.replace("together:", "openai:"))
    serve, ask = codes("sh")
    export, serve = serve.splitlines()
    monkeypatch.setenv(*export.removeprefix("export ").split("="))
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
    (toml,), (mermaid,) = codes("toml", "docs/configuration.md"), codes("mermaid")
    path = tmp_path / "mixture.toml"
    path.write_text(toml, encoding="utf-8")
    assert draw_mermaid(MoAConfig.load(path).graph()) == mermaid


def test_all_presets_are_listed():
    page = PAGES["docs/configuration.md"]
    assert sorted(re.findall(r"^\| `([\w-]+)` \| \d", page, re.MULTILINE)) == preset_names()


def test_all_examples_are_listed():
    page = PAGES["docs/index.md"]
    listed = re.findall(r"^\| \[`(\w+)`\]\(\.\./examples/\1\.py\) \|", page, re.MULTILINE)
    assert sorted(listed) == sorted(path.stem for path in (ROOT / "examples").glob("*.py"))


def test_all_markers_are_listed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    options = project["tool"]["pytest"]["ini_options"]
    markers = sorted(line.partition(":")[0] for line in options["markers"])
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == markers
    assert f"-m 'not ({' or '.join(markers)})'" in options["addopts"]


def test_every_block_is_of_a_language_that_is_tested():
    """`console`, `nginx` and `yaml` are only shown. Settings are tried by `tests/clients`,
    `py` of `docs/mcp.md` by `.ci/mcp-adapters`, of `docs/middleware.md` by `.ci/deepagents`,
    of `docs/evaluation-scorers.md` by `test_exact_benchmarks`, of `docs/extending.md` by
    `test_extending`, `json` by `test_mcp` and `test_extending`, and the rest by
    `test_langgraph_dev` and `test_providers`.
    """
    shown = {"console", "js", "nginx", "yaml"}
    tested = {"bash", "json", "mermaid", "py", "python", "sh"}
    tags = {page: {tag for tag, _ in BLOCK.findall(text)} for page, text in PAGES.items()}
    assert set().union(*tags.values()) <= tested | shown | {"text", "toml"}
    assert [page for page in tags if "py" in tags[page]] == [
        *("docs/deploying.md", "docs/evaluation-scorers.md", "docs/extending.md", "docs/mcp.md"),
        *("docs/middleware.md", "docs/models.md"),
    ]
    pages = ["docs/contributing.md", "docs/models.md", "docs/monitoring.md"]
    assert [page for page in tags if "text" in tags[page]] == pages
    for text in PAGES.values():
        assert len(re.findall(r"^ *```", text, re.MULTILINE)) == 2 * len(BLOCK.findall(text))


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_their_options_exist(page):
    for line in moa_commands(PAGES[page]):
        command, (_, *words) = get_command(app), shlex.split(line, comments=True)
        while words and hasattr(command, "commands") and not words[0].startswith("-"):
            command = command.commands[words.pop(0)]
        options = {name for param in command.params for name in param.opts + param.secondary_opts}
        assert {word for word in words if word.startswith("--")} <= {"--help", *options}, line


def test_all_old_spellings_of_the_command_line_are_listed():
    row = re.compile(r"^\| `moa ([\w ]+)` \| (.+) \| (.+) \|$", re.MULTILINE)
    rows = row.findall(PAGES["docs/upgrading.md"])
    listed = {(command, old, new) for command, olds, new in rows for old in olds.split(", ")}
    renamed = {
        (group, f"`{old}`", f"`{new.split()[-1]}`")
        for (group, old), new in ((name.split(), new) for name, new in deprecated.COMMANDS.items())
    }
    for command, flags in deprecated.FLAGS.items():
        renamed |= {(command, f"`{old}`", f"`{new}`") for old, new in flags.items()}
    for command, flags in deprecated.FLAGS_OF_ARGUMENTS.items():
        renamed |= {(command, f"`{old}`", f"the argument `{new}`") for old, new in flags.items()}
    assert listed == renamed


@pytest.mark.process
def test_the_two_commands_are_complete():
    first, second = (code for code in codes("bash") if installs(code))
    assert "moa ask" in first
    assert "pytest" in second
    question = first.partition("&& .venv/bin/")[2].rpartition("&& .venv/bin/")[2]
    words = shlex.split(question)
    command = [Path(sys.executable).parent / words[0], *words[1:]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "it is left out and the layer continues with the other proposers" in done.stdout
    assert first.count("\n") == second.count("\n") == 1
