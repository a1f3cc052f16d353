"""Add the proposals to a request of an agent's model, without changing the state."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langchain.agents.middleware.types import ModelRequest
from langchain_core.messages import AnyMessage, HumanMessage, SystemMessage

from moa_graph.agents.agent_turn import AgentTurn
from moa_graph.agents.conversation import find_opening_message
from moa_graph.graph.prompt_limits import DEFAULT_ANSWER_TOKENS
from moa_graph.graph.references import collect_references
from moa_graph.prompting.layout import (
    REFERENCES_ARE_DATA,
    PromptLayout,
    add_system_text,
    with_added_text,
)
from moa_graph.prompting.tokens import count_message_tokens, fits_token_limit
from moa_graph.prompting.tool_text import AGGREGATOR_TOOL_PROMPT


@dataclass(frozen=True)
class ReferencedRequest:
    """A request with references."""

    request: ModelRequest[Any]
    dropped_reference_chars: int = 0
    """Characters of references that are left out because of a token limit or the context."""


def add_references(
    request: ModelRequest[Any], turn: AgentTurn, nodes: Sequence[str], layout: PromptLayout
) -> ReferencedRequest:
    """Copy a request and add the proposals of these nodes.

    They are added to the user message that started the turn, or to the system message. All requests
    of a turn therefore share a prefix, which the provider's prompt cache can reuse.
    """
    references, seed = collect_references(nodes, {"proposals": turn["proposals"]}, layout)
    if not references:
        return ReferencedRequest(request)
    text, dropped = layout.template_references_text(references, seed), 0
    limit = _token_limit(request, layout)
    if limit is not None and not fits_token_limit(text, limit):
        text, dropped = layout.template_within_limit(references, limit, seed)
    notes = [AGGREGATOR_TOOL_PROMPT] if request.tools else []
    if layout.references_in == "system":
        return ReferencedRequest(_with_system_text(request, *notes, text), dropped)
    notes += [layout.prompt, REFERENCES_ARE_DATA]
    messages = _with_user_text(request.messages, turn.get("opening_id"), text)
    noted = _with_system_text(request, *notes)
    return ReferencedRequest(noted.override(messages=messages), dropped)


def _token_limit(request: ModelRequest[Any], layout: PromptLayout) -> int | None:
    """Return the token limit of the references: the option's, or what the context allows."""
    context = (getattr(request.model, "profile", None) or {}).get("max_input_tokens")
    limits = [layout.max_total_tokens]
    if context is not None:
        system = [request.system_message] if request.system_message else []
        used = count_message_tokens([*system, *request.messages])
        limits.append(max(0, context - used - min(DEFAULT_ANSWER_TOKENS, context // 4)))
    return min((limit for limit in limits if limit is not None), default=None)


def _with_system_text(request: ModelRequest[Any], *texts: str) -> ModelRequest[Any]:
    given = [request.system_message] if request.system_message else []
    [system] = add_system_text(given, "\n\n".join(texts))
    return request.override(system_message=system if isinstance(system, SystemMessage) else None)


def _with_user_text(
    messages: Sequence[AnyMessage], opening_id: str | None, text: str
) -> list[AnyMessage]:
    """Add text to the message that started the turn, or to the first message if that one is gone.

    Middleware that summarizes may have removed it.
    """
    opening = next((each for each in messages if each.id == opening_id), None)
    opening = opening if isinstance(opening, HumanMessage) else find_opening_message(messages)
    if opening is None:
        return [HumanMessage(text), *messages]
    return [with_added_text(each, text) if each is opening else each for each in messages]
