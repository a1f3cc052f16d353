"""Baselines of a mixture: one model at the same cost, and the mixture without a proposer.

As in `ablations`, each function returns systems. They keep the options of the mixture, so that
equal requests are sent once.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from moa_graph.config.model import MoAConfig
from moa_graph.evals.ablations import Variant
from moa_graph.evals.single_model import SingleModel
from moa_graph.graph.node_names import slugify_label
from moa_graph.graph.option_checks import check_can_vote
from moa_graph.models.agent import Agent
from moa_graph.models.pricing import Prices, estimate_cost

MAJORITY = "offline:majority"
"""Agent that selects the most frequent answer, without cost."""
MAX_SAMPLES = 64
_MIXTURE_ONLY = (
    *("early_stop", "shadow", "router", "max_cost", "analysis", "analysis_only"),
    *("voters", "finalists"),
)
"""Options of further parts of a mixture, which a single model does not have."""
_QUESTION_TOKENS, _ANSWER_TOKENS = 300, 500  # tokens of a typical question and answer


def list_equal_cost(
    config: MoAConfig, name: str, model: str | None = None, samples: Sequence[int] = ()
) -> list[Variant]:
    """Return systems of one model at the cost of a mixture.

    These are each proposer of the first layer alone, which includes the strongest one, and samples
    of one model at about the same cost: with a vote (self-consistency), with a selection by the
    mixture's aggregator (best of n), and with aggregation (Self-MoA).

    Args:
        config: The mixture.
        name: Its name in the plan.
        model: The single model: the name of one of its agents, or `provider:model`; by default
            that of the aggregator.
        samples: Number of samples; by default the number with the same cost by list prices, or
            the number of proposals if these are unknown.

    Raises:
        ValueError: If it is not a mixture, there is no such model, or all samples would be equal.
    """
    _check_mixture(config)
    agent_name, agent = _find_agent(config, model)
    alone = dict(config.layers[0]) | {agent_name: agent}
    numbers = samples or [match_samples(config, agent)]
    if max(numbers) > 1 and 0 in {agent.temperature, config.temperature}:
        raise ValueError(
            f"model {agent_name!r}: temperature = 0: samples would be the same; expected one above "
            "0"
        )
    return [
        *(
            Variant("one model", each, _single_model(f"{name}-{each}-alone", one, config), name)
            for each, one in alone.items()
        ),
        *(
            Variant(curve, f"{number} x {agent_name}", variant, name)
            for number in numbers
            for curve, variant in _list_sampled(config, name, agent_name, agent, number)
        ),
    ]


def _list_sampled(
    config: MoAConfig, name: str, agent_name: str, agent: Agent, number: int
) -> Iterator[tuple[str, MoAConfig]]:
    """Return the systems with so many samples."""
    layer = {agent_name: agent.model_copy(update={"samples": number, "joint_samples": False})}
    voting = {"aggregation": "select", "aggregator": Agent(model=MAJORITY), "fallbacks": []}
    changes: Mapping[str, tuple[str, dict[str, Any]]] = {
        "self-consistency": ("vote-of", voting),
        "best of n": ("best-of", {"aggregation": "select"}),
        "Self-MoA": ("self-moa", {"aggregation": "synthesize"}),
    }
    fields = MoAConfig.model_fields
    everything = {
        name: fields[name].get_default(call_default_factory=True) for name in _MIXTURE_ONLY
    }
    for curve, (part, update) in changes.items():
        full_name = f"{name}-{part}-{number}-{agent_name}"
        yield curve, _with_layers(config, full_name, [layer], **everything, **update)


def list_leave_one_out(config: MoAConfig, name: str) -> list[Variant]:
    """Return a mixture without each of the proposers of its last layer.

    Only the last layer lacks the proposer, so that no proposer is called again.

    Args:
        config: The mixture.
        name: Its name in the plan.

    Raises:
        ValueError: If its last layer has one proposer, or too few could vote without one.
    """
    _check_mixture(config)
    last = config.layers[-1]
    if len(last) < 2:
        raise ValueError("the last layer has one proposer; expected two or more, to leave one out")
    remaining = {left_out: {n: a for n, a in last.items() if n != left_out} for left_out in last}
    if config.aggregation == "vote" and config.voters is None:
        check_can_vote(min(sum(a.samples for a in layer.values()) for layer in remaining.values()))
    return [
        Variant(
            "without",
            left_out,
            _with_layers(config, f"{name}-without-{left_out}", [*config.layers[:-1], layer]),
            name,
        )
        for left_out, layer in remaining.items()
    ]


def list_first_layers(config: MoAConfig, name: str) -> list[Variant]:
    """Return a mixture with only its first layers, as after an early stop.

    Args:
        config: The mixture.
        name: Its name in the plan.

    Raises:
        ValueError: If it has one layer.
    """
    depth = len(config.layers)
    if depth < 2:
        raise ValueError("it has one layer of proposers; expected two or more, to stop early")
    parts = [
        _with_layers(config, f"{name}-first-{count}", config.layers[:count])
        for count in range(1, depth)
    ]
    return [Variant("first layers", count, part, name) for count, part in enumerate(parts, 1)]


def match_samples(config: MoAConfig, agent: Agent) -> int:
    """Return the number of aggregated samples of a model that cost as much as a mixture.

    It uses list prices and typical lengths of questions and answers. If a price is unknown, it is
    the number of proposals.
    """
    proposals = sum(config.layer_widths())
    costs = [_cost_of_call(config, each, reads) for each, reads in _list_calls(config)]
    call, fixed = (_cost_of_call(config, each, 0) for each in (agent, config.aggregator))
    answer_cost = _cost_of_answer(config, config.aggregator)
    known_costs = [cost for cost in costs if cost is not None]
    if (
        len(known_costs) < len(costs)
        or call is None
        or fixed is None
        or answer_cost is None
        or not call + answer_cost
    ):
        return proposals
    return max(1, min(MAX_SAMPLES, round((sum(known_costs) - fixed) / (call + answer_cost))))


def _list_calls(config: MoAConfig) -> Iterator[tuple[Agent, int]]:
    """Yield the agents that are called, with the number of answers that each reads."""
    reads = 0
    for layer, width in zip(config.layers, config.layer_widths(), strict=True):
        for agent in layer.values():
            yield from [(agent, reads)] * agent.samples
        reads = width
    yield from _list_answer_calls(config, reads)


def _list_answer_calls(config: MoAConfig, width: int) -> Iterator[tuple[Agent, int]]:
    """Yield the agents after the proposals, with the number of texts that each reads."""
    if config.analysis:
        yield config.analysis if isinstance(config.analysis, Agent) else config.aggregator, width
    if config.aggregation == "vote":
        voters = config.voters or config.layers[-1]
        for agent in voters.values():
            yield from [(agent, width)] * agent.samples
        if not config.picks_proposal:
            yield config.aggregator, config.finalists
    elif config.aggregation == "sequential":
        size = config.references_per_window
        for first in range(0, width, size):  # later windows also read the intermediate answer
            yield config.aggregator, min(size, width - first) + bool(first)
    else:
        yield config.aggregator, width


def _cost_of_call(config: MoAConfig, agent: Agent, reads: int) -> float | None:
    return _price_call(
        config.prices, agent, _QUESTION_TOKENS + reads * _ANSWER_TOKENS, _ANSWER_TOKENS
    )


def _cost_of_answer(config: MoAConfig, agent: Agent) -> float | None:
    """Return the cost of reading one more answer."""
    return _price_call(config.prices, agent, _ANSWER_TOKENS, 0)


def _price_call(
    prices: Prices, agent: Agent, input_tokens: int, output_tokens: int
) -> float | None:
    usage = {
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
    }
    return estimate_cost(agent.label, usage, prices)


def _check_mixture(config: MoAConfig) -> None:
    if not config.layers:
        raise ValueError("a single model has no variants; expected a mixture")


def _find_agent(config: MoAConfig, model: str | None) -> tuple[str, Agent]:
    agents = {name: agent for layer in config.layers for name, agent in layer.items()}
    if model is None:
        named = [name for name, agent in agents.items() if agent == config.aggregator]
        name = named[0] if named else slugify_label(config.aggregator.label)
        return name, config.aggregator
    if model in agents:
        return model, agents[model].model_copy(update={"samples": 1})
    by_label = {agent.label: (name, agent) for name, agent in agents.items()}
    if model in by_label:
        return by_label[model]
    if ":" not in model:
        raise ValueError(
            f"`model`={model!r}: expected 'provider:model', or one of {', '.join(agents)}"
        )
    return slugify_label(model), Agent(model=model)


def _single_model(name: str, agent: Agent, config: MoAConfig) -> MoAConfig:
    one = agent.model_copy(update={"samples": 1, "joint_samples": False})
    return SingleModel.from_agent(_plain_name(name), one, config)


def _with_layers(
    config: MoAConfig, name: str, layers: Sequence[Mapping[str, Agent]], **changes: Any
) -> MoAConfig:
    """Return a mixture with other layers, at most as many, and their options."""
    update = {"name": _plain_name(name), "layers": [dict(layer) for layer in layers], **changes}
    for option in ("quorum", "grace", "deadline"):
        if isinstance(value := getattr(config, option), list):
            update[option] = value[: len(layers)]
    if len(layers) == 1:  # the aggregator always reads all
        update["references_per_reader"] = None
    changed = config.model_copy(update=update)
    fitted: dict[str, Any] = {"quorum": _fit_quorum(changed)}
    if changed.aggregation == "vote":
        fitted["finalists"] = min(changed.finalists, changed.layer_widths()[-1])
    return changed.model_copy(update=fitted)


def _fit_quorum(config: MoAConfig) -> Any:
    """Return the quorum, limited to the number of proposers."""
    quorum, widths = config.quorum, config.layer_widths()
    if isinstance(quorum, list):
        pairs = zip(quorum, widths, strict=True)
        return [min(each, width) if isinstance(each, int) else each for each, width in pairs]
    return min(quorum, *widths, quorum) if isinstance(quorum, int) else quorum


def _plain_name(name: str) -> str:
    """Return a name that is valid for a folder."""
    return re.sub(r"[^\w.+-]+", "-", name).lstrip(".+-")
