"""What is known of the models of a mixture, and so of the mixture as a chat model."""

from collections.abc import Sequence
from typing import Any, cast

from langchain_core.language_models import ModelProfile

from moa_graph.graph.builder import GraphSpec
from moa_graph.graph.spec import AgentNode

INPUT_CAPABILITIES = (
    *("text_inputs", "image_inputs", "image_url_inputs", "pdf_inputs", "audio_inputs"),
    "video_inputs",
)
"""What all agents are given."""
OUTPUT_CAPABILITIES = ("text_outputs",)
TOOL_CAPABILITIES = ("tool_calling", "tool_choice", "tool_call_streaming")
"""What the writer of an answer does, unless it selects."""


def build_profile(spec: GraphSpec, *, defer_model_init: bool) -> ModelProfile | None:
    """Say what a mixture can do, of what is known of its models.

    Args:
        spec: Who is asked.
        defer_model_init: Whether models that are not built yet are left so; then nothing is known
            of them
            but the `max_input_tokens` of their `Agent`.

    Returns:
        The sizes are the smallest that are known of the aggregator and its fallbacks, for each
        may write the answer. A capability is named where it is known of all that need it.
        `None` if nothing is known.
    """
    aggregators = [
        _read_agent_profile(agent_node, defer_model_init=defer_model_init)
        for agent_node in spec.aggregators
    ]
    proposers = [
        _read_agent_profile(agent_node, defer_model_init=defer_model_init)
        for layer_spec in spec.layers
        for agent_node in layer_spec.agent_nodes
    ]
    profile: dict[str, Any] = {
        size: min(sizes)
        for size in ("max_input_tokens", "max_output_tokens")
        if (sizes := [each[size] for each in aggregators if each.get(size)])
    }
    profile |= _common_capabilities([*aggregators, *proposers], INPUT_CAPABILITIES)
    profile |= _common_capabilities(
        aggregators,
        OUTPUT_CAPABILITIES
        if spec.aggregation == "select"
        else (*OUTPUT_CAPABILITIES, *TOOL_CAPABILITIES),
    )
    return cast("ModelProfile", profile) or None


def _read_agent_profile(agent_node: AgentNode, *, defer_model_init: bool) -> dict[str, Any]:
    profile = (
        getattr(agent_node.agent.model if defer_model_init else agent_node.model, "profile", None)
        or {}
    )
    own = {
        "max_input_tokens": agent_node.agent.max_input_tokens,
        "max_output_tokens": agent_node.agent.max_tokens,
    }
    return {**profile, **{size: tokens for size, tokens in own.items() if tokens}}


def _common_capabilities(
    profiles: Sequence[dict[str, Any]], names: Sequence[str]
) -> dict[str, bool]:
    return {
        name: all(profile[name] for profile in profiles)
        for name in names
        if all(name in profile for profile in profiles)
    }
