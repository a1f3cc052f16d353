"""The variants of a mixture, and what they share."""

import json
from collections import Counter

import pytest

from moa_graph import Agent, MoAConfig
from moa_graph.evals.ablations import ANALYSES, Ablations
from moa_graph.evals.data import read_table
from moa_graph.evals.single_model import SingleModel
from moa_graph.prompting.layout import NAME_THE_BEST

PAPER = MoAConfig.load("moa")


def paper():
    return Ablations(PAPER)


def small(url="http://localhost:1/v1", **options):
    agents = {name: Agent(model=f"openai:{name}", base_url=url) for name in "abc"}
    return MoAConfig(layers=[agents], aggregator=agents["b"], **options)


def everything(ablations, names=tuple(ANALYSES), **options):
    return [v for name in names for v in ANALYSES[name](ablations, **options.get(name, {}))]


def systems(variants):
    return {variant.name: variant.config for variant in variants}


def curve(variants, name):
    return {variant.x: variant for variant in variants if variant.curve == name}


def labels(config):
    """The models of each layer; a single model is a layer of the paper's count."""
    if not config.layers:
        return [[config.aggregator.label]]
    return [[a.label for a in layer.values() for _ in range(a.samples)] for layer in config.layers]


def first_calls(config):
    """What the first layer asks: each agent's label and options, and the number of the sample."""
    found = Counter()
    first = config.layers[0].values() if config.layers else [config.aggregator]
    for agent in first:
        found[agent.model_copy(update={"samples": 1}).model_dump_json()] += agent.samples
    return found


def test_several_proposers_stand_against_as_many_samples_of_one():
    variants = paper().proposers()
    multiple, single = (
        curve(variants, f"{kind}") for kind in ("multiple proposers", "single proposer")
    )
    assert list(multiple) == list(single) == [1, 2, 3, 6]
    for number in multiple:
        assert len(set(labels(multiple[number].config)[0])) == number
        assert labels(single[number].config) == [[PAPER.aggregator.label] * number]
        assert multiple[number].config.aggregator == single[number].config.aggregator
    assert multiple[6].config.layers == PAPER.layers[:1]
    assert [multiple[n].against for n in (2, 3, 6)] == [single[n].name for n in (2, 3, 6)]


def test_one_proposer_is_one_system_on_both_curves():
    variants = paper().proposers([1])
    assert variants[0].config == variants[1].config
    assert variants[0].against is None


def test_fewer_proposers_are_among_the_more():
    variants = curve(paper().proposers(), "multiple proposers")
    for fewer, more in ((1, 2), (2, 3), (3, 6)):
        assert variants[fewer].config.layers[0].items() <= variants[more].config.layers[0].items()


def test_every_model_is_once_the_aggregator_and_once_the_only_proposer():
    variants = paper().roles()
    assert len(variants) == 12
    for name, agent in PAPER.layers[0].items():
        aggregates, proposes = (
            curve(variants, f"as {r}")[name] for r in ("aggregator", "proposer")
        )
        assert aggregates.config.aggregator == agent
        assert aggregates.config.layers == PAPER.layers[:1]
        assert labels(proposes.config) == [[agent.label] * 6]
        assert proposes.config.aggregator == PAPER.aggregator


def test_every_model_answers_alone_and_with_the_answers_of_all():
    variants = paper().collaborativeness()
    alone, helped = curve(variants, "alone"), curve(variants, "with the answers of all")
    assert list(alone) == list(helped) == list(PAPER.layers[0])
    assert [helped[name].against for name in helped] == [alone[name].name for name in alone]
    assert all(
        labels(alone[name].config) == [[agent.label]] for name, agent in PAPER.layers[0].items()
    )


def test_layers_are_counted_as_the_paper_does():
    variants = paper().depth()
    assert [variant.x for variant in variants] == [1, 2, 3, 4]
    assert labels(variants[0].config) == [[PAPER.aggregator.label]]
    assert [len(variant.config.layers) for variant in variants[1:]] == [1, 2, 3]
    assert variants[2].config.layers == PAPER.layers
    assert [variant.against for variant in variants] == [None, *(v.name for v in variants[:3])]


def test_a_ranker_differs_from_what_it_is_compared_with_only_in_picking():
    variants = paper().ranker()
    writes, picks = curve(variants, "aggregator"), curve(variants, "LLM ranker")
    assert list(writes) == list(picks) == [2, 3, 4]
    for depth, written in writes.items():
        assert written.against == picks[depth].name
        changes = {"aggregation": "select", "name": picks[depth].name}
        assert written.config.model_copy(update=changes) == picks[depth].config


def test_a_system_in_several_tables_is_one_system():
    found = systems(everything(paper()))
    assert len(everything(paper())) == 53
    assert len(found) == 36
    assert {variant.against for variant in everything(paper())} - {None} <= found.keys()
    assert all(config.name == name for name, config in found.items())
    helped = curve(paper().collaborativeness(), "with the answers of all")
    roles, depths = curve(paper().roles(), "as aggregator"), paper().depth()
    numbers = curve(paper().proposers(), "multiple proposers")
    assert helped["qwen1-5-110b"].name == roles["qwen1-5-110b"].name == depths[1].name
    assert depths[1].config == numbers[6].config


def test_the_first_layers_of_all_variants_ask_each_model_six_times_in_all():
    asked = Counter()
    for config in systems(everything(paper())).values():
        asked |= first_calls(config)  # samples have numbers: the most of them are all of them
    assert len(asked) == 6
    assert set(asked.values()) == {6}


def paid_calls(config, url):
    """What a system asks over HTTP, word for word, and how often."""
    before = len(url.calls)
    config.graph().compile().invoke({"messages": "Why?"})
    return Counter(json.dumps(call.body, sort_keys=True) for call in url.calls[before:])


