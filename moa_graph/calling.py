"""How a model is called: side by side with others, on any event loop, streaming or not."""

import asyncio
from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AnyMessage
from langchain_core.runnables import (
    Runnable,
    RunnableConfig,
    RunnableLambda,
    RunnableSequence,
    RunnableWithFallbacks,
)
from langchain_core.runnables.base import RunnableBindingBase
from langgraph.pregel.protocol import PregelProtocol

from moa_graph.race import in_thread


def ask(model: Runnable[Any, Any], messages: Sequence[AnyMessage], config: RunnableConfig) -> Any:
    """Ask a model or a graph."""
    return model.invoke(_input(model, messages), config)


async def aask(
    model: Runnable[Any, Any], messages: Sequence[AnyMessage], config: RunnableConfig
) -> Any:
    """Ask a model or a graph; one that knows no async waits in a thread of our own.

    The event loop's own threads are few, and everybody's.
    """
    if _knows_no_async(model):
        waiting = in_thread(model.invoke, _input(model, messages), config)
        return await asyncio.wrap_future(waiting)
    return await model.ainvoke(_input(model, messages), config)


def adapt(model: Any, *, hidden: bool) -> Runnable[Any, Any]:
    """Copy a model so that it works on any event loop and, if hidden, is not made to stream.

    `stream_mode="messages"` makes every chat model stream, whether or not someone listens.
    """
    if isinstance(model, RunnableBindingBase):
        return model.model_copy(update={"bound": adapt(model.bound, hidden=hidden)})
    if isinstance(model, RunnableWithFallbacks):
        first, *rest = [adapt(each, hidden=hidden) for each in model.runnables]
        return model.model_copy(update={"runnable": first, "fallbacks": rest})
    if isinstance(model, RunnableSequence):
        steps = (adapt(step, hidden=hidden) for step in model.steps)
        return RunnableSequence(*steps, name=model.name)
    if hasattr(model, "root_async_client"):
        from moa_graph.http import share_clients  # noqa: PLC0415  # costs the import of openai

        model = share_clients(model)
    if hidden and isinstance(model, BaseChatModel):
        model = model.model_copy(update={"disable_streaming": True})
    return model  # type: ignore[no-any-return]


def _input(model: Runnable[Any, Any], messages: Sequence[AnyMessage]) -> Any:
    return {"messages": messages} if isinstance(model, PregelProtocol) else messages


def _knows_no_async(model: Runnable[Any, Any]) -> bool:
    if isinstance(model, BaseChatModel):
        return type(model)._agenerate is BaseChatModel._agenerate  # noqa: SLF001
    if isinstance(model, RunnableLambda):
        return not hasattr(model, "afunc")
    return type(model).ainvoke is Runnable.ainvoke
