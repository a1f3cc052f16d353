"""Call the model of an agent, and repeat a refused call with a shorter or simpler prompt."""

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.runnables.base import RunnableBindingBase
from langgraph.errors import GraphBubbleUp

from moa_graph.graph.prompt_limits import estimate_prompt
from moa_graph.graph.prompts import PromptDraft
from moa_graph.graph.spec import AgentNode
from moa_graph.prompting.message_roles import restrict_roles
from moa_graph.prompting.refusals import (
    ContextOverflow,
    MessageRoles,
    read_context_overflow,
    read_message_roles,
)
from moa_graph.sync_async import Flow, Step

StartCall = Callable[[Sequence[AnyMessage]], Step]
"""Creates the step that calls a model with these messages."""


def call_model(agent_node: AgentNode, draft: PromptDraft, start_call: StartCall) -> Flow[Any]:
    """Call an agent's model; if it refuses the prompt, call it again with an adapted one.

    Roles that the model refuses are replaced, at most twice. A prompt that is too long is shortened
    once. The refusals also set the `ModelTraits` of the model in this process.

    Args:
        agent_node: The agent.
        draft: Its prompt.
        start_call: Creates the step that calls the model.

    Returns:
        The output of the model.

    Raises:
        ContextExceededError: If the prompt is too long and cannot be shortened.
        Exception: Any other error of the last call.
    """
    roles = agent_node.message_roles
    while True:
        messages = restrict_roles(draft.prompt.messages, roles)
        try:
            output = yield start_call(messages)
        except GraphBubbleUp:
            raise
        except Exception as error:
            overflow = read_context_overflow(error)
            if other_roles := _other_roles(error, roles, draft.prompt.messages):
                roles = other_roles
            elif overflow:
                _learn_context(overflow, agent_node, messages)
                draft.shorten(overflow, error)
            else:
                raise
        else:
            if roles != agent_node.message_roles:
                agent_node.traits.message_roles = roles
            _learn_prompt_size(agent_node, messages, output)
            return output


def _other_roles(
    error: Exception, roles: MessageRoles | None, messages: Sequence[AnyMessage]
) -> MessageRoles | None:
    """Return the roles for another call after a refusal; `None` if the prompt would not change."""
    required = read_message_roles(error)
    if required is None or roles == "no_system":
        return None
    present = restrict_roles(messages, roles)
    # Some chat templates report a leading system message as "roles must alternate".
    candidates: tuple[MessageRoles, ...] = (required, "no_system")
    changing = (each for each in candidates if restrict_roles(messages, each) != present)
    return next(changing, None)


def _learn_context(
    overflow: ContextOverflow, agent_node: AgentNode, messages: Sequence[AnyMessage]
) -> None:
    """Record the context length of a model, and the size of a prompt, from a refusal."""
    traits = agent_node.traits
    if overflow.prompt_tokens and _is_plain_chat_model(agent_node.model):
        traits.learn_prompt_size(estimate_prompt(agent_node, messages), overflow.prompt_tokens)
    if overflow.context_tokens:
        traits.context_tokens = overflow.context_tokens


def _learn_prompt_size(agent_node: AgentNode, messages: Sequence[AnyMessage], output: Any) -> None:
    """Compare the estimated tokens of a prompt with the reported ones; images are skipped."""
    if not isinstance(output, AIMessage) or "moa" in output.response_metadata:
        return
    usage = output.usage_metadata
    prompt_tokens = usage.get("input_tokens") if usage else None  # not always reported
    if prompt_tokens and _is_plain_chat_model(agent_node.model) and all(map(_is_text, messages)):
        agent_node.traits.learn_prompt_size(estimate_prompt(agent_node, messages), prompt_tokens)


def _is_plain_chat_model(model: Any) -> bool:
    """Whether a model reads exactly the messages that it is called with."""
    from langchain_core.language_models import BaseChatModel  # noqa: PLC0415  # loaded with a model

    while isinstance(model, RunnableBindingBase):
        model = model.bound
    return isinstance(model, BaseChatModel)


def _is_text(message: AnyMessage) -> bool:
    return isinstance(message.content, str) or all(
        isinstance(block, str) or block.get("type") == "text" for block in message.content
    )
