"""What an answer takes, and what is worth it."""

import json

import pytest

from moa_graph import Agent, MoAConfig, create_moa
from moa_graph.evals.data import read_table
from moa_graph.evals.report.cells import explain_unknowns
from moa_graph.evals.resource_use import (
    PartialMean,
    default_prices,
    measure_resource_use,
    model_size,
    pareto_front,
    read_turn_calls,
    teraflops,
)
from moa_graph.runs.agent_call import AgentCall
from moa_graph.runs.record import read_run

QWEN_110B = "together:Qwen/Qwen1.5-110B-Chat"
QWEN_72B = "together:Qwen/Qwen1.5-72B-Chat"
WIZARD = "together:microsoft/WizardLM-2-8x22B"


def call(model, read=100, written=10, *, layer=1, error=None, usage=True):
    tokens = {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
    return AgentCall(
        node=f"layer_{layer}_{model}",
        layer=layer,
        agent=model,
        model=model,
        text="",
        error=error,
        started=None,
        seconds=1.0,
        dropped_reference_chars=0,
        usage=tokens if usage else None,
        cost=None,
    )


def test_tokens_and_cost_are_means_over_the_instructions():
    runs = [
        [call(QWEN_110B, 1000, 100), call(QWEN_72B, 2000, 200, layer=2)],
        [call(QWEN_110B, 3000, 300), call(QWEN_72B, 4000, 400, layer=2)],
    ]
    budget = measure_resource_use(runs)
    assert budget.instructions == 2
    assert budget.input_tokens == PartialMean(5000, 2)
    assert budget.output_tokens == PartialMean(500, 2)
    first, second = (1100 * 1.8 + 2200 * 0.9) / 1e6, (3300 * 1.8 + 4400 * 0.9) / 1e6
    assert budget.cost.value == pytest.approx((first + second) / 2)


def test_an_unknown_price_makes_the_cost_unknown_and_is_named():
    runs = [[call(QWEN_110B), call("vllm:mine", layer=2)], [call(QWEN_110B)]]
    budget = measure_resource_use(runs)
    assert budget.cost.known_runs == 1
    assert budget.cost.value == pytest.approx(110 * 1.8 / 1e6)
    assert budget.unpriced == ["vllm:mine"]
    assert measure_resource_use([[call("vllm:mine")]]).cost == PartialMean(None, 0)


def test_unknown_tokens_make_tokens_and_cost_unknown_and_the_model_is_named():
    budget = measure_resource_use([[call(QWEN_110B, usage=False)]])
    assert budget.input_tokens == budget.output_tokens == budget.cost == PartialMean(None, 0)
    assert budget.teraflops == PartialMean(None, 0)
    assert budget.unpriced == []
    assert budget.uncounted == [QWEN_110B]
    assert explain_unknowns(budget) == f"tokens not stated: {QWEN_110B}"


def test_a_failed_call_counts_with_what_is_known_of_it():
    failed = [call(QWEN_110B, error="empty"), call(QWEN_110B, error="cut off", usage=False)]
    budget = measure_resource_use([[*failed, call(QWEN_72B, layer=2)]])
    assert budget.cost.value == pytest.approx((110 * 1.8 + 110 * 0.9) / 1e6)
    assert budget.failed == 1


def test_nothing_costs_nothing_only_if_nobody_was_asked():
    assert measure_resource_use([]).cost == PartialMean(None, 0)
    assert measure_resource_use([[]]).cost == PartialMean(None, 0)
    assert measure_resource_use([[call("offline:lead", usage=False)]]).cost == PartialMean(0.0, 1)
    recorded = "recorded:outputs.json"
    assert measure_resource_use([[call(recorded)]]).cost == PartialMean(None, 0)
    assert measure_resource_use([[call(recorded)]]).unpriced == [recorded]
    assert measure_resource_use([[call(recorded)]], {recorded: (0, 0)}).cost == PartialMean(0.0, 1)


def test_prices_of_ones_own_come_before_the_tables_and_the_tables_before_those_of_others():
    assert default_prices()[QWEN_110B] == [1.8, 1.8]
    assert measure_resource_use([[call(QWEN_110B)]], {QWEN_110B: (0, 1)}).cost.value == 10 / 1e6
    mixtral = "together:mistralai/Mixtral-8x22B-Instruct-v0.1"  # genai-prices says 2.40
    assert measure_resource_use([[call(mixtral)]]).cost.value == pytest.approx(110 * 1.2 / 1e6)
    assert "openai:gpt-4o" not in default_prices()  # its price has changed
    assert measure_resource_use([[call("openai:gpt-4o", 10**6, 0)]]).cost.value == pytest.approx(
        2.5
    )


def teraflops_per_token(layers):
    """One token of each model, as the paper counts."""
    return teraflops(
        call(model, written=1, layer=number)
        for number, models in enumerate(layers, 1)
        for model in models
    )


def test_the_largest_model_of_each_layer_counts():
    layer = [WIZARD, QWEN_110B, QWEN_72B]
    per_token = 2 * (111 + 111 + 72) / 1000
    assert teraflops_per_token([layer, layer, [QWEN_72B]]) == pytest.approx(per_token)
    assert teraflops_per_token([[WIZARD], [WIZARD]]) == pytest.approx(4 * 39 / 1000)


def test_an_unknown_size_makes_the_count_unknown():
    assert teraflops_per_token([[QWEN_110B, "vllm:mine"], [QWEN_110B]]) is None
    assert teraflops_per_token([]) is None
    assert teraflops_per_token([["offline:lead"], [QWEN_72B]]) == pytest.approx(0.144)
    budget = measure_resource_use([[call("vllm:mine"), call(QWEN_110B)]])
    assert budget.teraflops == PartialMean(None, 0)
    assert budget.unsized == ["vllm:mine"]


def test_each_call_counts_by_the_tokens_that_it_wrote():
    calls = [
        call(QWEN_110B, written=100),
        call(WIZARD, written=1000),
        call(QWEN_72B, written=10**6, error="cut off"),
        call(QWEN_72B, written=50, layer=2),
    ]
    assert teraflops(calls) == pytest.approx(2 * (39 * 1000 + 72 * 50) / 1000)
    assert teraflops(reversed(calls)) == teraflops(calls)
    assert teraflops([]) is None


def test_the_size_of_gpt_4_is_marked_as_an_assumption():
    size = model_size("openai:gpt-4o-2024-05-13")
    assert size.assumed
    assert "8 x 220B" in size.source
    assert not model_size(QWEN_110B).assumed
    assert measure_resource_use([[call("openai:gpt-4o-2024-05-13")]]).assumed == [
        "openai:gpt-4o-2024-05-13"
    ]
    assert model_size("openai:gpt-4o") is None  # which one it is changes


def test_who_serves_a_model_makes_no_difference_to_its_size():
    assert model_size("openai:qwen1.5-110b-chat") == model_size(QWEN_110B)
    assert model_size("Qwen/Qwen1.5-110B-Chat") == model_size(QWEN_110B)


@pytest.mark.parametrize("preset", ["moa", "moa-lite", "moa-gpt-4o"])
def test_sizes_and_prices_of_the_papers_models_are_known(preset):
    config = MoAConfig.load(preset)
    layers = [[agent.label for agent in layer.values()] for layer in config.layers]
    layers.append([config.aggregator.label])
    assert teraflops_per_token(layers) > 0
    assert {model for layer in layers for model in layer} <= default_prices().keys()


def test_the_counts_stand_to_each_other_as_in_the_papers_figure():
    """Its values were read from a plot, so that they are true to a few percent."""
    read = {row["system"]: row["teraflops"] for row in read_table("published")["figure_5"]["rows"]}

    def counted(preset):
        config = MoAConfig.load(preset)
        layers = [[agent.label for agent in layer.values()] for layer in config.layers]
        return teraflops_per_token([*layers, [config.aggregator.label]])

    lite, gpt = counted("moa-lite"), teraflops_per_token([["openai:gpt-4o-2024-05-13"]])
    assert lite / counted("moa") == pytest.approx(read["MoA-Lite"] / read["MoA"], rel=0.05)
    assert gpt / counted("moa") == pytest.approx(read["GPT-4o"] / read["MoA"], rel=0.05)


def test_each_row_of_the_tables_has_a_source():
    for table in ("parameters", "prices"):
        assert all(row["source"] for row in read_table("models")[table])
    assert all(row["date"] for row in read_table("models")["prices"])
    assert all(row["active"] <= row["total"] for row in read_table("models")["parameters"])
    for row in read_table("models")["parameters"]:
        assert row["names"] == [name.lower().rpartition("/")[2] for name in row["names"]]


def test_a_real_run_has_a_budget(server, invoke):
    server.model("a", reply="one two three")
    server.model("b", reply="one two")
    a, b = (Agent(model=f"openai:{name}", base_url=server.url) for name in "ab")
    state = invoke(create_moa([{"a": a}], b).compile(), {"messages": "q"})
    budget = measure_resource_use(
        [read_run(state).calls], {"openai:a": (1, 10), "openai:b": (1, 10)}
    )
    usage = state["messages"][-1].response_metadata["moa"]["usage"]
    assert budget.output_tokens == PartialMean(5, 1)
    assert budget.cost.value == pytest.approx((usage["input_tokens"] + 50) / 1e6)


def test_a_turn_that_was_kept_has_the_same_budget():
    usage = {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}
    proposal = {"layer": 1, "model": QWEN_110B, "content": "x", "error": None, "usage": usage}
    failed = {**proposal, "content": "", "error": "down", "usage": None}
    turn = {
        "answer": "y",
        "proposals": {"layer_1_a": proposal, "layer_1_b": failed},
        "aggregator": {"model": QWEN_72B, "unread": 0, "usage": usage, "seconds": 1.0},
    }
    calls = read_turn_calls(json.loads(json.dumps(turn)))
    assert [(c.node, c.agent, c.layer, c.text) for c in calls] == [
        ("layer_1_a", "a", 1, "x"),
        ("layer_1_b", "b", 1, ""),
        ("aggregator", "aggregator", 2, "y"),
    ]
    expected = [call(QWEN_110B), call(QWEN_110B, error="down", usage=False)]
    assert measure_resource_use([calls]) == measure_resource_use(
        [[*expected, call(QWEN_72B, layer=2)]]
    )
    assert read_turn_calls({**turn, "answer": None, "aggregator": None}) == calls[:2]


def test_the_front_leaves_out_what_is_no_better_and_no_cheaper():
    points = {
        "cheap": (1, 10),
        "worse": (2, 9),
        "better": (2, 20),
        "as good but dearer": (3, 20),
        "best": (10, 30),
        "dearer": (11, 30),
    }
    assert pareto_front(points) == ["cheap", "better", "best"]


def test_systems_that_are_level_are_both_on_the_front():
    assert pareto_front({"b": (1, 5), "a": (1, 5), "c": (1, 4)}) == ["b", "a"]


def test_what_is_unknown_is_neither_on_the_front_nor_keeps_others_off():
    nan = float("nan")
    points = {"a": (None, 99), "b": (1, None), "c": (nan, 99), "d": (2, nan), "e": (5, 1)}
    assert pareto_front(points) == ["e"]
    assert pareto_front({}) == []
