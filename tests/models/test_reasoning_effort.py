"""How long a reasoning model thinks, and what such a model does not take."""

import pytest

from moa_graph import Agent, MoAConfig, create_moa
from moa_graph.models.agent import build_model


@pytest.fixture(autouse=True)
def _keys(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    monkeypatch.setenv("TOGETHER_API_KEY", "key-mine")


@pytest.mark.parametrize("provider", ["openai", "together"])
def test_effort_reaches_the_wire(provider, server, invoke):
    agent = Agent(model=f"{provider}:a", base_url=server.url, reasoning_effort="low")
    invoke(build_model(agent), "q")
    assert server.calls[0].body["reasoning_effort"] == "low"
    invoke(build_model(Agent(model=f"{provider}:a", base_url=server.url)), "q")
    assert "reasoning_effort" not in server.calls[1].body


def test_openai_itself_is_told_the_effort(server, invoke, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    agent = Agent(model="openai:gpt-6-luna", reasoning_effort="max", max_tokens=7)
    invoke(build_model(agent), "q")
    body = server.calls[0].body
    assert (body["reasoning_effort"], body["max_completion_tokens"]) == ("max", 7)


@pytest.mark.parametrize("model", ["offline:lead", "recorded:stored.json"])
def test_effort_is_refused_where_nothing_thinks(model):
    with pytest.raises(ValueError, match="`reasoning_effort`='low' has no effect on"):
        Agent(model=model, reasoning_effort="low")


def test_effort_is_refused_by_a_provider_without_it(model):
    with pytest.raises(ValueError, match="`reasoning_effort`='low' has no effect on 'fake'"):
        Agent(model=model(), reasoning_effort="low")


def test_effort_is_refused_by_a_model_that_does_not_reason():
    agent = Agent(model="openai:gpt-4.1", reasoning_effort="low")
    with pytest.raises(ValueError, match=r"no effect on 'openai:gpt-4\.1'; this model with"):
        create_moa([[agent]], "openai:gpt-4.1")


def test_level_that_a_model_does_not_know_is_refused_with_those_that_it_knows():
    agent = Agent(model="openai:gpt-5-mini", reasoning_effort="max")
    with pytest.raises(ValueError, match=r"'max': .* accepts one of: minimal, low, medium, high"):
        build_model(agent)


def test_unknown_level_is_refused_at_once():
    with pytest.raises(ValueError, match="reasoning_effort"):
        Agent(model="openai:gpt-6-luna", reasoning_effort="hard")


@pytest.mark.parametrize("model", ["gpt-5-mini", "gpt-5.4", "gpt-5.5"])
def test_temperature_is_refused_by_a_model_that_takes_none(model):
    agent = Agent(model=f"openai:{model}", temperature=0.7)
    with pytest.raises(ValueError, match=f"`temperature`=0.7 has no effect on 'openai:{model}'"):
        build_model(agent)


@pytest.mark.parametrize(
    "options",
    [
        {"model": "openai:gpt-4.1", "temperature": 0.7},
        {"model": "openai:gpt-5.4", "temperature": 0.7, "reasoning_effort": "none"},
        {"model": "openai:gpt-6-luna", "temperature": 1.0},
        {"model": "openai:unknown-to-langchain", "temperature": 0.7, "reasoning_effort": "low"},
    ],
)
def test_temperature_that_a_model_takes_is_sent(options, server, invoke, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    invoke(build_model(Agent(**options)), "q")
    assert server.calls[0].body["temperature"] == options["temperature"]


def test_file_sets_the_effort(tmp_path):
    file = tmp_path / "m.toml"
    agent = '{ model = "openai:gpt-6-luna", reasoning_effort = "low" }'
    file.write_text(f'layers = [[{agent}, "offline:lead"]]\naggregator = {agent}\n')
    mixture = MoAConfig.load(file)
    assert mixture.aggregator.reasoning_effort == "low"
    changed = mixture.override(reasoning_effort="high")
    proposers = changed.layers[0].values()
    assert [each.reasoning_effort for each in proposers] == ["high", None]
    assert changed.aggregator.reasoning_effort == "high"


def test_command_sets_the_effort(moa, server, tmp_path):
    file = tmp_path / "m.toml"
    agent = f'{{ model = "openai:a", base_url = "{server.url}" }}'
    file.write_text(f"layers = [[{agent}]]\naggregator = {agent}\n")
    done = moa("ask", "q", "--config", file, "--reasoning-effort", "low", "--thread", "t")
    assert done.returncode == 0, done.stderr
    assert {call.body["reasoning_effort"] for call in server.calls} == {"low"}
    refused = moa("ask", "q", "--thread", "t", "--reasoning-effort", "low")
    assert "add --preset or --config" in refused.stderr
    assert moa("ask", "q", "-c", file, "--reasoning-effort", "hard").returncode == 2
