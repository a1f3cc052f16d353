"""How long the prompt of an agent may be: known context lengths, and what refusals report."""

import json
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AnyMessage
from langchain_core.runnables.base import RunnableBindingBase

from moa_graph.graph.spec import AgentNode
from moa_graph.graph.state import LayerState
from moa_graph.models.traits import ModelLimits
from moa_graph.prompting.refusals import ContextOverflow
from moa_graph.prompting.tokens import count_message_tokens, count_tokens

DEFAULT_ANSWER_TOKENS = 4096  # tokens reserved for an answer without `max_tokens`

REFUSAL_MARGIN = 1.1
"""Margin when a refused prompt is shortened: there is only one more attempt."""

_ASSUMED_EXCESS = 2.0  # of a refused prompt, if the provider does not report its tokens


def find_limits(agent_node: AgentNode, state: LayerState) -> ModelLimits:
    """Return the prompt limits of an agent: the stored ones, if any, or the current ones."""
    return (state.get("model_limits") or {}).get(agent_node.node) or current_limits(agent_node)


def current_limits(agent_node: AgentNode) -> ModelLimits:
    """Return the prompt limits of an agent that this process knows now."""
    traits = agent_node.traits
    profile = getattr(agent_node.model, "profile", None) or {}
    context_sizes = (agent_node.agent.max_input_tokens, traits.context_tokens)
    context = min(filter(None, context_sizes), default=None) or profile.get("max_input_tokens")
    return {"context_tokens": context, "token_ratio": traits.token_ratio}


def estimate_prompt(agent_node: AgentNode, messages: Sequence[AnyMessage]) -> int:
    """Estimate the tokens of a prompt, including the tools bound to its model."""
    model, tokens = agent_node.model, count_message_tokens(messages)
    while isinstance(model, RunnableBindingBase):
        if tools := model.kwargs.get("tools"):
            tokens += count_tokens(json.dumps(tools, default=str))
        model = model.bound
    return tokens


def max_prompt_tokens(agent_node: AgentNode, limits: ModelLimits) -> int | None:
    """Return the estimated tokens that a prompt may have; `None` for no limit."""
    if (context := limits["context_tokens"]) is None:
        return None
    return int((context - _answer_tokens(agent_node, context)) / limits["token_ratio"])


def _answer_tokens(agent_node: AgentNode, context: int) -> int:
    max_tokens: Any = agent_node.agent.max_tokens
    model = agent_node.model
    while not max_tokens and isinstance(model, RunnableBindingBase):
        max_tokens, model = model.kwargs.get("max_tokens"), model.bound
    max_tokens = max_tokens or getattr(model, "max_tokens", None)
    if isinstance(max_tokens, int) and 0 < max_tokens < context:
        return max_tokens
    return min(DEFAULT_ANSWER_TOKENS, context // 4)


def limits_after_refusal(
    overflow: ContextOverflow, limits: ModelLimits, agent_node: AgentNode, refused_tokens: int
) -> ModelLimits:
    """Return the prompt limits after a prompt of so many estimated tokens was refused."""
    context_sizes = [n for n in (overflow.context_tokens, limits["context_tokens"]) if n]
    if overflow.prompt_tokens:
        counted = float(overflow.prompt_tokens)
    elif context_sizes:
        counted = max(refused_tokens * limits["token_ratio"], min(context_sizes) * _ASSUMED_EXCESS)
    else:
        counted = refused_tokens * limits["token_ratio"]
    context = min(context_sizes, default=int(counted / _ASSUMED_EXCESS))
    if overflow.answer_tokens:  # the request may reserve more than is known here
        context -= max(0, overflow.answer_tokens - _answer_tokens(agent_node, context))
    return {"context_tokens": context, "token_ratio": counted / refused_tokens * REFUSAL_MARGIN}
