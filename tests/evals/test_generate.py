"""A mixture answers a benchmark."""

import asyncio
import hashlib
import json

import pytest

from moa_graph import MoAConfig
from moa_graph.evals.call_store import CallStore
from moa_graph.evals.datasets import load_benchmark
from moa_graph.evals.generate import answer_benchmark
from moa_graph.evals.resource_use import measure_resource_use, read_turn_calls

PRICE = (1_000_000.0, 1_000_000.0)  # a dollar a token


def reply(body):
    """Answer what depends on all that was read."""
    read = json.dumps([body["messages"], body.get("temperature"), body.get("max_tokens")])
    return f"{body['model']} {hashlib.sha256(read.encode()).hexdigest()[:8]}"


@pytest.fixture
def mixture(server):
    """Make a mixture of models of the local server."""
    server.model("*", reply=reply)

    def make(layers=(("a", "b"),), writer="w", **options):
        agents = {name: f"openai:{name}" for layer in layers for name in (*layer, writer)}
        return MoAConfig.model_validate(
            {
                "agents": {
                    name: {"model": model, "base_url": server.url, "max_retries": 0}
                    for name, model in agents.items()
                },
                "layers": [list(layer) for layer in layers],
                "aggregator": writer,
                "prices": dict.fromkeys(agents.values(), PRICE),
            }
            | options
        )

    return make


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text(
        "".join(json.dumps({"id": f"p{n}", "prompt": f"q{n}"}) + "\n" for n in range(4))
    )
    return load_benchmark(path)


@pytest.fixture
def run(tmp_path):
    """Generate into one folder, with its ledger."""

    def generate_now(config, benchmark, **options):
        out = tmp_path / "out"
        with CallStore(out / "ledger.sqlite") as ledger:
            return asyncio.run(answer_benchmark(config, benchmark, out, ledger, **options))

    return generate_now


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_everything_that_led_to_an_answer_is_kept(mixture, prompts, run, server):
    server.model("a", latency=0.05, reply=reply)
    done = run(mixture([["a", "b"], ["a", "b"]]), prompts, name="mine")
    assert (done.answered, done.failures, done.progress.calls) == (4, {}, 20)
    row = rows(done.folder / "proposals.jsonl")[0]
    (turn,) = row["turns"]
    nodes = ["layer_1_a", "layer_1_b", "layer_2_a", "layer_2_b"]
    assert list(turn["proposals"]) == nodes
    first = turn["proposals"]["layer_1_a"]
    assert first["model"] == "openai:a"
    assert first["content"].startswith("a ")
    assert first["seconds"] >= 0.05
    assert first["cost"] == first["usage"]["total_tokens"] > 0
    assert turn["aggregator"]["cost"] > 0
    (answer, *_) = rows(done.outputs)
    assert answer == {
        "id": row["id"],
        "turns": [turn["instruction"]],
        "answers": [turn["answer"]],
        "generator": "mine",
    }


def test_manifest_tells_how_the_answers_came_about(mixture, prompts, run):
    done = run(mixture(), prompts)
    manifest = json.loads((done.folder / "manifest.json").read_text())
    assert manifest["whole"]
    assert manifest["items"] == {
        "in_the_benchmark": 4,
        "asked_for": 4,
        "answered": 4,
        "failed": 0,
    }
    assert manifest["data"]["sha256"] == prompts.sha256
    assert manifest["configuration"]["aggregator"]["model"] == "openai:w"
    assert manifest["cost"] == manifest["tokens"] == done.progress.tokens == done.progress.spent
    assert manifest["versions"]["moa_graph"]
    assert manifest["calls_of_unknown_cost"] == 0


def test_part_of_a_benchmark_is_called_that(mixture, prompts, run, tmp_path):
    done = run(mixture(), load_benchmark(tmp_path / "prompts.jsonl", limit=2))
    manifest = json.loads((done.folder / "manifest.json").read_text())
    assert not manifest["whole"]
    done = run(mixture(), prompts)
    assert json.loads((done.folder / "manifest.json").read_text())["whole"]
    assert done.progress.total == 2


def test_unknown_cost_is_never_zero(mixture, prompts, run):
    done = run(mixture(prices={}), prompts)
    manifest = json.loads((done.folder / "manifest.json").read_text())
    assert manifest["cost"] is None
    assert manifest["calls_of_unknown_cost"] == 12
    assert manifest["cost_at_least"] == 0
    assert done.progress.format_spent() == "cost unknown"


