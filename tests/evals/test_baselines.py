"""What a mixture is held against: one model at the same cost, and itself without a proposer."""

import pytest

from moa_graph import MoAConfig
from moa_graph.evals.analyses import AnalysedMixture, list_variants
from moa_graph.evals.baselines import list_equal_cost, list_leave_one_out, match_samples

AGENTS = {"a": "openai:a", "b": "openai:b", "c": "openai:c"}
PRICES = {f"openai:{name}": (1.0, 2.0) for name in "abcw"}


def mixture(**options):
    table = {"layers": [["a", "b", "c"]], "aggregator": "openai:w", "agents": AGENTS}
    return MoAConfig.model_validate(table | {"prices": PRICES} | options)


def by_curve(variants):
    found = {}
    for each in variants:
        found.setdefault(each.curve, []).append(each)
    return found


def test_one_model_is_sampled_for_the_money_of_the_mixture():
    found = by_curve(list_equal_cost(mixture(), "mix", "b"))
    assert [each.name for each in found["one model"]] == [
        "mix-a-alone",
        "mix-b-alone",
        "mix-c-alone",
    ]
    [self_moa], [best] = found["Self-MoA"], found["best of n"]
    assert self_moa.config.layers[0]["b"].samples == 3
    assert (self_moa.x, self_moa.against) == ("3 x b", "mix")
    assert self_moa.config.aggregator == mixture().aggregator
    assert best.config.aggregation == "select"
    assert best.config.layers == self_moa.config.layers


def test_a_model_that_costs_a_tenth_is_sampled_more():
    prices = PRICES | {"openai:b": (0.1, 0.2), "openai:w": (0.1, 0.2)}
    config = mixture(prices=prices)
    agent = config.layers[0]["b"]
    call = 0.1 * 300 + 0.2 * 500
    whole = 2 * 10 * call + call + 0.1 * (300 + 1500) + 0.2 * 500
    assert match_samples(config, agent) == round((whole - call) / (call + 0.1 * 500)) == 16


def test_without_prices_there_are_as_many_samples_as_proposals():
    config = MoAConfig.model_validate(
        {"layers": [["openai:x-1", "openai:x-2"]] * 2, "aggregator": "openai:x-3"}
    )
    assert match_samples(config, config.aggregator) == 4


def test_by_default_the_model_is_that_of_the_aggregator():
    found = by_curve(list_equal_cost(mixture(aggregator="openai:a"), "mix", samples=[2, 8]))
    assert [each.x for each in found["Self-MoA"]] == ["2 x a", "8 x a"]
    found = by_curve(list_equal_cost(mixture(), "mix", samples=[2]))
    assert "mix-w-alone" in [each.name for each in found["one model"]]


def test_one_model_is_not_routed_nor_stopped_nor_analysed():
    config = mixture(layers=[["a", "b"]] * 2, early_stop=0.9, analysis=True, max_cost=1.0)
    for each in by_curve(list_equal_cost(config, "mix", "a", [2]))["self-consistency"]:
        changed = each.config
        assert (changed.early_stop, changed.analysis, changed.max_cost) == (None, False, None)


def test_a_model_of_ones_own_can_be_the_one():
    found = by_curve(list_equal_cost(mixture(), "mix", "openai:gpt-9", [2]))
    assert found["Self-MoA"][0].config.layers[0]["gpt-9"].label == "openai:gpt-9"


@pytest.mark.parametrize(
    ("options", "model", "cause"),
    [
        ({}, "nobody", "`model`='nobody': expected 'provider:model', or one of a, b, c"),
        ({"temperature": 0.0}, None, "samples would be the same"),
    ],
)
def test_what_cannot_be_sampled_is_refused(options, model, cause):
    with pytest.raises(ValueError, match=cause):
        list_equal_cost(mixture(**options), "mix", model, [4])


def test_each_proposer_of_the_last_layer_is_left_out():
    config = mixture(layers=[["a", "b"], ["a", "b", "c"]], quorum=[2, 3], grace=[1.0, 2.0])
    without = {each.x: each.config for each in list_leave_one_out(config, "mix")}
    assert [list(layer) for layer in without["b"].layers] == [["a", "b"], ["a", "c"]]
    assert without["b"].quorum == [2, 2]
    assert without["b"].name == "mix-without-b"


