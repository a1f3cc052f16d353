"""Remedies of a turn that failed or ended too early: its mixture with a change.

The rest of the turn runs with the changed mixture. Its checkpoints store that mixture, so that the
turn can be resumed and forked as any other.
"""

from collections.abc import Iterator, Sequence
from itertools import chain

from langgraph.types import StateSnapshot

from moa_graph.config.model import MoAConfig
from moa_graph.graph.depth import find_newest_turn_id
from moa_graph.models.agent import Agent
from moa_graph.runs.stored_configs import load_stored_config, read_stored_config


def list_other_aggregators(mixture: MoAConfig) -> dict[str, Agent]:
    """Return the agents that can replace the aggregator, by `provider:model`.

    They are the other models of the mixture: its fallbacks, proposers, voters and analyst.
    """
    proposers = chain.from_iterable(layer.values() for layer in mixture.layers)
    others = dict[str, Agent]()
    for agent in (*mixture.fallbacks, *proposers, *mixture.helpers):
        others.setdefault(agent.label, agent)
    others.pop(mixture.aggregator.label, None)
    return others


def with_aggregator(mixture: MoAConfig, model: str) -> MoAConfig:
    """Replace the aggregator by another model of the mixture, which is then no fallback.

    Raises:
        ValueError: If the mixture has no such model; the message lists those that it has.
    """
    others = list_other_aggregators(mixture)
    if model not in others:
        names = ", ".join(others) or "none"
        raise ValueError(f"no other model {model!r} in the mixture; expected one of: {names}")
    aggregator = others[model].model_copy(update={"samples": 1, "joint_samples": False})
    fallbacks = [each for each in mixture.fallbacks if each.label != model]
    return mixture.model_copy(update={"aggregator": aggregator, "fallbacks": fallbacks})


def with_answer_limit(mixture: MoAConfig, max_tokens: int) -> MoAConfig:
    """Set the maximum number of tokens of the answer, also for the fallbacks."""

    def limit(agent: Agent) -> Agent:
        takes_limit = agent.takes_option("max_tokens")
        return agent.model_copy(update={"max_tokens": max_tokens}) if takes_limit else agent

    fallbacks = [limit(each) for each in mixture.fallbacks]
    return mixture.model_copy(
        update={"aggregator": limit(mixture.aggregator), "fallbacks": fallbacks}
    )


def with_quorum(mixture: MoAConfig, layer: int, answers: int) -> MoAConfig:
    """Set the required answers of a layer, given by its number from 1."""
    quorums = [policy.quorum for policy in mixture.layer_policies()]
    quorums[layer - 1] = answers
    return mixture.model_copy(update={"quorum": quorums})


def describe_mixture_changes(snapshots: Sequence[StateSnapshot]) -> str | None:
    """Describe how a person changed the mixture within the last turn; `None` if nobody did.

    Args:
        snapshots: The checkpoints up to a step, newest first, without other branches.
    """
    stored = _list_turn_configs(snapshots)
    if not stored or stored[0] == stored[-1]:
        return None
    after, before = load_stored_config(stored[0]), load_stored_config(stored[-1])
    changes = [*_list_changes(before, after)] if before and after else []
    return f"A person {' and '.join(changes)}" if changes else None


def _list_turn_configs(snapshots: Sequence[StateSnapshot]) -> list[str]:
    """Return the stored mixtures of the checkpoints of the last turn, newest first."""
    turns = [
        (find_newest_turn_id(messages), config)
        for snapshot in snapshots
        if (messages := snapshot.values.get("messages"))
        and (config := read_stored_config(snapshot))
    ]
    return [config for turn, config in turns if turn == turns[0][0]]


def _list_changes(before: MoAConfig, after: MoAConfig) -> Iterator[str]:
    if (chosen := after.aggregator.label) != (replaced := before.aggregator.label):
        yield f"had {chosen} write the answer in place of {replaced}"
    elif (limit := after.aggregator.max_tokens) and limit != before.aggregator.max_tokens:
        yield f"had the answer written again with up to {limit:,} tokens"
    policies = zip(before.layer_policies(), after.layer_policies(), strict=False)
    for number, (width, (old, new)) in enumerate(
        zip(after.layer_widths(), policies, strict=False), 1
    ):
        answers, required = new.required_answers(width), old.required_answers(width)
        if answers < required:
            yield f"let layer {number} go on with {answers} of {required} required answers"