def test_what_is_answered_is_not_asked_again(mixture, prompts, run, server):
    first = run(mixture(), prompts)
    before = (first.folder / "proposals.jsonl").read_text()
    again = run(mixture(), prompts)
    assert len(server.calls) == 12
    assert again.progress.total == 0
    assert again.answered == 4
    assert (first.folder / "proposals.jsonl").read_text() == before


def test_failure_is_no_answer_and_is_asked_again(mixture, prompts, run, server):
    server.model("w", reply=reply, faults=[None, 500, None, "empty"])
    first = run(mixture(), prompts, concurrency=1)
    assert first.answered == 2
    assert list(first.failures) == ["p1", "p3"]
    assert "scripted failure 500" in first.failures["p1"]
    assert [row["id"] for row in rows(first.outputs)] == ["p0", "p2"]
    kept = {row["id"]: row for row in rows(first.folder / "proposals.jsonl")}
    assert kept["p1"]["turns"][0]["answer"] is None
    assert kept["p1"]["turns"][0]["proposals"]["layer_1_a"]["content"]
    asked = len(server.calls)
    again = run(mixture(), prompts)
    assert (again.answered, again.failures) == (4, {})
    assert [call.model for call in server.calls[asked:]] == ["w", "w"]
    assert [row["id"] for row in rows(again.outputs)] == ["p0", "p1", "p2", "p3"]


def test_failed_proposer_is_told_beside_the_answer(mixture, prompts, run, server):
    server.model("a", always=500)
    done = run(mixture(), prompts)
    assert done.answered == 4
    for row in rows(done.folder / "proposals.jsonl"):
        assert "scripted failure" in row["turns"][0]["proposals"]["layer_1_a"]["error"]


def test_systems_share_the_calls_that_are_the_same(mixture, prompts, run, server):
    run(mixture(), prompts, name="one")
    run(mixture(writer="v"), prompts, name="two")
    run(mixture([["a", "b", "c"]]), prompts, name="three")
    models = [call.model for call in server.calls]
    assert {model: models.count(model) for model in "abcvw"} == {
        "a": 4,
        "b": 4,
        "c": 4,
        "v": 4,
        "w": 8,
    }


def test_each_sample_is_a_call_of_its_own(prompts, run, server):
    agent = {"model": "openai:a", "base_url": server.url, "temperature": 0.7}
    config = MoAConfig(
        layers=[{"s": {**agent, "samples": 3}, "t": agent}], aggregator="offline:consensus"
    )
    done = run(config, prompts)
    assert len(server.calls) == 16
    turn = rows(done.folder / "proposals.jsonl")[0]["turns"][0]
    assert list(turn["proposals"]) == ["layer_1_s", "layer_1_s_2", "layer_1_s_3", "layer_1_t"]


def test_agents_are_asked_as_the_mixture_says(prompts, run, server):
    agent = {"model": "openai:a", "base_url": server.url, "system": "Be brief."}
    layer = {"own": {**agent, "temperature": 0.1, "max_tokens": 7}, "plain": agent}
    config = MoAConfig(layers=[layer], aggregator=agent, temperature=0.9, max_tokens=9)
    run(config, prompts)
    sent = {(call.body["temperature"], call.body["max_tokens"]) for call in server.calls}
    assert sent == {(0.1, 7), (0.9, 9)}
    assert all(call.messages[0]["content"].startswith("Be brief.") for call in server.calls)


def test_random_tags_do_not_keep_a_stored_answer_from_being_found(mixture, prompts, run, server):
    config = mixture(references_in="user")
    run(config, prompts, name="one")
    asked = len(server.calls)
    again = run(config, prompts, name="two")
    assert len(server.calls) == asked
    assert again.progress.spent == 0


def test_mixture_is_aggregated_anew_without_paying_for_the_proposals(mixture, prompts, run, server):
    first = run(mixture(), prompts, name="first")
    asked = len(server.calls)
    journal = first.folder / "proposals.jsonl"
    recorded = {name: f"recorded:{journal}#layer_1_{name}" for name in "ab"}
    config = mixture([["a"]], writer="v").model_dump()
    again = MoAConfig.model_validate(config | {"layers": [recorded]})
    done = run(again, prompts, name="again")
    assert [call.model for call in server.calls[asked:]] == ["v"] * 4
    before, after = (
        {row["id"]: row["turns"][0]["proposals"] for row in rows(each.folder / "proposals.jsonl")}
        for each in (first, done)
    )
    for item in before:
        for node, proposal in before[item].items():
            assert after[item][node]["content"] == proposal["content"]
            assert after[item][node]["usage"] == proposal["usage"]
            assert after[item][node]["cost"] is None
    assert done.progress.calls == 4
    assert "proposals.jsonl" in str(
        json.loads((done.folder / "manifest.json").read_text())["recorded"]
    )


