"""`--single NAME=MODEL`."""

import pytest

from moa_graph import MoAConfig
from moa_graph.cli.errors import CommandError
from moa_graph.cli.singles import load_singles

MIXTURE = MoAConfig(
    name="mine",
    agents={"quick": {"model": "openai:q", "base_url": "http://localhost:1/v1"}},
    layers=[{"a": {"model": "offline:lead", "samples": 3}}],
    aggregator="offline:consensus",
)
OTHER = MoAConfig(name="other", layers=[{"a": "offline:bm25"}], aggregator="offline:consensus")


def load(*options, mixtures=(MIXTURE,)):
    return load_singles(options, {each.name: each for each in mixtures})


def test_model_is_named_or_an_agent_of_a_mixture():
    singles = load("t=openai:gpt-4o-mini", "u = quick", "v=a", "w=aggregator")
    assert [each.aggregator.label for each in singles.values()] == [
        *("openai:gpt-4o-mini", "openai:q", "offline:lead", "offline:consensus")
    ]
    assert singles["u"].aggregator.base_url == "http://localhost:1/v1"
    assert singles["v"].aggregator.samples == 1
    assert [each.layers for each in singles.values()] == [[]] * 4


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("titles", "expected NAME=MODEL, such as"),
        ("=openai:x", "expected NAME=MODEL"),
        ("t=", "expected NAME=MODEL"),
        ("mine=openai:x", "a model 'mine' exists already"),
        ("t=quik", r"no agent 'quik' in what is served \(did you mean 'quick'\?\)"),
        ("t:t=openai:x", "name: "),
    ],
)
def test_mistake_is_told_with_what_is_accepted(option, says):
    with pytest.raises(CommandError, match=f"--single {option}: .*{says}"):
        load(option)


def test_name_that_two_mixtures_use_for_different_agents_is_refused():
    with pytest.raises(CommandError, match="two mixtures have different agents 'a'"):
        load("t=a", mixtures=(MIXTURE, OTHER))
    assert load("t=aggregator", mixtures=(MIXTURE, OTHER))["t"].aggregator.label
