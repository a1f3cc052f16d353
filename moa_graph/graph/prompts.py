"""What an agent reads: the conversation and the references, within the limits of its model."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import AnyMessage, HumanMessage, SystemMessage, trim_messages
from langchain_core.runnables.base import RunnableBindingBase

from moa_graph.errors import MoAError
from moa_graph.graph.error_causes import error_with_causes, reduce_error
from moa_graph.graph.references import collect_references, read_references
from moa_graph.graph.spec import AgentNode
from moa_graph.graph.state import LayerState, RefusedPrompt
from moa_graph.models.traits import ModelLimits
from moa_graph.prompting.history import has_tool_traffic, portable_history
from moa_graph.prompting.layout import PromptLayout, add_system_text
from moa_graph.prompting.refusals import ContextOverflow
from moa_graph.prompting.surrogates import replace_in_messages
from moa_graph.prompting.tokens import count_message_tokens, count_tokens, fits_token_limit
from moa_graph.prompting.tool_pairs import pair_calls_with_results
from moa_graph.prompting.tool_text import describe_tools_in_text, truncate_tool_results
from moa_graph.redaction import redacted_message

DEFAULT_ANSWER_TOKENS = 4096  # tokens that are kept free for an answer where no bound is set

_PROVIDERS_THAT_WANT_TOOLS = {"anthropic", "aws"}
"""They refuse calls and results of tools in a conversation where no tool is bound."""

_SAFETY = 1.1  # by how much more than needed a refused prompt is cut: there is one more attempt
_UNTOLD_EXCESS = 2.0  # how much too long a refused prompt is taken to be where nobody says


class ContextExceededError(MoAError, ContextOverflowError):
    """A prompt does not fit its model, and there is nothing in it that could be cut.

    It has the type of the refusal, too.
    """

    def __init__(self, text: str) -> None:
        Exception.__init__(self, text)  # no other type's, which may want more

    def __reduce__(self) -> tuple[Any, ...]:
        return reduce_error(self, ContextExceededError, str(self))


def original_failure(error: Exception) -> Exception:
    """Give the error of a model itself, if it is of the type that says that a prompt is too long.

    A `ContextExceededError` stands for it with the remedy in its text.
    """
    cause = error.__cause__
    is_told = isinstance(error, ContextExceededError) and isinstance(cause, ContextOverflowError)
    return cause if is_told and isinstance(cause, Exception) else error


class Prompt(NamedTuple):
    """What an agent reads."""

    messages: Sequence[AnyMessage]
    dropped_reference_chars: int = 0
    """Characters of the references that are left out: too long together, or for the context."""
    dropped_messages: int = 0
    """Messages of earlier turns that are left out: too long for the context."""


class PromptDraft:
    """What an agent is to read; after a refusal of its length, less."""

    def __init__(self, agent_node: AgentNode, state: LayerState, layout: PromptLayout) -> None:
        """Build the prompt.

        Raises:
            ValueError, LookupError: As `build_prompt`.
        """
        self._agent_node, self._state, self._layout = agent_node, state, layout
        self._limits = find_limits(agent_node, state)
        self.overflow: ContextOverflow | None = None
        """What its model said of a prompt that was too long, and was shortened."""
        self.prompt = self._build_within_limits()

    def shorten(self, overflow: ContextOverflow, error: Exception) -> None:
        """Build the prompt anew for a model that refused it.

        Args:
            overflow: What the refusal says.
            error: The refusal.

        Raises:
            ContextExceededError: If there is nothing in it that could be cut.
        """
        refused_tokens = estimate_prompt(self._agent_node, self.prompt.messages)
        self._limits = _limits_after(overflow, self._limits, self._agent_node, refused_tokens)
        if self.overflow is None:
            self.prompt = self._build_within_limits()
            tokens = estimate_prompt(self._agent_node, self.prompt.messages)
            room = _prompt_room(self._agent_node, self._limits)
            if tokens < refused_tokens and room is not None and tokens <= room * _SAFETY:
                self.overflow = overflow
                return
        raise error_with_causes([error], ContextExceededError, self._describe_excess(error))

    @property
    def refused_prompt(self) -> RefusedPrompt | None:
        """What its model said of a prompt that was too long, to be stored."""
        if not (overflow := self.overflow):
            return None
        return {"prompt_tokens": overflow.prompt_tokens, "context_tokens": overflow.context_tokens}

    def _build_within_limits(self) -> Prompt:
        return build_prompt(self._agent_node, self._state, self._layout, limits=self._limits)

    def _describe_excess(self, error: Exception) -> str:
        """Say why a prompt was refused, and what to do."""
        agent, remedies = self._agent_node.agent, ["shorten the conversation"]
        message_tokens = count_message_tokens(self.prompt.messages)
        tool_tokens = estimate_prompt(self._agent_node, self.prompt.messages) - message_tokens
        if tool_tokens:
            tokens = int(tool_tokens * self._limits["token_ratio"])
            advice = f"bind fewer tools, whose definitions take about {tokens:,} tokens"
            remedies.insert(0 if tool_tokens > message_tokens else 1, advice)
        if agent.max_tokens:
            remedies.append(f"lower `max_tokens`={agent.max_tokens}, the room for the answer")
        if self._agent_node.layer > 1 and not agent.max_input_tokens:
            remedies.append("set `max_input_tokens` to the size of the model's context")
        remedies.append("give the model a larger context")
        said = redacted_message(error, *self._agent_node.api_keys)
        return f"{said}; the prompt does not fit: {', or '.join(remedies)}"


def build_prompt(
    agent_node: AgentNode,
    state: LayerState,
    layout: PromptLayout,
    *,
    limits: ModelLimits | None = None,
    truncate: bool = True,
) -> Prompt:
    """Assemble what an agent reads: the conversation, its own system prompt, the references.

    Args:
        agent_node: The agent.
        state: What it reads.
        layout: Where the references go.
        limits: How long the prompt may be; by default as the state or this process knows it.
        truncate: Whether to cut what is too long; without, nothing is left out.

    Returns:
        The messages, and what had to be left out.

    Raises:
        ValueError: If there are no messages.
        LookupError: If the state has none of the proposals that the agent reads.
    """
    messages = _conversation_with_system(agent_node, state["messages"])
    limits = (limits or find_limits(agent_node, state)) if truncate else None
    room = limits and _prompt_room(agent_node, limits)
    references, seed, text = _read_references(agent_node, state, layout, required=truncate)
    count = len(messages)
    if agent_node.trim_history and room is not None:
        messages = _trim_turns(agent_node, messages, room - min(count_tokens(text), room // 2))
    dropped_messages, dropped_chars = count - len(messages), 0
    if agent_node.layer == 1:
        return Prompt(messages, dropped_chars, dropped_messages)
    free = None if room is None else max(0, room - estimate_prompt(agent_node, messages))
    max_tokens = _find_lower(free, layout.max_total_tokens if truncate else None)
    if max_tokens is not None and not fits_token_limit(text, max_tokens):
        text, dropped_chars = layout.template_within_limit(references, max_tokens, seed)
    return Prompt(layout.insert_references(messages, text), dropped_chars, dropped_messages)


def _find_lower(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _conversation_with_system(
    agent_node: AgentNode, conversation: Sequence[AnyMessage]
) -> Sequence[AnyMessage]:
    """Give the conversation as an agent's model takes it, with the agent's own system prompt."""
    if not conversation:
        raise ValueError("`messages` is empty; expected at least one message to answer")
    messages = replace_in_messages(_read_conversation(agent_node, conversation))
    if not agent_node.agent.system:
        return messages
    return add_system_text(messages, agent_node.agent.system, in_front=True)


def _read_references(
    agent_node: AgentNode, state: LayerState, layout: PromptLayout, *, required: bool
) -> tuple[Sequence[str], str, str]:
    """Give the references that an agent reads, their seed, and their text; the first layer none."""
    if agent_node.layer == 1:
        return (), "", ""
    references, seed = collect_references(agent_node.reference_nodes, state, layout)
    if not references and required:  # a layer aggregator lets nobody go on without one
        raise LookupError(
            f"{agent_node.node}: the proposals that it reads are gone; a checkpointer must keep "
            "all checkpoints of a run, not only the last"
        )
    return references, seed, read_references(agent_node.reference_nodes, state, layout)


def _trim_turns(
    agent_node: AgentNode, messages: Sequence[AnyMessage], max_tokens: int
) -> Sequence[AnyMessage]:
    """Leave out the oldest turns; the last one stays, and what system messages say."""
    if estimate_prompt(agent_node, messages) <= max_tokens:
        return messages
    kept = trim_messages(
        list(messages),
        max_tokens=max_tokens,
        token_counter=lambda counted: estimate_prompt(agent_node, cast("Any", counted)),
        strategy="last",
        start_on="human",
        include_system=True,
    )
    if any(isinstance(each, HumanMessage) for each in kept):
        return cast("Sequence[AnyMessage]", kept)
    last = max((n for n, m in enumerate(messages) if isinstance(m, HumanMessage)), default=0)
    return [m for n, m in enumerate(messages) if n >= last or isinstance(m, SystemMessage)]


def _read_conversation(
    agent_node: AgentNode, messages: Sequence[AnyMessage]
) -> Sequence[AnyMessage]:
    """Give the conversation as an agent's model takes it."""
    messages = truncate_tool_results(messages, agent_node.max_tool_result_tokens)
    messages = agent_node.transform_messages(messages)
    if not has_tool_traffic(messages):
        return portable_history(messages)
    if agent_node.is_proposer and isinstance(agent_node.agent.model, str):
        return portable_history(describe_tools_in_text(messages))
    from moa_graph.models.adapt import (  # noqa: PLC0415  # loaded with the model
        is_chat_model_without_tools,
        model_provider,
    )

    provider = model_provider(agent_node.model)
    wants_words = agent_node.is_proposer or provider in _PROVIDERS_THAT_WANT_TOOLS
    if wants_words and is_chat_model_without_tools(agent_node.model):
        messages = describe_tools_in_text(messages)
    return portable_history(pair_calls_with_results(messages), provider)


