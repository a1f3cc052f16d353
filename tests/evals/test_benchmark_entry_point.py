"""A benchmark that another package adds: the example of the documentation, installed and run."""

import json
import sys

import pytest
from packages import add_package, install_example
from typer.testing import CliRunner

from moa_graph.cli.app import app
from moa_graph.evals.benchmarks import registry


@pytest.fixture
def installed(monkeypatch, tmp_path):
    install_example(monkeypatch, tmp_path / "site", "benchmark")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("moa_arithmetic", None)


def moa(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_benchmark_of_another_package_is_answered_judged_scored_and_reported(installed):
    recorded = installed / "recorded.jsonl"
    answers = {"What is 17 + 25?": "It is 42", "What is 12 * 12?": "It is 145"}
    recorded.write_text(
        "".join(
            json.dumps({"instruction": f"{question} End with the number.", "output": answer}) + "\n"
            for question, answer in answers.items()
        )
    )
    mixture = installed / "mixture.toml"
    mixture.write_text(
        f'name = "mine"\nlayers = [["offline:lead"]]\naggregator = "recorded:{recorded}"\n'
    )
    moa("eval", "generate", "-b", "arithmetic", "-c", mixture)
    moa("eval", "judge", "out/arithmetic/mine")
    files = {path.name for path in (installed / "out" / "arithmetic" / "mine").iterdir()}
    assert {name for name in files if "judg" in name} == {"judgements.jsonl", "judging.json"}
    [scored] = json.loads(moa("eval", "score", "out", "--json"))["systems"]
    assert scored["figures"] == {"correct": 50.0, "categories": {"sums": 100.0, "products": 0.0}}
    assert scored["labels"] == []
    assert "correct %" in moa("eval", "score", "out")
    moa("eval", "report", "out")
    page = (installed / "out" / "report" / "index.html").read_text(encoding="utf-8")
    assert "correct, %" in page


def test_a_benchmark_of_another_package_is_estimated(installed):
    plan = installed / "plan.toml"
    plan.write_text('[systems]\na = "openai:gpt-4o"\n[[benchmarks]]\nname = "arithmetic"\n')
    assert "arithmetic" in moa("eval", "estimate", plan)


def test_what_its_judge_does_not_read_is_refused(installed):
    moa("eval", "generate", "-b", "arithmetic", "-p", "offline")
    done = CliRunner().invoke(app, ["eval", "judge", "out", "--prompt", "x.txt"])
    assert "--prompt has no effect on arithmetic" in str(done.exception)


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        ("no_such_module:IT", "cannot be loaded: ModuleNotFoundError"),
        ("json:dumps", "expected an instance of Benchmark whose `name` is 'broken', got <fun"),
    ],
)
def test_a_package_that_cannot_be_used_is_named(monkeypatch, tmp_path, value, cause):
    add_package(monkeypatch, tmp_path / "site", registry.ENTRY_POINT_GROUP, {"broken": value})
    with pytest.raises(ValueError, match=rf"benchmark 'broken' \({value}\).*{cause}"):
        registry.find_benchmark("broken")


def test_names_are_listed_without_an_import_of_the_packages(installed):
    exact = ["math_500", "gsm8k", "gpqa", "mmlu_pro", "ifeval"]
    names = ["alpaca_eval", "mt_bench", "flask", *exact, "arithmetic"]
    assert registry.benchmark_names() == names
    assert "moa_arithmetic" not in sys.modules