def test_other_mixture_does_not_mix_its_answers_in(mixture, prompts, run):
    run(mixture(), prompts, name="same")
    with pytest.raises(ValueError, match=r"it differs in: layers, aggregator\); choose another"):
        run(mixture([["a"]], writer="v"), prompts, name="same")


def test_other_data_do_not_mix_their_answers_in(mixture, prompts, run, tmp_path):
    run(mixture(), prompts)
    with (tmp_path / "prompts.jsonl").open("a") as file:
        file.write('{"prompt": "another"}\n')
    with pytest.raises(ValueError, match="it differs in: data"):
        run(mixture(), load_benchmark(tmp_path / "prompts.jsonl"))


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".x"])
def test_name_that_is_no_folder_is_refused(mixture, prompts, run, name):
    with pytest.raises(ValueError, match="`name`="):
        run(mixture(name="a/b"), prompts, name=name)


def test_alpaca_eval_has_its_own_format(mixture, run, tmp_path):
    data = tmp_path / "reference.json"
    reference = [
        {"dataset": "koala", "instruction": f"q{n}", "output": "r", "generator": "gpt"}
        for n in range(3)
    ]
    data.write_text(json.dumps(reference))
    done = run(mixture(), load_benchmark("alpaca_eval", data), name="mine")
    assert done.outputs.name == "model_outputs.json"
    outputs = json.loads(done.outputs.read_text())
    assert [list(row) for row in outputs] == [["dataset", "instruction", "output", "generator"]] * 3
    assert [row["instruction"] for row in outputs] == ["q0", "q1", "q2"]
    assert {row["generator"] for row in outputs} == {"mine"}
    assert {row["dataset"] for row in outputs} == {"koala"}
    assert all(row["output"].startswith("w ") for row in outputs)
    assert not json.loads((done.folder / "manifest.json").read_text())["whole"]


def test_flask_has_its_own_format(mixture, run, tmp_path):
    data = tmp_path / "flask.jsonl"
    data.write_text('{"idx": 5, "instruction": "q", "answer": "r", "skill": ["Factuality"]}\n')
    done = run(mixture(), load_benchmark("flask", data), name="mine")
    (row,) = rows(done.folder / "mine.jsonl")
    assert list(row) == ["question_id", "text"]
    assert row["question_id"] == 5


@pytest.fixture
def mt_bench(tmp_path):
    categories = ["writing", "stem", "math", "other"]
    questions = [
        {"question_id": 81 + n, "category": category, "turns": [f"first {n}", f"second {n}"]}
        for n, category in enumerate(categories)
    ]
    questions[3]["required_temperature"] = 0.4
    path = tmp_path / "question.jsonl"
    path.write_text("".join(json.dumps(question) + "\n" for question in questions))
    return load_benchmark("mt_bench", path)


def test_mt_bench_runs_the_whole_mixture_at_each_turn(mixture, run, mt_bench, server):
    done = run(mixture(temperature=0.9, max_tokens=50), mt_bench, name="mine")
    lines = rows(done.folder / "mine.jsonl")
    assert [line["question_id"] for line in lines] == [81, 82, 83, 84]
    assert list(lines[0]) == ["question_id", "answer_id", "model_id", "choices", "tstamp"]
    first, second = lines[0]["choices"][0]["turns"]
    calls = [call for call in server.calls if "second 0" in str(call.messages)]
    assert sorted(call.model for call in calls) == ["a", "b", "w"]
    for call in calls:
        history = [m for m in call.messages if m["role"] != "system"]
        assert [(m["role"], m["content"]) for m in history] == [
            ("user", "first 0"),
            ("assistant", first),
            ("user", "second 0"),
        ]
    assert second.startswith("w ")


def test_calls_that_are_cut_off_are_counted_and_end_no_budget(mixture, prompts, run, server):
    server.model("b", until=lambda: False)
    server.model("a", until=lambda: len(server.calls_of("b")) >= len(server.calls_of("a")))
    hasty = mixture(quorum=1, grace=0)
    done = run(hasty, prompts, concurrency=1, max_cost=1e6)
    assert (done.answered, done.progress.stopped) == (4, None)
    assert (done.progress.calls, done.progress.unpriced_failures) == (12, 4)
    assert done.progress.format_spent().startswith("at least $")
    manifest = json.loads((done.folder / "manifest.json").read_text())
    assert (manifest["calls_of_unknown_cost"], manifest["cost"]) == (4, None)
    assert manifest["cost_at_least"] == done.progress.spent
    (turn,) = rows(done.folder / "proposals.jsonl")[0]["turns"]
    cut_off = turn["proposals"]["layer_1_b"]
    assert (cut_off["usage"], cut_off["cost"], cut_off["may_be_billed"]) == (None, None, True)


