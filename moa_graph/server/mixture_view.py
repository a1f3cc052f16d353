"""A mixture as JSON for the page, before a run."""

import os
from collections.abc import Mapping, Sequence

from moa_graph.config.model import MoAConfig
from moa_graph.graph.policy import LayerPolicy
from moa_graph.models.agent import Agent
from moa_graph.server.json_types import JsonObject


def describe_mixture(mixture: MoAConfig) -> JsonObject:
    """Return the layers of a mixture, its models, and its missing keys."""
    policies = zip(mixture.layers, mixture.layer_widths(), mixture.layer_policies(), strict=True)
    return {
        "name": mixture.name,
        "layers": [_describe_layer(*each) for each in policies],
        "aggregator": mixture.aggregator.label,
        "fallbacks": [each.label for each in mixture.fallbacks],
        "aggregation": mixture.aggregation,
        "router": mixture.router is not None,
        "early_stop": mixture.early_stop,
        "max_cost": mixture.max_cost,
        "missing_keys": list_missing_keys(mixture),
    }


def list_missing_keys(mixture: MoAConfig) -> Sequence[str]:
    """Return the environment variables of keys that a mixture needs and that are not set."""
    return [key for key in mixture.agents_by_key() if not os.environ.get(key)]


def _describe_layer(layer: Mapping[str, Agent], width: int, policy: LayerPolicy) -> JsonObject:
    agents = [
        {"name": name, "model": agent.label, "samples": agent.samples}
        for name, agent in layer.items()
    ]
    return {"asked": width, "needed": policy.required_answers(width), "agents": agents}
