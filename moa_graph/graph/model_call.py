"""The call of an agent's model, and the next one after a refusal that another prompt mends."""

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.messages import AnyMessage
from langgraph.errors import GraphBubbleUp

from moa_graph.graph.spec import AgentNode
from moa_graph.prompting.message_roles import restrict_roles
from moa_graph.prompting.refusals import MessageRoles, read_message_roles
from moa_graph.sync_async import Flow, Step

StartCall = Callable[[Sequence[AnyMessage]], Step]
"""Makes the step that asks a model with these messages."""


def call_model(
    agent_node: AgentNode, messages: Sequence[AnyMessage], start_call: StartCall
) -> Flow[Any]:
    """Ask an agent's model; after a refusal of the messages' roles, ask again with others.

    Args:
        agent_node: Who is asked.
        messages: What it reads.
        start_call: Makes the step that asks.

    Returns:
        What the model gave.

    Raises:
        Exception: Whatever the last call raised.
    """
    roles = agent_node.message_roles
    while True:
        try:
            output = yield start_call(restrict_roles(messages, roles))
        except GraphBubbleUp:
            raise
        except Exception as error:
            roles = _other_roles(error, roles, messages)
            if roles is None:
                raise
        else:
            if roles != agent_node.message_roles:
                agent_node.traits.message_roles = roles
            return output


def _other_roles(
    error: Exception, roles: MessageRoles | None, messages: Sequence[AnyMessage]
) -> MessageRoles | None:
    """Give the roles to ask with after a refusal; `None` where they would change nothing."""
    required = read_message_roles(error)
    if required is None or roles == "no_system":
        return None
    present = restrict_roles(messages, roles)
    # Some templates say of a system message in front that roles must alternate.
    candidates: tuple[MessageRoles, ...] = (required, "no_system")
    changing = (each for each in candidates if restrict_roles(messages, each) != present)
    return next(changing, None)