def find_limits(agent_node: AgentNode, state: LayerState) -> ModelLimits:
    """Find how long an agent's prompt may be: as its layer knew it, if that is stored."""
    return (state.get("model_limits") or {}).get(agent_node.node) or current_limits(agent_node)


def current_limits(agent_node: AgentNode) -> ModelLimits:
    """Say how long an agent's prompt may be, as far as this process knows now."""
    traits = agent_node.traits
    profile = getattr(agent_node.model, "profile", None) or {}
    known = (agent_node.agent.max_input_tokens, traits.context_tokens)
    context = min(filter(None, known), default=None) or profile.get("max_input_tokens")
    return {"context_tokens": context, "token_ratio": traits.token_ratio}


def estimate_prompt(agent_node: AgentNode, messages: Sequence[AnyMessage]) -> int:
    """Estimate the tokens of a prompt, with the tools that its model is told of."""
    model, tokens = agent_node.model, count_message_tokens(messages)
    while isinstance(model, RunnableBindingBase):
        if tools := model.kwargs.get("tools"):
            tokens += count_tokens(json.dumps(tools, default=str))
        model = model.bound
    return tokens


def _prompt_room(agent_node: AgentNode, limits: ModelLimits) -> int | None:
    """How many estimated tokens a prompt may have, beside room for the answer; `None` for any."""
    if (context := limits["context_tokens"]) is None:
        return None
    room = context - _answer_tokens(agent_node, context)
    return int(room / limits["token_ratio"])


