"""What is known of the models of a mixture, and so of the mixture as a chat model."""

from collections.abc import Sequence
from typing import Any, cast

from langchain_core.language_models import ModelProfile

from moa_graph.graph.builder import Plan
from moa_graph.graph.spec import Seat

INPUTS = (
    *("text_inputs", "image_inputs", "image_url_inputs", "pdf_inputs", "audio_inputs"),
    "video_inputs",
)
"""What all agents are given."""
OUTPUTS = ("text_outputs",)
TOOLS = ("tool_calling", "tool_choice", "tool_call_streaming")
"""What the writer of an answer does, unless it selects."""


def profile_of(plan: Plan, *, lazy: bool) -> ModelProfile | None:
    """Say what a mixture can do, of what is known of its models.

    Args:
        plan: Who is asked.
        lazy: Whether models that are not built yet are left so; then nothing is known of them
            but the `max_input_tokens` of their `Agent`.

    Returns:
        The sizes are the smallest that are known of the aggregator and its fallbacks, for each
        may write the answer. A capability is named where it is known of all that need it.
        `None` if nothing is known.
    """
    writers = [_known(seat, lazy=lazy) for seat in plan.writers]
    proposers = [_known(seat, lazy=lazy) for row in plan.rows for seat in row.seats]
    profile: dict[str, Any] = {
        size: min(known)
        for size in ("max_input_tokens", "max_output_tokens")
        if (known := [each[size] for each in writers if each.get(size)])
    }
    profile |= _common([*writers, *proposers], INPUTS)
    profile |= _common(writers, OUTPUTS if plan.final == "select" else (*OUTPUTS, *TOOLS))
    return cast("ModelProfile", profile) or None


def _known(seat: Seat, *, lazy: bool) -> dict[str, Any]:
    profile = getattr(seat.agent.model if lazy else seat.model, "profile", None) or {}
    own = {
        "max_input_tokens": seat.agent.max_input_tokens,
        "max_output_tokens": seat.agent.max_tokens,
    }
    return {**profile, **{size: tokens for size, tokens in own.items() if tokens}}


def _common(profiles: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, bool]:
    return {
        name: all(profile[name] for profile in profiles)
        for name in names
        if all(name in profile for profile in profiles)
    }
