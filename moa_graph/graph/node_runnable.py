"""Nodes with a sync and an async implementation."""

from collections.abc import Callable
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langgraph.pregel.protocol import PregelProtocol

from moa_graph.fair_scheduling import wait_for_turn
from moa_graph.graph.answer_cache import CacheBackend
from moa_graph.graph.spec import AgentNode
from moa_graph.sync_async import run_async, run_sync


class NodeRunnable(RunnableLambda[Any, Any]):
    """A node with a sync and an async implementation, and without a trace run of its own.

    Its function takes the input, the config and the cache, and returns the flow to run.

    LangGraph finds a subgraph in a node through `deps`, which only a `RunnableLambda` has.
    """

    def __init__(
        self,
        func: Callable[..., Any],
        agent_node: AgentNode | None = None,
        cache: CacheBackend | None = None,
    ) -> None:
        super().__init__(func)
        self._make_flow, self._agent_node, self._cache = func, agent_node, cache

    def with_cache(self, cache: CacheBackend) -> "NodeRunnable":
        """Copy the node for a graph that is compiled with a cache."""
        return type(self)(self._make_flow, self._agent_node, cache)

    @property
    def deps(self) -> list[Runnable[Any, Any]]:
        """The graph of the agent, if it is one, so that LangGraph draws it."""
        graph = self._agent_node and self._agent_node.agent.model
        return [graph] if isinstance(graph, PregelProtocol) else []

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:
        """Run the flow synchronously."""
        return run_sync(self._make_flow(input, config or {}, self._cache))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:
        """Run the flow asynchronously."""
        await wait_for_turn()
        return await run_async(self._make_flow(input, config or {}, self._cache))

    # With `astream_events` and `astream_log`, LangGraph streams a node. `RunnableLambda.stream`
    # would call the function without the cache; `Runnable.stream` calls `invoke`.
    stream, astream = Runnable.stream, Runnable.astream
    transform, atransform = Runnable.transform, Runnable.atransform


class StateNode(NodeRunnable):
    """A node that only reads the state: it calls a function directly, without a thread."""

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:
        """Call the function."""
        return self._make_flow(input)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:
        """Call the function."""
        return self.invoke(input, config)