def test_budget_takes_calls_that_are_cut_off_for_the_most_expensive_one(
    mixture, prompts, run, server
):
    server.model("b", until=lambda: False)
    server.model("a", until=lambda: len(server.calls_of("b")) >= len(server.calls_of("a")))
    hasty = mixture(quorum=1, grace=0)
    whole = run(hasty, prompts, concurrency=1, name="whole").progress
    budget = whole.spent + 3 * whole.highest_call
    again = run(
        hasty.model_copy(update={"temperature": 0.5}),
        prompts,
        concurrency=1,
        name="again",
        max_cost=budget,
    )
    assert (again.progress.done, again.progress.left) == (3, 1)
    assert "3 failed calls of unknown cost counted as $" in again.progress.stopped


def test_aggregator_that_a_fallback_replaced_is_counted(mixture, prompts, run, server):
    server.model("w", always="empty")
    fallback = {"model": "openai:a", "base_url": server.url, "max_retries": 0, "system": "Go on."}
    done = run(mixture(fallbacks=[fallback]), prompts)
    assert (done.answered, done.progress.calls, done.progress.unpriced) == (4, 16, 0)
    manifest = json.loads((done.folder / "manifest.json").read_text())
    assert manifest["cost"] == manifest["tokens"] == done.progress.tokens == done.progress.spent
    (turn,) = rows(done.folder / "proposals.jsonl")[0]["turns"]
    [failed] = turn["failed_writers"]
    assert failed["model"] == "openai:w"
    assert failed["cost"] == failed["usage"]["total_tokens"] > 0
    calls = read_turn_calls(turn)
    assert [each.model for each in calls if each.error] == ["openai:w"]
    use = measure_resource_use([calls], dict.fromkeys(["openai:a", "openai:b", "openai:w"], PRICE))
    assert use.cost.value == sum(each.usage["total_tokens"] for each in calls)


def test_mt_bench_sets_temperatures_and_length(mixture, run, mt_bench, server):
    run(mixture(temperature=0.9, max_tokens=50), mt_bench)
    sent = {
        (call.messages[-1]["content"][-1], call.body["temperature"], call.body["max_tokens"])
        for call in server.calls
    }
    assert sent == {("0", 0.7, 1024), ("1", 0.1, 1024), ("2", 0.0, 1024), ("3", 0.4, 1024)}


def test_second_turn_that_failed_is_asked_again_alone(mixture, run, mt_bench, server):
    server.model("w", reply=reply, faults=[None, 500])
    first = run(mixture(), mt_bench, concurrency=1, max_cost=0.01)
    assert list(first.failures) == [81]
    assert rows(first.folder / "moa.jsonl") == []
    asked = len(server.calls)
    again = run(mixture(), mt_bench)
    assert again.answered == 4
    known = [call for call in server.calls[asked:] if "first 0" in str(call.messages)]
    assert [call.model for call in known] == ["w"]


def test_line_that_a_kill_cut_off_is_no_harm(mixture, prompts, run, server):
    done = run(mixture(), prompts)
    path = done.folder / "proposals.jsonl"
    path.write_text(path.read_text()[:-40])
    again = run(mixture(), prompts)
    assert (again.answered, again.progress.calls) == (4, 0)
    assert len(server.calls) == 12
    assert len(rows(path)) == 4


def test_aggregator_that_cannot_be_reached_costs_three_items_of_proposals(
    mixture, run, server, tmp_path
):
    (tmp_path / "many.txt").write_text("".join(f"question {n}\n" for n in range(40)))
    server.model("w", always=500)
    with pytest.raises(ValueError, match=r"the first 3 failed alike.*scripted failure 500"):
        run(mixture(), load_benchmark(tmp_path / "many.txt"), concurrency=8)
    assert len(server.calls) == 3 * 3
    server.model("w", reply=reply)
    assert run(mixture(), load_benchmark(tmp_path / "many.txt")).answered == 40


def test_items_that_fail_alike_after_one_that_was_answered_stop_nothing(
    mixture, run, server, tmp_path
):
    (tmp_path / "many.txt").write_text("".join(f"question {n}\n" for n in range(8)))
    server.model("w", reply=reply, faults=[500, 500, None, *[500] * 5])
    done = run(mixture(), load_benchmark(tmp_path / "many.txt"), concurrency=8)
    assert (done.answered, len(done.failures)) == (1, 7)
