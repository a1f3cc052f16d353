"""The blocks of docs/extending.md: each does what the page says."""

import json
import re
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import typer
from packages import add_package
from typer.testing import CliRunner

from moa_graph import create_moa
from moa_graph.cli.app import app
from moa_graph.cli.registration import add_commands
from moa_graph.evals.scorers.table import find_scorer

PAGE = (Path(__file__).parent.parent / "docs/extending.md").read_text(encoding="utf-8")
CODES = re.findall(r"^```py\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
FILES = dict(re.findall(r"`([\w/]+\.py)`:\n\n```py\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
PROJECT = tomllib.loads(re.search(r"^```toml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)[1])
ROW = re.search(r"^```json\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)[1]


def add_modules(monkeypatch, site, group):
    """Write the page's modules into a folder, and register what it names of a group."""
    site.mkdir()
    for name in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["include"]:
        monkeypatch.delitem(sys.modules, name.removesuffix(".py"), raising=False)
        (site / name).write_text(FILES.get(name, ROW), encoding="utf-8")
    add_package(monkeypatch, site, group, PROJECT["project"]["entry-points"][group])


def add_module(monkeypatch, name, code):
    """Run a file of the page as a module of the package."""
    module = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(code, name, "exec"), module.__dict__)
    return module


def test_provider_asks_its_gateway(monkeypatch, tmp_path, server):
    add_modules(monkeypatch, tmp_path / "site", "moa_graph.providers")
    monkeypatch.setenv("ACME_URL", server.url)
    monkeypatch.setenv("ACME_API_KEY", "key")
    server.model("*", reply=lambda body: f"{body['model']} answers")
    graph = create_moa([["acme:small"]], "acme:large").compile()
    assert graph.invoke({"messages": "q"})["messages"][-1].text == "large answers"


def test_benchmark_is_generated_judged_and_scored(monkeypatch, tmp_path):
    add_modules(monkeypatch, tmp_path / "site", "moa_graph.benchmarks")
    monkeypatch.chdir(tmp_path)
    for words in (
        "generate -b capitals -p offline",
        "judge out/capitals/offline",
        "score out --json",
    ):
        assert f"moa eval {words.removesuffix(' --json')}\n" in PAGE
        done = CliRunner().invoke(app, ["eval", *words.split()])
        assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["systems"][0]["figures"]["accuracy"] == 100


def test_scorer_is_found_by_its_name(monkeypatch, tmp_path):
    (tmp_path / "acme_scorers.py").write_text(FILES["acme_scorers.py"], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    scorer = find_scorer("acme_scorers:is_short")
    points = [scorer.score(answer, {"max_words": 2}).points for answer in ("one two", "1 2 3")]
    assert points == [1, 0]


@pytest.mark.parametrize(("name", "code"), [("Ada", 0), (" ", 1)])
def test_command_greets(monkeypatch, tmp_path, name, code):
    for path in ("moa_graph/cli/actions/hello.py", "moa_graph/cli/commands/hello.py"):
        add_module(monkeypatch, path.removesuffix(".py").replace("/", "."), FILES[path])
    group = typer.Typer()
    group.callback()(lambda: None)
    add_commands(group, "moa_graph.cli.commands", ["hello"])
    words = ["hello", name, "--db", str(tmp_path / "runs.sqlite")]
    done = CliRunner().invoke(group, words)
    assert done.exit_code == code
    assert ("Hello, Ada. There are 0 threads." in done.output) == (code == 0)


def test_option_is_in_the_signature_and_in_the_prompt():
    scope = {}
    exec(compile(CODES[-1], "docs/extending.md", "exec"), scope)
    [layer] = scope["graph"].spec.layers
    assert scope["graph"].spec.layout.prompt.endswith("Write at most 20 words.")
    assert [each.name for each in layer.agent_nodes] == ["lead"]
    with pytest.raises(TypeError, match="did you mean 'max_words'"):
        scope["create_brief_moa"]([["offline:lead"]], "offline:consensus", max_word=20)


@pytest.mark.parametrize("place", re.findall(r"`(moa_graph/[\w/]+\.py)`", PAGE))
def test_places_in_the_repository_are_there(place):
    root = Path(__file__).parent.parent
    assert (root / place).exists() or place.endswith("/hello.py")


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("graph.options", ["LayerOptions", "DepthOptions", "AggregationOptions", "SharedOptions"]),
        ("graph.options", ["LATER_OPTIONS"]),
        ("graph.resolution", ["resolve_spec"]),
        ("models.providers", ["MODEL_OPTIONS", "provider_of"]),
        ("evals.scorers.table", ["SCORERS"]),
        ("cli.app", ["COMMANDS"]),
    ],
)
def test_names_of_the_page_are_in_the_code(module, names):
    found = vars(import_module(f"moa_graph.{module}"))
    assert [name for name in names if name not in found or f"`{name}" not in PAGE] == []