def _answer_tokens(agent_node: AgentNode, context: int) -> int:
    asked: Any = agent_node.agent.max_tokens
    model = agent_node.model
    while not asked and isinstance(model, RunnableBindingBase):
        asked, model = model.kwargs.get("max_tokens"), model.bound
    asked = asked or getattr(model, "max_tokens", None)
    if isinstance(asked, int) and 0 < asked < context:
        return asked
    return min(DEFAULT_ANSWER_TOKENS, context // 4)


def _limits_after(
    overflow: ContextOverflow, limits: ModelLimits, agent_node: AgentNode, refused_tokens: int
) -> ModelLimits:
    """Say how long a prompt may be after one that was estimated at so many tokens was refused."""
    known = [n for n in (overflow.context_tokens, limits["context_tokens"]) if n]
    if overflow.prompt_tokens:
        counted = float(overflow.prompt_tokens)
    elif known:
        counted = max(refused_tokens * limits["token_ratio"], min(known) * _UNTOLD_EXCESS)
    else:
        counted = refused_tokens * limits["token_ratio"]
    context = min(known, default=int(counted / _UNTOLD_EXCESS))
    if overflow.answer_tokens:  # more of it may be asked for than is known here
        context -= max(0, overflow.answer_tokens - _answer_tokens(agent_node, context))
    return {"context_tokens": context, "token_ratio": counted / refused_tokens * _SAFETY}
