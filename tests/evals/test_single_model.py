"""One model without a mixture, as a system of a comparison."""

import asyncio
import json

import pytest
from compared import ROWS

from moa_graph import Agent, MoAConfig
from moa_graph.evals.call_store import CallStore
from moa_graph.evals.datasets import load_benchmark
from moa_graph.evals.generate import answer_benchmark
from moa_graph.evals.plan import EvalPlan
from moa_graph.evals.preflight import estimate_comparison
from moa_graph.evals.report.comparison_info import read_comparison_info
from moa_graph.evals.resource_use import measure_resource_use, read_turn_calls
from moa_graph.evals.single_model import SingleModel


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return load_benchmark(path)


@pytest.fixture
def run(tmp_path, questions):
    """Have a system answer the questions."""

    def run(config, name="single"):
        out = tmp_path / "out"
        with CallStore(out / "ledger.sqlite") as call_store:
            return asyncio.run(answer_benchmark(config, questions, out, call_store, name=name))

    return run


def agent(server, name="m"):
    return Agent(model=f"openai:{name}", base_url=server.url, max_retries=0)


def rows(generation):
    lines = (generation.folder / "proposals.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_single_model_is_one_call_in_rows_manifest_and_count(server, run):
    single = SingleModel.from_agent("single", agent(server))
    generation = run(single)
    assert generation.progress.calls == len(server.calls) == len(ROWS)
    turns = [turn for row in rows(generation) for turn in row["turns"]]
    assert {len(turn["proposals"]) for turn in turns} == {0}
    assert {turn["aggregator"]["model"] for turn in turns} == {"openai:m"}
    used = [turn["aggregator"]["usage"]["total_tokens"] for turn in turns]
    manifest = json.loads((generation.folder / "manifest.json").read_text())
    assert manifest["tokens"] == sum(used) == generation.progress.tokens
    use = measure_resource_use([read_turn_calls(turn) for turn in turns])
    read = [turn["aggregator"]["usage"]["input_tokens"] for turn in turns]
    assert use.input_tokens.value == pytest.approx(sum(read) / len(read))


def test_estimate_and_run_of_a_single_model_count_the_same_calls(server, evaluate, tmp_path):
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (tmp_path / "questions.jsonl").write_text(lines)
    (tmp_path / "plan.toml").write_text(
        'judge = "offline:overlap"\n[[benchmarks]]\nname = "questions.jsonl"\n'
        f'[systems]\na = {{ model = "openai:m", base_url = "{server.url}" }}\nb = "offline:lead"\n'
    )
    out = tmp_path / "out"
    total = estimate_comparison(EvalPlan.load(tmp_path / "plan.toml"), out).total
    assert (total.calls, total.free) == (len(ROWS), len(ROWS))
    done = evaluate("run", tmp_path / "plan.toml", "--out", out)
    assert done.returncode == 0, done.stderr
    assert f"now {2 * len(ROWS)} calls" in done.stdout
    assert read_comparison_info(out).named == ["a", "b"]


def test_single_model_shares_its_call_with_a_mixture_it_proposes_in(server, run):
    run(SingleModel.from_agent("single", agent(server)))
    mixture = MoAConfig(layers=[{"m": agent(server)}], aggregator=agent(server, "w"))
    run(mixture, "mixture")
    assert len(server.calls_of("m")) == len(ROWS)


def test_single_model_that_fails_has_no_answer(server, run):
    server.model("m", faults=[403])
    generation = run(SingleModel.from_agent("single", agent(server)))
    assert generation.answered == len(ROWS) - 1
    assert [*generation.failures] == [0]
    assert "scripted failure 403" in generation.failures[0]


def test_folder_of_a_picked_proposal_goes_on_as_a_single_model(server, run, questions):
    """Version 0.1 had `offline:lead` pick the model's only proposal."""
    single = SingleModel.from_agent("single", agent(server))
    generation = run(single)
    path = generation.folder / "manifest.json"
    manifest = json.loads(path.read_text())
    stored = manifest["configuration"]
    stored["layers"] = [{"single": stored["aggregator"]}]
    stored["aggregator"] = Agent(model="offline:lead").model_dump(mode="json")
    stored["aggregation"] = "select"
    path.write_text(json.dumps(manifest))
    asked = len(server.calls)
    assert run(single).answered == len(questions.items)
    assert len(server.calls) == asked


def test_folder_of_a_mixture_is_no_single_models(server, run):
    single = SingleModel.from_agent("single", agent(server))
    run(MoAConfig(layers=[{"m": agent(server)}], aggregator=agent(server)))
    with pytest.raises(ValueError, match=r"another mixture .*layers"):
        run(single)