def refusal(variant):
    """Say why a system of a plan is no mixture; a single model always is one."""
    try:
        if isinstance(variant.config, MoAConfig):
            variant.config.graph(lazy=True)
    except ValueError as error:
        return f"{variant.name}: {error}"
    return None


@pytest.mark.parametrize("analysis", ["equal_cost", "leave_one_out", "early_stop"])
@pytest.mark.parametrize(
    "options",
    [
        {"aggregation": "vote", "finalists": 4},
        {"aggregation": "vote", "voters": ["b"]},
        {"aggregation": "sequential", "references_per_window": 2},
        {"analysis": True, "analysis_only": True},
        {"references_per_reader": 2, "order": "shuffled"},
        {"early_stop": 0.9, "shadow": True, "max_cost": 1.0},
        {"router": {"model": "openai:a", "easy": "openai:b"}},
        {"quorum": [4, 4], "grace": [1.0, 2.0]},
    ],
)
def test_each_variant_of_a_mixture_is_one_that_can_be_made(analysis, options):
    config = mixture(layers=[["a", "b", "c", "a"]] * 2, **options)
    variants = list_variants(analysis, AnalysedMixture(config, "mix"))
    assert [cause for each in variants if (cause := refusal(each))] == []


@pytest.mark.parametrize("analysis", ["depth", "roles", "collaborativeness", "ranker"])
def test_each_ablation_of_a_mixture_with_options_can_be_made(analysis):
    for options in (
        {"aggregation": "vote", "finalists": 4},
        {"analysis": True, "analysis_only": True},
        {"references_per_reader": 2},
    ):
        config = mixture(layers=[["a", "b", "c", "a"]] * 2, **options)
        variants = list_variants(analysis, AnalysedMixture(config, "mix"))
        assert [cause for each in variants if (cause := refusal(each))] == []


def test_three_voters_cannot_do_without_one():
    with pytest.raises(ValueError, match="the last layer has 2; expected 3 or more, or `voters`"):
        list_leave_one_out(mixture(aggregation="vote"), "mix")
    assert list_leave_one_out(mixture(aggregation="vote", voters=["b"]), "mix")


def test_a_proposer_that_is_alone_cannot_be_left_out():
    with pytest.raises(ValueError, match="has one proposer; expected two or more"):
        list_leave_one_out(mixture(layers=[["a"]]), "mix")


def test_what_is_said_of_each_layer_fits_a_single_one():
    config = mixture(layers=[["a", "b"], ["a", "b", "c"]], quorum=[2, 3], deadline=[1.0, 2.0])
    found = by_curve(list_equal_cost(config, "mix", "a", [2]))
    assert (found["Self-MoA"][0].config.quorum, found["Self-MoA"][0].config.deadline) == (
        [2],
        [1.0],
    )


@pytest.mark.parametrize(
    ("options", "reads"),
    [
        ({}, [4]),
        ({"aggregation": "sequential", "references_per_window": 3}, [3, 2]),
        ({"aggregation": "sequential", "references_per_window": 2}, [2, 3]),
        ({"aggregation": "vote"}, [4, 4, 4, 4]),
        ({"aggregation": "vote", "finalists": 2}, [4, 4, 4, 4, 2]),
        ({"analysis": True}, [4, 4]),
    ],
)
def test_calls_that_make_an_answer_count_in_what_a_mixture_costs(options, reads):
    prices = {"openai:a": (1.0, 1.0)}
    layer = {name: {"model": "openai:a"} for name in "pqrs"}
    aggregator = {"model": "openai:a", "max_tokens": 7}  # another agent than the proposers
    config = MoAConfig(layers=[layer], aggregator=aggregator, prices=prices, **options)
    question, answer = 300, 500
    usual = 4 * (question + answer) + sum(question + n * answer + answer for n in reads)
    alone = question + answer
    expected = round((usual - alone) / (alone + answer))
    assert match_samples(config, config.aggregator) == expected