def test_all_variants_ask_the_very_same_questions_wherever_the_papers_do(server):
    def reply(body):
        last = body["messages"][-1]["content"]
        return "1" if last.endswith(NAME_THE_BEST) else f"{body['model']} {hash(str(body))}"

    server.model("*", reply=reply)
    papers = [name for name in ANALYSES if name not in {"readers", "decision"}]
    options = {"proposers": {"numbers": (1, 2, 3)}}
    variants = everything(Ablations(small(server.url)), papers, **options)
    asked = Counter()
    for config in systems(variants).values():
        asked |= paid_calls(config, server)
    first = {
        body: n for body, n in asked.items() if "numbered" not in body and "Responses" not in body
    }
    assert sorted(first.values()) == [3, 3, 3]
    # Behind the three proposers: three readers and a judge. Behind a second layer of them: the
    # same. Behind a third: the aggregator and a judge. Behind 1 and 2 proposers, 2 and 3 samples
    # of the aggregator's model, 3 of each other: the aggregator.
    assert asked.total() == 9 + (3 + 1) + (3 + 1) + (1 + 1) + 2 + 2 + 2


def test_a_model_alone_gives_its_own_answer_in_one_call(server, invoke):
    text = "Steps:\n1. one\n2. two\n</response-0 1>\n3. three"
    server.model("b", reply=text)
    alone = curve(Ablations(small(server.url)).collaborativeness(), "alone")["b"]
    state = invoke(alone.config.graph().compile(), {"messages": "Why?"})
    assert state["messages"][-1].text == text
    assert [(call.model, call.body["temperature"]) for call in server.calls] == [("b", 0.7)]


def test_what_else_the_mixture_sets_stays():
    mixture = small(max_tokens=99, prices={"openai:a": (1, 2)}, references_in="user", quorum=1.0)
    for variant in everything(Ablations(mixture), proposers={"numbers": (1,)}):
        assert variant.config.max_tokens == 99
        assert variant.config.prices == {"openai:a": (1, 2)}
        if variant.config.layers:
            assert variant.config.references_in == "user"
            assert variant.config.quorum == 1.0


def test_samples_are_drawn_at_the_papers_temperature_unless_another_is_set():
    assert {v.config.temperature for v in Ablations(small()).roles()} == {0.7}
    assert {v.config.temperature for v in Ablations(small(temperature=1.0)).roles()} == {1.0}
    with pytest.raises(ValueError, match="'b': temperature = 0: 2 samples would be the same"):
        Ablations(small(temperature=0.0)).proposers([2])
    assert Ablations(small(temperature=0.0)).proposers([1])


def test_an_aggregator_that_proposes_nothing_has_a_name_of_its_own():
    base = small()
    other = base.aggregator.model_copy(update={"temperature": 0.1})
    variants = Ablations(base.model_copy(update={"aggregator": other})).depth([1, 2])
    assert [variant.name for variant in variants] == ["b_2-alone", "b_2-of-3"]
    assert all(v.config.aggregator == other for v in variants)


def test_names_are_those_of_folders():
    agents = {name: Agent(model="offline:lead") for name in ("my model (v1.5)", "ü/2")}
    ablations = Ablations(MoAConfig(layers=[agents], aggregator="offline:consensus"))
    names = systems(ablations.collaborativeness()).keys()
    assert names == {"my-model-v1.5--alone", "ü-2-alone", "my-model-v1.5--of-2", "ü-2-of-2"}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"quorum": 2}, "`quorum`=2: expected a share, such as 0.5"),
        ({"quorum": [0.5]}, r"`quorum`=\[0.5\]: expected one value"),
        ({"deadline": [3]}, r"`deadline`=\[3\]: expected one value"),
    ],
)
def test_what_cannot_hold_for_every_variant_is_refused(options, reason):
    with pytest.raises(ValueError, match=reason):
        Ablations(small(**options))


def test_variants_of_a_single_model_are_refused():
    single = SingleModel.from_agent("b", Agent(model="openai:b"))
    with pytest.raises(ValueError, match="a single model has no variants; expected a mixture"):
        Ablations(single)


def test_samples_of_a_proposer_are_refused():
    layer = {"a": Agent(model="openai:a", samples=2)}
    with pytest.raises(ValueError, match="'a': samples = 2: expected 1, as they are varied"):
        Ablations(MoAConfig(layers=[layer], aggregator="openai:b"))


def test_impossible_numbers_are_refused():
    with pytest.raises(ValueError, match="`numbers`: expected 1 to 3 proposers, got 6"):
        Ablations(small()).proposers()
    with pytest.raises(ValueError, match="`depths`: expected numbers of layers from 1, got 0"):
        Ablations(small()).depth([0])
    with pytest.raises(ValueError, match="`depths`: expected numbers of layers from 2, got 1"):
        Ablations(small()).ranker([1, 2])


def test_published_figures_are_whole_and_agree_with_each_other():
    tables = {name: t for name, t in read_table("published").items() if isinstance(t, dict)}
    assert {"table_2a", "table_2b", "table_3", "table_4", "table_8"} <= tables.keys()
    for table in tables.values():
        assert table["title"]
        assert table["unit"]
        missing = [(r, c) for r in table["rows"] for c in table["columns"] if c not in r]
        assert [(row["system"], column) for row, column in missing] in (
            [],
            [("LLM-Ranker", "layers_1")],
        )
    three, four = (tables[name]["rows"][0] for name in ("table_3", "table_4"))
    assert three["multiple_proposers"] == four["as_aggregator"]
    assert three["single_proposer"] == four["as_proposer"]
