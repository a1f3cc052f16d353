"""The presets of present models name models that there are, with options that they take."""

import re
from pathlib import Path

import pytest

from moa_graph import MoAConfig

ROOT = Path(__file__).parents[2]
PRESENT_PRESETS = ["economical", "openai", "self-moa", "together"]


def agents_of(mixture):
    return [*(a for layer in mixture.layers for a in layer.values()), mixture.aggregator]


@pytest.mark.parametrize("preset", PRESENT_PRESETS)
def test_models_of_a_preset_are_among_those_with_a_price(preset):
    """When this fails, a model is gone from the list: see what has come in its place."""
    data = pytest.importorskip("genai_prices.data")
    known = {f"{each.id}:{model.id}" for each in data.providers for model in each.models}
    assert {agent.label for agent in agents_of(MoAConfig.load(preset))} <= known


@pytest.mark.parametrize("page", ["docs/concepts.md", "docs/configuration.md"])
def test_models_of_together_in_examples_are_those_of_its_preset(page):
    named = set(re.findall(r"together:[\w./-]+", (ROOT / page).read_text(encoding="utf-8")))
    assert named
    assert named <= {agent.label for agent in agents_of(MoAConfig.load("together"))}


@pytest.mark.parametrize(
    "layers", [["gpt"], [[{"model": "gpt"}]], "gpt"], ids=["flat", "without a provider", "no list"]
)
def test_models_that_a_mistake_is_told_of_are_those_of_a_preset(layers):
    with pytest.raises(ValueError, match=r"openai:[\w.-]+") as caught:
        MoAConfig(layers=layers, aggregator="offline:lead")
    named = set(re.findall(r"openai:[\w.-]+", str(caught.value)))
    assert named <= {agent.label for agent in agents_of(MoAConfig.load("openai"))}


@pytest.mark.parametrize("preset", PRESENT_PRESETS)
def test_models_of_a_preset_take_its_options(preset, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    monkeypatch.setenv("TOGETHER_API_KEY", "key-mine")
    MoAConfig.load(preset).graph(lazy=False)


def test_presets_hold_reasoning_models_whose_effort_is_set():
    efforts = [a.reasoning_effort for p in PRESENT_PRESETS for a in agents_of(MoAConfig.load(p))]
    assert {"low", "medium"} <= set(efforts)


def test_prompt_can_be_set_in_a_file(tmp_path):
    file = tmp_path / "m.toml"
    file.write_text(
        'prompt = "Merge them in Dutch."\nlayers = [["offline:lead"]]\n'
        'aggregator = "offline:consensus"\n'
    )
    assert MoAConfig.load(file).prompt == "Merge them in Dutch."
