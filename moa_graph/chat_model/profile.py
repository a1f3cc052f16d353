"""The `profile` of a chat model, derived from the models of its mixture."""

from collections.abc import Sequence
from typing import Any, cast

from langchain_core.language_models import ModelProfile

from moa_graph.graph.graph_spec import GraphSpec
from moa_graph.graph.spec import AgentNode

INPUT_CAPABILITIES = (
    *("text_inputs", "image_inputs", "image_url_inputs", "pdf_inputs", "audio_inputs"),
    "video_inputs",
)
"""Input capabilities, required of all agents."""
OUTPUT_CAPABILITIES = ("text_outputs",)
TOOL_CAPABILITIES = ("tool_calling", "tool_choice", "tool_call_streaming")
"""Output capabilities, required of the models that write the answer."""


def build_profile(spec: GraphSpec, *, defer_model_init: bool) -> ModelProfile | None:
    """Derive the profile of a mixture from the known profiles of its models.

    Args:
        spec: The graph specification.
        defer_model_init: Whether to skip models that are not built yet. Of these, only the
            `max_input_tokens` of their `Agent` is known.

    Returns:
        The sizes are the smallest known ones of the aggregator and its fallbacks, because each may
        write the answer. A capability is included if it is known for all models that need it.
        `None` if nothing is known.
    """
    aggregators = [
        _read_agent_profile(agent_node, defer_model_init=defer_model_init)
        for agent_node in spec.writers
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
        OUTPUT_CAPABILITIES if spec.picks else (*OUTPUT_CAPABILITIES, *TOOL_CAPABILITIES),
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
