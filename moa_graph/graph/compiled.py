"""Compiled mixtures: one run per thread, a check of the clock, and a fair start of runs."""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Self, cast

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config, merge_configs
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.state import CompiledStateGraph
from pydantic import BaseModel

from moa_graph.fair_scheduling import wait_for_turn
from moa_graph.graph.clock import seconds_to_wait
from moa_graph.graph.state import MoAState
from moa_graph.graph.thread_claims import ClaimedStream, ThreadClaim
from moa_graph.models.endpoints import find_secret_parameter, has_login

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool


MIN_CONCURRENCY = 128
"""Threads of a sync run. LangGraph's default is the number of processors plus four."""


class FairGraph(CompiledStateGraph[MoAState, Any, Any, MoAState]):
    """A graph that yields to other tasks when many runs start on one event loop.

    Sync runs have a thread for each node of the widest layer.
    """

    @classmethod
    def of(cls, compiled: CompiledStateGraph[MoAState, Any, Any, MoAState]) -> Self:
        """Create one from the result of `StateGraph.compile`, which sets its own class."""
        compiled.__class__ = cls
        return cast("Self", compiled)

    def stream(
        self,
        input: Any,
        config: RunnableConfig | None = None,
        **options: Any,
    ) -> Iterator[Any]:
        """Run as `CompiledStateGraph.stream` does, with enough threads for the widest layer.

        Async runs need none: a limit would only make their tasks wait, and LangGraph abandons the
        coroutine of a waiting task that is cancelled.
        """
        return super().stream(input, self._with_enough_threads(config), **options)

    async def astream(self, *args: Any, **kwargs: Any) -> AsyncGenerator[Any]:
        """Run as `CompiledStateGraph.astream` does, when this run gets its turn."""
        await wait_for_turn()
        async with aclosing(super().astream(*args, **kwargs)) as parts:  # type: ignore[type-var]  # a generator
            async for part in parts:
                yield part

    def _with_enough_threads(self, config: RunnableConfig | None) -> RunnableConfig:
        if "max_concurrency" in ensure_config(merge_configs(self.config, config)):
            return config or {}
        return {**(config or {}), "max_concurrency": max(MIN_CONCURRENCY, len(self.nodes))}


class ExclusiveThreadGraph(FairGraph):
    """A graph that claims its thread while it runs.

    As a node of a host, it uses the host's thread, which LangGraph protects itself.
    """

    def stream(
        self,
        input: Any,
        config: RunnableConfig | None = None,
        **options: Any,
    ) -> Iterator[Any]:
        """Run as `CompiledStateGraph.stream` does.

        Raises:
            ThreadInUseError: If another call in this process runs the thread.
            ClockError: If the thread has a checkpoint from the future.
        """
        run = super().stream(input, config, **options)
        thread = self._find_own_thread(config)
        return self._hold_thread(run, *thread) if thread else run

    def astream(
        self,
        input: Any,
        config: RunnableConfig | None = None,
        **options: Any,
    ) -> AsyncGenerator[Any, None]:
        """Run as `CompiledStateGraph.astream` does.

        Raises:
            ThreadInUseError: If another call in this process runs the thread.
            ClockError: If the thread has a checkpoint from the future.
        """
        run = super().astream(input, config, **options)
        if not (own_thread := self._find_own_thread(config)):
            return run
        saver, thread = own_thread

        async def acquire() -> ThreadClaim:
            claim = await ThreadClaim(saver, thread).aacquire()
            try:
                if not _orders_by_insertion(saver):
                    newest = await saver.aget_tuple(_address(thread))
                    await asyncio.sleep(seconds_to_wait(newest))
            except BaseException:
                claim.release()
                raise
            return claim

        async def settle() -> None:
            await asyncio.sleep(0)  # the read is queued behind earlier writes
            await saver.aget_tuple(_address(thread))  # and waits for them

        return ClaimedStream(run, acquire, settle)

    def as_tool(
        self,
        args_schema: type[BaseModel] | None = None,
        *,
        name: str | None = None,
        description: str | None = None,
        arg_types: dict[str, type] | None = None,
    ) -> "BaseTool":
        """Create a tool that takes a question; see `moa_tool`.

        Args:
            args_schema: As in LangChain's `as_tool`: the input is a state with `messages`, and the
                result is a state.
            name: Name of the tool for models; by default the name of the graph.
            description: Description for models.
            arg_types: As `args_schema`.
        """
        from moa_graph.graph.tool import tool_of_graph

        if args_schema or arg_types:
            return super().as_tool(
                args_schema, name=name, description=description, arg_types=arg_types
            )
        return tool_of_graph(self, name or self.get_name(), description)

    def _hold_thread(
        self, run: Iterator[Any], saver: BaseCheckpointSaver[Any], thread: str
    ) -> Iterator[Any]:
        with ThreadClaim(saver, thread).acquire():
            if not _orders_by_insertion(saver):
                time.sleep(seconds_to_wait(saver.get_tuple(_address(thread))))
            yield from run

    def _find_own_thread(
        self, config: RunnableConfig | None
    ) -> tuple[BaseCheckpointSaver[Any], str] | None:
        """Return the checkpointer and the thread of a call; none if they belong to a host."""
        configurable = {
            **(self.config or {}).get("configurable", {}),
            **(config or {}).get("configurable", {}),
        }
        thread, is_in_host = configurable.get("thread_id"), configurable.get("checkpoint_ns")
        if thread is None or is_in_host or not isinstance(self.checkpointer, BaseCheckpointSaver):
            return None
        _check_addresses(configurable)
        return self.checkpointer, str(thread)


def _check_addresses(configurable: Mapping[str, Any]) -> None:
    """Reject a key in a URL, because LangGraph stores such values with each checkpoint.

    Raises:
        ValueError: If there is one.
    """
    for name, value in configurable.items():
        if not isinstance(value, str) or "://" not in value:
            continue
        if parameter := "its login" if has_login(value) else find_secret_parameter(value):
            raise ValueError(
                f"`configurable` {name!r}: expected a URL without a key, got one in "
                f"{parameter}; it would be stored with each checkpoint"
            )


def _orders_by_insertion(saver: BaseCheckpointSaver[Any]) -> bool:
    """Return whether a checkpointer returns the last written checkpoint despite clock changes."""
    return getattr(saver, "orders_by_insertion", False)


def _address(thread: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
