"""Mixtures whose calls go through a call store."""

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from moa_graph.config.model import MoAConfig
from moa_graph.evals.call_store import CallStore
from moa_graph.graph.node_names import make_unique_name
from moa_graph.models.adapt import adapt_model, keep_reasoning
from moa_graph.models.agent import Agent, build_model
from moa_graph.models.pricing import is_free_model

_OPTION_NAMES = ("temperature", "top_p", "stop", "max_tokens", "base_url", "reasoning_effort")
_BASE_URL_ATTRIBUTES = (
    "together_api_base",
    "openai_api_base",
)  # fields of a chat model; also set by the environment


REPEAT_STRIDE = 1_000_000
"""Offset of the sample numbers of each repeat: more than the samples of any layer."""


def with_recorded_calls(
    config: MoAConfig, call_store: CallStore, *, repeat: int = 1, **options: Any
) -> MoAConfig:
    """Make all calls of a mixture use the call store.

    Names, system prompts, timeouts and labels stay. Each sample of an agent has its own number.

    Args:
        config: The mixture.
        call_store: The call store.
        repeat: Number of the run, from 1; each has its own samples.
        **options: `temperature` and `max_tokens` of all language models that answer, if a benchmark
            sets them.

    Returns:
        The mixture with its models built.

    Raises:
        ValueError: If a key is missing, or a model cannot be built.
        ImportError: If a provider's package is not installed.
    """

    def wrap(agent: Agent, sample: int = 1) -> Agent:
        if not is_free_model(agent.label):
            agent = agent.model_copy(update=options)
        return wrap_unchanged(agent, sample)

    def wrap_unchanged(agent: Agent, sample: int = 1) -> Agent:
        model = build_model(agent)
        keep_reasoning(adapted := adapt_model(model, hidden=True))  # other systems may need it
        wrapped = call_store.wrap(
            adapted,
            agent.label,
            answer_options(agent, model),
            sample + (repeat - 1) * REPEAT_STRIDE,
        )
        # A second request would wait for the first one: the call store makes equal calls once.
        update = {"model": wrapped, "samples": 1, "timeout": agent.call_timeout, "hedge": None}
        return agent.model_copy(update=update)

    complete = config.with_defaults()
    return complete.model_copy(
        update={
            "layers": [
                {name: wrap(agent, sample) for name, agent, sample in number_samples(layer)}
                for layer in complete.layers
            ],
            "aggregator": wrap(complete.aggregator),
            "fallbacks": [wrap(agent) for agent in complete.fallbacks],
            "voters": complete.voters
            and {name: wrap(agent, n) for name, agent, n in number_samples(complete.voters)},
            "analysis": wrap(complete.analysis)
            if isinstance(complete.analysis, Agent)
            else complete.analysis,
            "router": complete.router
            and complete.router.map_agents(wrap).with_model(wrap_unchanged),
        }
    )


def answer_options(agent: Agent, model: Any = None) -> dict[str, Any]:
    """Return the options that change the answers of an agent, besides its prompt.

    Args:
        agent: The agent.
        model: Its model, if built, which also has a `base_url` of the environment.
    """
    options = {name: value for name in _OPTION_NAMES if (value := getattr(agent, name)) is not None}
    urls = [url for name in _BASE_URL_ATTRIBUTES if (url := getattr(model, name, None))]
    return options | ({"base_url": urls[0]} if urls else {})


def number_samples(layer: Mapping[str, Agent]) -> Iterator[tuple[str, Agent, int]]:
    """Return each sample of each agent of a layer with its node name and its number.

    An agent with two names in a layer is also called twice.
    """
    used_names, numbers = set(layer), dict[tuple[Any, ...], Iterator[int]]()
    for name, agent in layer.items():
        request = (agent.label, agent.system, *(getattr(agent, each) for each in _OPTION_NAMES))
        number = numbers.setdefault(request, count(1))
        for sample in range(agent.samples):
            unique = name if sample == 0 else make_unique_name(name, used_names)
            used_names.add(unique)
            yield unique, agent, next(number)
