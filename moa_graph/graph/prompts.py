"""Build the prompt of an agent from conversation and references, within its limits."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import AnyMessage

from moa_graph.errors import MoAError
from moa_graph.graph.error_causes import error_with_causes, reduce_error
from moa_graph.graph.prompt_limits import (
    REFUSAL_MARGIN,
    estimate_prompt,
    find_limits,
    limits_after_refusal,
    max_prompt_tokens,
)
from moa_graph.graph.reference_selection import DrawnReferences
from moa_graph.graph.references import (
    collect_references,
    read_references,
    without_references,
)
from moa_graph.graph.spec import AgentNode
from moa_graph.graph.state import LayerState, RefusedPrompt
from moa_graph.models.traits import ModelLimits
from moa_graph.prompting.history import has_tool_traffic, portable_history, trim_turns
from moa_graph.prompting.layout import PromptLayout, add_system_text
from moa_graph.prompting.refusals import ContextOverflow
from moa_graph.prompting.surrogates import replace_in_messages
from moa_graph.prompting.tokens import (
    count_message_tokens,
    count_tokens,
    fits_token_limit,
    truncate_answer,
)
from moa_graph.prompting.tool_pairs import pair_calls_with_results
from moa_graph.prompting.tool_text import describe_tools_in_text, truncate_tool_results
from moa_graph.redaction import redacted_message

_PROVIDERS_THAT_WANT_TOOLS = {"anthropic", "aws"}
"""Providers that reject tool calls and results in a conversation if no tool is bound."""


class ContextExceededError(MoAError, ContextOverflowError):
    """A prompt exceeds the context of its model and cannot be shortened.

    It also has the type of the provider's error.
    """

    def __init__(self, text: str) -> None:
        Exception.__init__(self, text)  # not that of a mixed-in type

    def __reduce__(self) -> tuple[Any, ...]:
        return reduce_error(self, ContextExceededError, str(self))


def original_failure(error: Exception) -> Exception:
    """Return the provider's error behind a `ContextExceededError`, or the error itself.

    The text of a `ContextExceededError` contains that of the provider, with the remedy.
    """
    cause = error.__cause__
    if not isinstance(error, ContextExceededError) or not isinstance(cause, Exception):
        return error
    return cause if isinstance(cause, ContextOverflowError) else error


class Prompt(NamedTuple):
    """The prompt of an agent."""

    messages: Sequence[AnyMessage]
    dropped_reference_chars: int = 0
    """Characters of references that are left out because of their limit or the context."""
    dropped_messages: int = 0
    """Messages of earlier turns that are left out because of the context."""


class PromptDraft:
    """The prompt of an agent, which can be shortened after a refusal."""

    def __init__(self, agent_node: AgentNode, state: LayerState, layout: PromptLayout) -> None:
        """Build the prompt.

        Raises:
            ValueError, LookupError: As `build_prompt`.
        """
        self._agent_node, self._state, self._layout = agent_node, state, layout
        self._limits = find_limits(agent_node, state)
        self.overflow: ContextOverflow | None = None
        """Sizes that the model reported when it refused the prompt as too long."""
        self.prompt = self._build_within_limits()

    def shorten(self, overflow: ContextOverflow, error: Exception) -> None:
        """Build a shorter prompt for a model that refused this one.

        Args:
            overflow: Sizes that the refusal contains.
            error: The refusal.

        Raises:
            ContextExceededError: If nothing can be left out.
        """
        refused_tokens = estimate_prompt(self._agent_node, self.prompt.messages)
        self._limits = limits_after_refusal(
            overflow, self._limits, self._agent_node, refused_tokens
        )
        if self.overflow is None:
            self.prompt = self._build_within_limits()
            tokens = estimate_prompt(self._agent_node, self.prompt.messages)
            max_tokens = max_prompt_tokens(self._agent_node, self._limits)
            fits = max_tokens is not None and tokens <= max_tokens * REFUSAL_MARGIN
            if tokens < refused_tokens and fits:
                self.overflow = overflow
                return
        raise error_with_causes([error], ContextExceededError, self._describe_excess(error))

    @property
    def refused_prompt(self) -> RefusedPrompt | None:
        """Sizes of a refused prompt, to be stored."""
        if not (overflow := self.overflow):
            return None
        return {"prompt_tokens": overflow.prompt_tokens, "context_tokens": overflow.context_tokens}

    def _build_within_limits(self) -> Prompt:
        return build_prompt(self._agent_node, self._state, self._layout, limits=self._limits)

    def _describe_excess(self, error: Exception) -> str:
        """Describe why a prompt was refused, and the remedies."""
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
        remedies.append("use a model with a larger context")
        refusal = redacted_message(error, *self._agent_node.api_keys)
        return f"{refusal}; the prompt does not fit: {', or '.join(remedies)}"


def build_prompt(
    agent_node: AgentNode,
    state: LayerState,
    layout: PromptLayout,
    *,
    limits: ModelLimits | None = None,
    truncate: bool = True,
) -> Prompt:
    """Build the prompt of an agent: the conversation, its system prompt and the references.

    Args:
        agent_node: The agent.
        state: The state that it reads.
        layout: Layout of the references.
        limits: Limits of the prompt; by default those of the state or of this process.
        truncate: Whether to shorten a prompt that is too long.

    Returns:
        The messages, and the amounts that were left out.

    Raises:
        ValueError: If there are no messages.
        LookupError: If the state lacks the proposals that the agent reads.
    """
    messages = _conversation_with_system(agent_node, state["messages"])
    limits = (limits or find_limits(agent_node, state)) if truncate else None
    max_tokens = limits and max_prompt_tokens(agent_node, limits)
    references = _ReferenceText.read(agent_node, state, layout, required=truncate)
    count = len(messages)
    if agent_node.trim_history and max_tokens is not None:
        reserved = min(count_tokens(references.full_text), max_tokens // 2)
        messages = trim_turns(messages, max_tokens - reserved, partial(estimate_prompt, agent_node))
    dropped_messages = count - len(messages)
    if agent_node.layer == 1:
        return Prompt(messages, dropped_messages=dropped_messages)
    limit = references.layout.max_total_tokens if truncate else None
    if max_tokens is not None:
        limit = _find_lower(limit, max(0, max_tokens - estimate_prompt(agent_node, messages)))
    text, dropped_chars = references.fit(limit)
    placed = references.layout.insert_references(messages, text)
    return Prompt(placed, dropped_chars, dropped_messages)


class _ReferenceText(NamedTuple):
    """What an agent reads beside the conversation; empty in the first layer."""

    layout: PromptLayout
    references: Sequence[str]
    seed: str
    text: str
    """The templated references."""
    analysis: str

    @classmethod
    def read(
        cls, agent_node: AgentNode, state: LayerState, layout: PromptLayout, *, required: bool
    ) -> "_ReferenceText":
        """Read the references and the analysis of an agent."""
        draw = agent_node.draw_references(state)
        own_layout = agent_node.selector.choose_layout(layout, draw)
        if draw or own_layout != layout:  # the layer aggregator templates all proposals
            state = without_references(state)
        read = _read_references(agent_node, state, own_layout, draw, required=required)
        analysis = _read_analysis(agent_node, state, own_layout, draw)
        if analysis and agent_node.selector.replaces:
            read = ((), read[1], "")
        return cls(own_layout, *read, analysis)

    @property
    def full_text(self) -> str:
        """The text without a limit."""
        return self._add_analysis(self.text)

    def fit(self, max_tokens: int | None) -> tuple[str, int]:
        """Return the text within a limit, and the number of characters left out."""
        text, dropped_chars = self.text, 0
        if self.analysis and max_tokens is not None:
            max_tokens = max(0, max_tokens - count_tokens(self._add_analysis("")))
        if self.references and max_tokens is not None and not fits_token_limit(text, max_tokens):
            text, dropped_chars = self.layout.template_within_limit(
                self.references, max_tokens, self.seed
            )
        return self._add_analysis(text), dropped_chars

    def _add_analysis(self, text: str) -> str:
        return self.layout.add_analysis(text, self.analysis, self.seed) if self.analysis else text


def _find_lower(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _conversation_with_system(
    agent_node: AgentNode, conversation: Sequence[AnyMessage]
) -> Sequence[AnyMessage]:
    """Return the conversation for an agent's model, with the agent's system prompt."""
    if not conversation:
        raise ValueError("`messages` is empty; expected at least one message to answer")
    messages = replace_in_messages(_read_conversation(agent_node, conversation))
    if not agent_node.agent.system:
        return messages
    return add_system_text(messages, agent_node.agent.system, in_front=True)


def _read_references(
    agent_node: AgentNode,
    state: LayerState,
    layout: PromptLayout,
    draw: DrawnReferences | None,
    *,
    required: bool,
) -> tuple[Sequence[str], str, str]:
    """Return the references of an agent, their seed and their text; empty in the first layer."""
    if agent_node.layer == 1:
        return (), "", ""
    nodes = draw.nodes if draw else agent_node.reference_nodes
    references, seed = collect_references(nodes, state, layout)
    if not references and required:  # a layer aggregator requires at least one
        raise LookupError(
            f"{agent_node.node}: the proposals that it reads are missing; a checkpointer must keep "
            "all checkpoints of a run, not only the last"
        )
    return references, seed, read_references(nodes, state, layout)


def _read_analysis(
    agent_node: AgentNode, state: LayerState, layout: PromptLayout, draw: DrawnReferences | None
) -> str:
    """Return the analysis for an agent, within the limit of a reference; empty if there is none."""
    nodes = draw.nodes if draw else agent_node.reference_nodes
    text = agent_node.selector.find_analysis(nodes, state)
    return truncate_answer(text, layout.max_reference_tokens)[0]


def _read_conversation(
    agent_node: AgentNode, messages: Sequence[AnyMessage]
) -> Sequence[AnyMessage]:
    """Return the conversation in the form that an agent's model accepts."""
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
