"""Calls of tools, each with its result behind it. Pure functions of messages.

An agent that was stopped leaves calls without results behind; a history that was shortened, results
without calls. Providers refuse both.
"""

from collections import defaultdict, deque
from collections.abc import Sequence

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage

from moa_graph.prompting.layout import add_system_text
from moa_graph.prompting.tool_text import RESULTS_ARE_DATA, result_to_text

NO_RESULT = "(The call gave no result.)"
"""Stands for the result of a call that has none."""


def pair_calls_with_results(messages: Sequence[AnyMessage]) -> Sequence[AnyMessage]:
    """Put the result of each call right behind it.

    Args:
        messages: A conversation; left as it is.

    Returns:
        The conversation with a result for each call, and results of no call as words of the user.
        The same list, where it is so already.
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
    """Give a result for each call of a message."""
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
