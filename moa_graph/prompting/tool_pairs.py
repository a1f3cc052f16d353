"""Pair tool calls with their results. Pure functions.

A stopped agent leaves calls without results, and a shortened history results without calls.
Providers reject both.
"""

from collections import defaultdict, deque
from collections.abc import Sequence

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage

from moa_graph.prompting.layout import add_system_text
from moa_graph.prompting.tool_text import RESULTS_ARE_DATA, result_to_text

NO_RESULT = "(The call gave no result.)"
"""Placeholder for a missing result."""


def pair_calls_with_results(messages: Sequence[AnyMessage]) -> Sequence[AnyMessage]:
    """Move the result of each call directly after it.

    Args:
        messages: A conversation; it is not changed.

    Returns:
        The conversation with a result for each call, and results without a call as user messages.
        The same list if nothing changes.
    """
    unpaired = defaultdict[str, deque[ToolMessage]](deque)
    for message in messages:
        if isinstance(message, ToolMessage):
            unpaired[message.tool_call_id].append(message)
    results = [_take_results(message, unpaired) for message in messages]
    orphans = {id(result) for left in unpaired.values() for result in left}
    paired = list[AnyMessage]()
    for message, own_results in zip(messages, results, strict=True):
        if not isinstance(message, ToolMessage):
            paired += [message, *own_results]
        elif id(message) in orphans:
            paired.append(HumanMessage(result_to_text(message)))
    if [*map(id, paired)] == [*map(id, messages)]:
        return messages
    return add_system_text(paired, RESULTS_ARE_DATA) if orphans else paired


def _take_results(
    message: AnyMessage, unpaired: defaultdict[str, deque[ToolMessage]]
) -> list[ToolMessage]:
    """Return a result for each call of a message."""
    calls = (
        [*message.tool_calls, *message.invalid_tool_calls] if isinstance(message, AIMessage) else ()
    )
    return [
        unpaired[call_id].popleft()
        if unpaired[call_id]
        else ToolMessage(NO_RESULT, tool_call_id=call_id, name=call["name"], status="error")
        for call in calls
        if (call_id := call["id"])
    ]
