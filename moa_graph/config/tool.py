"""`moa_tool`: a mixture as a tool of an agent."""

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
    """Create a LangChain tool from a mixture.

    The tool takes a `question` and an optional `context` that the answer depends on. Its content is
    the answer. Its artifact holds the `RunSummary` as `summary`, and the `proposals` by node.

    A call is part of the run that calls it: traces show it there, cancelling the call cancels the
    calls of models, and in an agent with a checkpointer a killed call continues from what is
    stored. Each call is a separate conversation. A checkpointer that the mixture was compiled
    with is not used; `checkpointer=False` stores nothing.

    A mixture without an answer (`QuorumError`, `AggregatorError`) raises `ToolException` with that
    error as its `__cause__`. As with any tool, it ends the run of the agent unless
    `handle_tool_error` of the tool is set.

    Args:
        mixture: A compiled graph, a builder that `create_moa` returned, or a configuration.
        name: Name of the tool for models.
        description: Description for models: what the tool does and when to use it.

    Raises:
        ValueError: If it is not a mixture, or models cannot use the name.

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
        f"`mixture`={mixture!r}: expected a compiled graph, a builder that `create_moa` returned, "
        "or a `MoAConfig`, such as MoAConfig.load('moa-lite')"
    )
