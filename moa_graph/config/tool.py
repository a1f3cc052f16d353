"""A mixture as a tool that an agent calls."""

from typing import Any

from langchain_core.tools import BaseTool
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph

from moa_graph.config.model import MoAConfig
from moa_graph.graph.tool import TOOL_DESCRIPTION, tool_of_graph


def moa_tool(
    mixture: CompiledStateGraph[Any, Any, Any, Any] | StateGraph[Any, Any, Any, Any] | MoAConfig,
    *,
    name: str = "ask_panel",
    description: str = TOOL_DESCRIPTION,
) -> BaseTool:
    """Make a LangChain tool of a mixture.

    It takes a `question` and, where the answer depends on more, a `context`. Its content is the
    answer alone; its artifact has the `RunSummary` as `summary`, and the `proposals` by node.

    A call is a run inside the run that calls it: traces show it there, cancelling the call
    cancels the calls of models, and in an agent with a checkpointer a call that was killed goes
    on where it was. Each call is a conversation of its own. A checkpointer that the mixture was
    compiled with is not used; `checkpointer=False` stores nothing.

    A mixture without an answer (`QuorumError`, `AggregatorError`) is a `ToolException`, with that
    error as its `__cause__`. As with any tool, it ends the agent's run unless `handle_tool_error`
    of the tool is set.

    Args:
        mixture: A compiled graph, a builder (as `create_moa` gives it), or a configuration.
        name: What models call the tool by.
        description: Tells models what it is for, and when to use it.

    Raises:
        ValueError: If it is no mixture, or the name is none that models can use.

    Example:
        ```python
        tool = moa_tool(MoAConfig.load("offline"), name="ask_panel")
        tool.invoke("Where is it? It is under the tree.")
        ```
    """
    return tool_of_graph(_compile(mixture, name), name, description)


def _compile(mixture: Any, name: str) -> CompiledStateGraph[Any, Any, Any, Any]:
    if isinstance(mixture, MoAConfig):
        return mixture.graph().compile(name=mixture.name)
    if isinstance(mixture, StateGraph):
        return mixture.compile(name=name)
    if isinstance(mixture, CompiledStateGraph):
        return mixture
    raise ValueError(
        f"`mixture`={mixture!r}: expected a compiled graph, a builder as `create_moa` gives it, or "
        "a `MoAConfig`, such as MoAConfig.load('moa-lite')"
    )
