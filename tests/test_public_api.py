"""What the package exports, and what importing it costs."""

import subprocess
import sys

import pytest

import moa_graph

HEAVY = ("langgraph", "langchain_core", "openai", "langchain_openai", "langchain_together")


def loaded_by(code, heavy=HEAVY):
    """Which of some heavy modules a fresh process has loaded after some code."""
    check = f"{code}\nimport sys; print(*[name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def run_moa(*words):
    return f"""
import sys
sys.argv = ["moa", *{words!r}]
from moa_graph.cli import main
try:
    main()
except SystemExit:
    pass
"""


def test_every_public_name_is_there():
    assert sorted(moa_graph.__all__) == dir(moa_graph)  # a linter orders `__all__`
    for name in moa_graph.__all__:
        assert getattr(moa_graph, name).__doc__


def test_other_names_are_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = moa_graph.nonsense


@pytest.mark.process
def test_importing_the_package_loads_nothing_heavy():
    assert loaded_by("import moa_graph") == set()


@pytest.mark.process
@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("--version",),
        ("ask", "--help"),
        ("ask",),
        ("chat", "--help"),
        ("chat", "--config", "/nowhere.toml"),
        ("presets",),
        ("eval", "generate", "--help"),
        ("batch", "--help"),
        ("batch", "/nowhere.jsonl", "-o", "out.jsonl"),
        ("ask", "q", "--preset", "paper"),
        ("draw", "--config", "/nowhere.toml"),
        ("ask", "q", "--config", "/nowhere.toml"),
        ("ask", "q", "--file", "/nowhere.txt"),
        ("serve", "--help"),
        ("serve", "--preset", "nope"),
    ],
)
def test_commands_load_what_they_use(words):
    assert loaded_by(run_moa(*words)) == set()


@pytest.mark.process
@pytest.mark.parametrize("command", ["judge", "score", "estimate", "run", "report"])
def test_measuring_without_its_extra_says_what_to_install(command):
    code = f"import sys; sys.modules['numpy'] = None{run_moa('eval', command, 'x')}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == "moa: numpy is not installed; pip install 'moa_graph[eval]'\n"


@pytest.mark.process
def test_a_batch_needs_no_extra_but_that_of_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.jsonl").write_text('{"prompt": "Where? It is under the tree."}\n')
    batch = run_moa("batch", "in.jsonl", "-o", "out.jsonl", "-p", "offline")
    code = f"import sys; sys.modules['numpy'] = None{batch}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "under the tree" in (tmp_path / "out.jsonl").read_text(encoding="utf-8"), done.stderr


@pytest.mark.process
def test_chat_models_are_loaded_when_the_first_is_built():
    code = "from moa_graph import MoAConfig, create_moa; MoAConfig.load('moa').graph().compile()"
    assert loaded_by(code, ("langchain_core.language_models.chat_models",)) == set()


@pytest.mark.process
def test_providers_are_loaded_when_a_model_of_theirs_is_built():
    lazy = "from moa_graph import MoAConfig; MoAConfig.load('moa').graph().compile()"
    assert loaded_by(lazy) == {"langgraph", "langchain_core"}


@pytest.mark.process
def test_run_into_a_pipe_loads_nothing_that_it_does_not_use(tmp_path, monkeypatch):
    monkeypatch.setenv("MOA_DB", str(tmp_path / "runs.sqlite"))
    (tmp_path / "text.txt").write_text("It is under the tree.")
    ask = run_moa("ask", "Where?", "--preset", "offline", "--file", str(tmp_path / "text.txt"))
    others = (
        "genai_prices",
        "prompt_toolkit",
        "jinja2",
        "psycopg",
        "moa_graph.cli.terminal.live_view",
    )
    assert loaded_by(ask, (*HEAVY, *others)) == {"langgraph", "langchain_core"}
