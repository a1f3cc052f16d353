"""What the package exports, and what importing it costs."""

import json
import re
from dataclasses import asdict

import pytest
from filelock import FileLock
from forks import Fork, run_in_forks

import moa_graph
from moa_graph.graph.run_quality import RunQuality

HEAVY = {"langgraph", "langchain_core", "openai", "langchain_openai", "langchain_together"}


def run_moa(*words):
    return f"""
import sys
sys.argv = ["moa", *{words!r}]
from moa_graph.cli import main
main()
"""


LIGHT_COMMANDS = [
    "--help",
    "--version",
    "ask --help",
    "ask",
    "chat --help",
    "chat --config /nowhere.toml",
    "presets",
    "eval generate --help",
    "batch --help",
    "batch /nowhere.jsonl -o out.jsonl",
    "ask q --preset paper",
    "draw --config /nowhere.toml",
    "ask q --config /nowhere.toml",
    "ask q --file /nowhere.txt",
    "serve --help",
    "serve --preset nope",
    "mcp --help",
    "mcp --preset nope",
]
EXTRAS = [
    *((f"eval {name} x", "numpy", "eval") for name in ("judge", "score", "estimate", "run")),
    ("eval report x", "numpy", "eval"),
    ("serve", "starlette", "serve"),
    ("mcp -p offline", "mcp", "mcp"),
]
CODES = {
    "package": "import moa_graph",
    "mixture": "from moa_graph import MoAConfig; MoAConfig.load('moa').graph().compile()",
    "completion": "from moa_graph.cli import completion; completion.complete_presets('o')",
    "scores": (
        "from moa_graph.evals import alpaca_eval, flask, mt_bench, statistics;"
        "alpaca_eval.win_rate([1, 2])"
    ),
}
COMMANDS = {
    **{words: run_moa(*words.split()) for words in LIGHT_COMMANDS},
    **{
        f"{command} without {module}": f"import sys; sys.modules[{module!r}] = None"
        + run_moa(*command.split())
        for command, module, _ in EXTRAS
    },
}
LIGHT = ("pydantic.main", "rich.console", "typer.main")
"""What commands may load, and takes longest to load."""


@pytest.fixture(scope="session")
def folder(tmp_path_factory, worker_id):
    """A folder of all processes that run tests."""
    own = tmp_path_factory.getbasetemp()
    return (own if worker_id == "master" else own.parent) / "asked"


@pytest.fixture(scope="session")
def forks(folder):
    """What came of each of the codes, of a question that is answered into a pipe, and of a batch.

    It is asked once, whichever process runs the tests.
    """
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            folder.mkdir()
            told = {name: asdict(fork) for name, fork in ask_forks(folder).items()}
            (folder / "told.json").write_text(json.dumps(told))
    told = json.loads((folder / "told.json").read_text())
    return {name: Fork(**fork) for name, fork in told.items()}


def ask_forks(folder):
    (folder / "text.txt").write_text("It is under the tree.")
    ask = ("ask", "Where?", "--preset", "offline", "--file", f"{folder}/text.txt")
    (folder / "in.jsonl").write_text('{"prompt": "Where? It is under the tree."}\n')
    batch = ("batch", f"{folder}/in.jsonl", "-o", f"{folder}/out.jsonl", "-p", "offline")
    whole = {
        "answer": run_moa(*ask, "--db", f"{folder}/runs.sqlite"),
        "batch without numpy": "import sys; sys.modules['numpy'] = None"
        + run_moa(*batch, "--db", f"{folder}/runs.sqlite"),
    }
    return run_in_forks(CODES) | run_in_forks(COMMANDS | whole, LIGHT)


@pytest.fixture
def loaded(forks):
    """The modules that each loads."""
    return {name: {*fork.modules} for name, fork in forks.items()}


def test_every_public_name_is_there():
    assert sorted(moa_graph.__all__) == dir(moa_graph)  # a linter orders `__all__`
    for name in moa_graph.__all__:
        assert getattr(moa_graph, name).__doc__


def test_other_names_are_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = moa_graph.nonsense


@pytest.mark.process
def test_importing_the_package_loads_nothing_heavy(loaded):
    assert "moa_graph" in loaded["package"]
    assert not HEAVY & loaded["package"]


@pytest.mark.process
@pytest.mark.parametrize("words", LIGHT_COMMANDS)
def test_commands_load_what_they_use(words, loaded):
    assert "moa_graph.cli.app" in loaded[words]
    assert not HEAVY & loaded[words]


@pytest.mark.process
def test_help_looks_for_no_benchmark(loaded):
    assert "moa_graph.cli.commands.eval.generate" in loaded["eval generate --help"]
    assert "moa_graph.evals.benchmarks" not in loaded["eval generate --help"]


@pytest.mark.process
def test_completion_loads_nothing_heavy(loaded):
    assert "moa_graph.cli.completion" in loaded["completion"]
    assert not {*HEAVY, "pydantic"} & loaded["completion"]


@pytest.mark.process
def test_scikit_learn_is_loaded_only_for_a_fit(loaded):
    assert "moa_graph.evals.alpaca_eval" in loaded["scores"]
    assert not {"sklearn", "scipy", "langgraph"} & loaded["scores"]


@pytest.mark.process
@pytest.mark.parametrize(("command", "module", "extra"), EXTRAS)
def test_command_without_its_extra_says_what_to_install(command, module, extra, forks):
    told = forks[f"{command} without {module}"].stderr
    assert told == f"moa: {module} is not installed; pip install 'moa_graph[{extra}]'\n"


@pytest.mark.process
def test_providers_are_loaded_when_a_model_of_theirs_is_built(loaded):
    assert HEAVY & loaded["mixture"] == {"langgraph", "langchain_core"}
    assert "langchain_core.language_models.chat_models" not in loaded["mixture"]


@pytest.mark.process
def test_a_batch_needs_no_extra_but_that_of_the_command_line(forks, folder):
    told = forks["batch without numpy"].stderr
    assert "under the tree" in (folder / "out.jsonl").read_text(encoding="utf-8"), told


@pytest.mark.process
def test_run_into_a_pipe_loads_nothing_that_it_does_not_use(loaded):
    others = {
        "genai_prices",
        "prompt_toolkit",
        "jinja2",
        "psycopg",
        "moa_graph.cli.terminal.live_view",
    }
    assert {*HEAVY, *others} & loaded["answer"] == {"langgraph", "langchain_core"}


@pytest.mark.parametrize(
    ("kind", "inherited"),
    [
        (moa_graph.Proposal, ()),
        (RunQuality, ()),
        (moa_graph.RunSummary, RunQuality.__annotations__),
        (moa_graph.Turn, ()),
    ],
)
def test_docstring_of_a_result_describes_each_field(kind, inherited):
    attributes = kind.__doc__.partition("Attributes:")[2]
    described = re.findall(r"^ {8}(\w+): ", attributes, re.MULTILINE)
    assert described == [name for name in kind.__annotations__ if name not in inherited]
