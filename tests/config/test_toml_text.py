"""A mixture that is written as TOML is read as the same one."""

import pytest

from moa_graph import Agent, MoAConfig
from moa_graph.config.model import preset_names
from moa_graph.config.toml_text import format_mixture
from moa_graph.evals.single_model import SingleModel


def read(tmp_path, config):
    path = tmp_path / "mixture.toml"
    path.write_text(format_mixture(config), encoding="utf-8")
    return MoAConfig.load(path)


@pytest.mark.parametrize("name", preset_names())
def test_presets_are_read_as_they_are_written(tmp_path, name):
    config = MoAConfig.load(name)
    assert read(tmp_path, config).model_dump() == config.model_dump()


def test_options_of_all_kinds_are_read_as_they_are_written(tmp_path):
    config = MoAConfig.model_validate(
        {
            "name": 'a "mixture" é',
            "layers": [
                {"a b": {"model": "openai:x", "stop": ["\n", '"'], "temperature": 0.5}},
                {"a": "openai:y", "b": {"model": "offline:lead", "samples": 3}},
            ],
            "aggregator": {
                "model": "openai:z",
                "api_key_env": "MY_KEY",
                "system": "Be\n\tbrief \x7f.",
            },
            "fallbacks": ["openai:y"],
            "quorum": [1, 0.5],
            "grace": [1.5, None],
            "max_reference_tokens": None,
            "prices": {"openai:x": [1, 2.5]},
            "cache_policy": {"ttl": 60},
            "stream_proposals": True,
        }
    )
    assert read(tmp_path, config).model_dump() == config.model_dump()


def test_a_single_model_is_written_as_a_mixture_that_only_picks(tmp_path):
    single = SingleModel.from_agent("one", Agent(model="offline:lead"))
    mixture = read(tmp_path, single)
    assert [agent.label for agent in mixture.layers[0].values()] == ["offline:lead"]
    assert (mixture.aggregation, mixture.aggregator.label) == ("select", "offline:consensus")
