"""The proposer node: read, call the model, and store the answer or the failure."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.constants import TAG_NOSTREAM
from langgraph.types import CachePolicy

from moa_graph.graph import deadlines, quorum
from moa_graph.graph.answer_cache import AnswerCache, CacheBackend
from moa_graph.graph.call_errors import capture_errors
from moa_graph.graph.joint_samples import group_samples
from moa_graph.graph.node_runnable import NodeRunnable
from moa_graph.graph.proposer_attempt import ProposerAttempt, proposals_before_retry
from moa_graph.graph.spec import AgentNode, LayerSpec
from moa_graph.graph.state import LayerState
from moa_graph.models.served_context import ask_servers
from moa_graph.prompting.layout import PromptLayout
from moa_graph.sync_async import Flow

AGENT_METADATA_KEY = "moa_agent"
"""Metadata key of a call: the node of its agent."""


def proposer_node(
    agent_node: AgentNode,
    layer_spec: LayerSpec,
    layout: PromptLayout,
    cache_policy: CachePolicy[Any] | None = None,
    attempt_class: "type[ProposerAttempt] | None" = None,
) -> NodeRunnable:
    """Create the node that calls one proposer. It writes a proposal even after a failure."""
    attempt_class = attempt_class or ProposerAttempt
    peers = layer_spec.agent_nodes[: layer_spec.agent_nodes.index(agent_node)]
    answer_cache = AnswerCache(agent_node, peers, layout, cache_policy)
    enter_layer = _layer_deadline_factory(layer_spec)
    join_samples = group_samples(
        agent_node,
        layer_spec.agent_nodes,
        partial(_nodes_in_superstep, agent_node.node, layer_spec),
    )

    def propose(
        state: LayerState, config: RunnableConfig, cache: CacheBackend | None
    ) -> Flow[dict[str, Any]]:
        if agent_node.trim_history and (asking := ask_servers([agent_node.agent])):
            yield asking
        agent_node.build_models()  # a missing key fails the run, not one proposer
        attempt = attempt_class(agent_node, layer_spec, state, layout)
        record_failure = partial(attempt.record_failure, config)
        call_config = with_agent_metadata(agent_node, config)
        with (
            enter_layer(state) as deadline,
            join_samples(agent_node.model, state, config) as model_or_sampler,
            capture_errors(record_failure),
        ):
            entry = answer_cache.find_entry(
                attempt.draft.prompt.messages, cache, bypass_cache=attempt.bypass_cache
            )
            if cached_answer := (yield from entry.get()):
                attempt.record_cached_answer(cached_answer)
                deadline.count_answer()
            else:
                output = yield from attempt.ask(model_or_sampler, deadline, call_config)
                attempt.record_output(output)
                deadline.count_answer()
                yield from entry.store(output, attempt.proposal["seconds"])
        return attempt.to_update()

    return NodeRunnable(propose, agent_node)


def _nodes_in_superstep(node: str, layer_spec: LayerSpec, state: LayerState) -> Sequence[str]:
    """Return the proposers of the layer that run together with one, according to the state."""
    marked = quorum.nodes_marked_for_retry(layer_spec.proposals_in(state))
    return marked if node in marked else [each.node for each in layer_spec.agent_nodes]


def _layer_deadline_factory(
    layer_spec: LayerSpec,
) -> Callable[[LayerState], AbstractContextManager[deadlines.LayerDeadline]]:
    """Return a context manager for a proposer; without time limits, it shares no deadline."""
    if layer_spec.policy.has_no_cutoff:
        alone = deadlines.LayerDeadline(layer_spec.policy, unfinished=1, required_answers=1)
        return lambda _: nullcontext(alone)
    return partial(_enter_layer_deadline, layer_spec)


def _enter_layer_deadline(
    layer_spec: LayerSpec, state: LayerState
) -> AbstractContextManager[deadlines.LayerDeadline]:
    previous = proposals_before_retry(layer_spec, state)
    answered = sum(not p["error"] for p in previous)
    proposer_count = len(previous) or len(layer_spec.agent_nodes)  # dropped ones do not run
    return deadlines.enter_layer(
        layer_spec.number, layer_spec.policy, proposer_count=proposer_count, answered=answered
    )


def with_agent_metadata(agent_node: AgentNode, config: RunnableConfig) -> RunnableConfig:
    """Add the agent to the metadata of a call, and hide its tokens from streams if required."""
    metadata = {**(config.get("metadata") or {}), AGENT_METADATA_KEY: agent_node.node}
    tags = [*(config.get("tags") or ()), *([TAG_NOSTREAM] if agent_node.hide_tokens else [])]
    return {**config, "metadata": metadata, "tags": tags}
