"""What decides how deep a mixture goes takes part in what its answers cost."""

import asyncio
import json

import pytest

from moa_graph import MoAConfig
from moa_graph.evals.call_store import CallStore
from moa_graph.evals.datasets import load_benchmark
from moa_graph.evals.generate import answer_benchmark
from moa_graph.evals.resource_use import measure_resource_use, read_turn_calls

PRICE = (1_000_000.0, 1_000_000.0)  # a dollar a token
MODELS = ("a", "b", "w", "easy", "chooser")


def choose(body):
    """Send the first of the questions past the layers."""
    told = json.dumps(body["messages"])
    return json.dumps({"route": "easy" if "question 0" in told else "full"})


@pytest.fixture
def mixture(server, monkeypatch):
    """A mixture whose router is a chat model."""
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    server.model("chooser", reply=choose)
    return MoAConfig.model_validate(
        {
            "layers": [["openai:a", "openai:b"]],
            "aggregator": "openai:w",
            "router": {"model": "openai:chooser", "easy": "openai:easy"},
            "prices": {f"openai:{name}": PRICE for name in MODELS},
        }
    )


@pytest.fixture
def run(tmp_path):
    """Generate into a folder, with its call store."""
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"question {n}"}) + "\n" for n in range(2)))

    def generate(config, out="out", **options):
        with CallStore(tmp_path / "ledger.sqlite") as ledger:
            return asyncio.run(
                answer_benchmark(config, load_benchmark(path), tmp_path / out, ledger, **options)
            )

    return generate


def read_turns(done):
    lines = (done.folder / "proposals.jsonl").read_text(encoding="utf-8").splitlines()
    return [turn for line in lines for turn in json.loads(line)["turns"]]


def test_the_router_counts_in_what_an_answer_takes(mixture, run, server):
    done = run(mixture)
    taken = measure_resource_use(
        [read_turn_calls(turn) for turn in read_turns(done)], mixture.prices
    )
    tokens = done.progress.tokens
    assert taken.cost.known_runs == 2
    assert taken.cost.value * 2 == taken.input_tokens.value * 2 + taken.output_tokens.value * 2
    assert taken.cost.value * 2 == done.progress.spent == tokens
    assert done.progress.calls == len(server.calls) == 6  # two choices, one easy, three others
    manifest = json.loads((done.folder / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["cost"], manifest["tokens"]) == (tokens, tokens)
    assert [turn["decisions"][0]["model"] for turn in read_turns(done)] == ["openai:chooser"] * 2


def test_who_answers_easy_questions_is_asked_once_for_several_systems(mixture, run, server):
    run(mixture)
    again = run(mixture, "again")
    assert len(server.calls_of("easy")) == 1
    assert len(server.calls_of("chooser")) == 2  # one for each question
    assert again.progress.spent == 0
    assert all(turn["decisions"][0]["cost"] for turn in read_turns(again))


def test_a_judge_that_selects_is_held_to_a_form_and_asked_once_for_several_systems(
    mixture, run, server
):
    server.model("w", reply='{"selected": "2"}')
    changes = {"aggregation": "select", "router": None}
    selecting = mixture.model_copy(update=changes)
    done = [run(selecting), run(selecting, "again")]
    assert [turn["answer"] for turn in read_turns(done[0])] == [
        "b on question 0",
        "b on question 1",
    ]
    assert len(server.calls_of("w")) == 2
    assert all("response_format" in call.body for call in server.calls_of("w"))


def test_a_server_that_knows_no_form_is_asked_in_words(mixture, run, server):
    def refuse(body):
        return "2"

    server.model("w", reply=refuse, faults=[400])
    done = run(mixture.model_copy(update={"aggregation": "select", "router": None}))
    assert [turn["answer"] for turn in read_turns(done)] == ["b on question 0", "b on question 1"]
    assert ["response_format" in call.body for call in server.calls_of("w")].count(False) >= 1


def test_a_decision_without_its_tokens_leaves_the_cost_unknown(mixture, run, server):
    server.model("chooser", reply=choose, usage=False)
    done = run(mixture)
    taken = measure_resource_use([read_turn_calls(turn) for turn in read_turns(done)])
    assert taken.cost.known_runs == 0
    assert taken.uncounted == ["openai:chooser"]
    assert done.progress.models_without_usage == ["openai:chooser"]
