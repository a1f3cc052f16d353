"""Write a mixture as TOML."""

import json
import math
from collections.abc import Mapping
from typing import Any

from moa_graph.config.model import MoAConfig
from moa_graph.models.agent import Agent

_PICKER = "offline:consensus"
"""Model of the aggregator in a single model written as a mixture: returns the only proposal."""


def format_mixture(config: MoAConfig) -> str:
    """Write a mixture such that `MoAConfig.load` reads the same one.

    A single model is written as a mixture with one proposer, whose proposal is the answer without
    another call. Options with their default value are left out.
    """
    options = config.model_dump(mode="json", exclude_defaults=True)
    layers, aggregator = config.layers, config.aggregator
    if not layers:
        layers, aggregator = [{"model": aggregator}], Agent(model=_PICKER)
        options["aggregation"] = "select"
    lines = ["layers = ["]
    for layer in layers:
        agents = (f"{_format_key(name)} = {_format_agent(agent)}" for name, agent in layer.items())
        lines.append(f"    {{ {', '.join(agents)} }},")
    lines += ["]", f"aggregator = {_format_agent(aggregator)}"]
    if config.fallbacks:
        lines.append(f"fallbacks = [{', '.join(map(_format_agent, config.fallbacks))}]")
    table_names = {"layers", "aggregator", "fallbacks"}
    rest = {key: value for key, value in options.items() if key not in table_names}
    tables = {key: value for key, value in rest.items() if isinstance(value, Mapping)}
    plain = [f"{key} = {_format_value(value)}" for key, value in rest.items() if key not in tables]
    for key, table in tables.items():
        lines += ["", f"[{key}]"]
        lines += [f"{_format_key(name)} = {_format_value(value)}" for name, value in table.items()]
    return "\n".join([*plain, *lines]) + "\n"


def _format_agent(agent: Agent) -> str:
    options = agent.model_dump(mode="json", exclude_defaults=True)
    if options.keys() == {"model"}:
        return _format_value(options["model"])
    return _format_value(options)


def _format_key(key: str) -> str:
    is_bare = key.isascii() and key.replace("-", "_").isidentifier()
    return key if is_bare or (key.isascii() and key.isalnum()) else _format_value(key)


def _format_value(value: Any) -> str:
    match value:
        case None:  # `None`, which TOML cannot express
            return "inf"
        case float() if not math.isfinite(value):
            return "inf"
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case bool() | int() | float():
            return json.dumps(value)
        case Mapping():
            pairs = (f"{_format_key(k)} = {_format_value(each)}" for k, each in value.items())
            return f"{{ {', '.join(pairs)} }}"
        case _:
            return f"[{', '.join(map(_format_value, value))}]"
