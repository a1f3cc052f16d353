"""A mixture whose calls go through a call store."""

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from moa_graph.config.model import MoAConfig
from moa_graph.evals.call_store import CallStore
from moa_graph.graph.node_names import make_unique_name
from moa_graph.models.adapt import adapt_model
from moa_graph.models.agent import Agent, build_model
from moa_graph.models.pricing import is_free_model

_OPTION_NAMES = ("temperature", "top_p", "stop", "max_tokens", "base_url", "reasoning_effort")
_BASE_URL_ATTRIBUTES = (
    "together_api_base",
    "openai_api_base",
)  # of a chat model; from the environment too


REPEAT_STRIDE = 1_000_000
"""By which the samples of a repeated run are numbered on: more than a layer ever has."""


def with_recorded_calls(
    config: MoAConfig, call_store: CallStore, *, repeat: int = 1, **options: Any
) -> MoAConfig:
    """Have every call of a mixture look into the call store first.

    Names, system prompts, timeouts and labels stay as they are; of an agent that is asked several
    times in a layer, each sample has its own number.

    Args:
        config: The mixture.
        call_store: The call store.
        repeat: The number of the run, from 1: each has samples of its own.
        **options: `temperature` and `max_tokens` of all language models, where a benchmark sets
            them.

    Returns:
        The mixture with its models built.

    Raises:
        ValueError: If a key is missing, or a model cannot be built.
        ImportError: If a provider's package is not installed.
    """

    def wrap(agent: Agent, sample: int = 1) -> Agent:
        if not is_free_model(agent.label):
            agent = agent.model_copy(update=options)
        model = build_model(agent)
        wrapped = call_store.wrap(
            adapt_model(model, hidden=True),
            agent.label,
            answer_options(agent, model),
            sample + (repeat - 1) * REPEAT_STRIDE,
        )
        # A second request would wait for the first one's answer, which is stored once.
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
        }
    )


def answer_options(agent: Agent, model: Any = None) -> dict[str, Any]:
    """Give what changes the answers of an agent, beside what it is asked.

    Args:
        agent: The agent.
        model: Its model, where that is built: it knows a `base_url` of the environment, too.
    """
    given = {name: value for name in _OPTION_NAMES if (value := getattr(agent, name)) is not None}
    urls = [url for name in _BASE_URL_ATTRIBUTES if (url := getattr(model, name, None))]
    return given | ({"base_url": urls[0]} if urls else {})


def number_samples(layer: Mapping[str, Agent]) -> Iterator[tuple[str, Agent, int]]:
    """Give each sample of each agent of a layer its name, as the graph does, and its number.

    An agent that stands there twice under two names is asked twice, too.
    """
    used_names, numbers = set(layer), dict[tuple[Any, ...], Iterator[int]]()
    for name, agent in layer.items():
        request = (agent.label, agent.system, *(getattr(agent, each) for each in _OPTION_NAMES))
        number = numbers.setdefault(request, count(1))
        for sample in range(agent.samples):
            unique = name if sample == 0 else make_unique_name(name, used_names)
            used_names.add(unique)
            yield unique, agent, next(number)
