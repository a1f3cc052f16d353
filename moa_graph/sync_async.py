"""Run generators with blocking steps as sync or async code.

A flow is a generator. It yields a `Step` for each call that may block, receives the result of
that call, and returns a result of its own. `run_sync` calls the sync function of each step, and
`run_async` awaits the async one. An exception of a call, also a cancellation, is raised in the
flow at its `yield`.

A stream flow also yields values that are not steps. `iterate_sync` and `iterate_async` pass these
values on immediately. When the consumer closes the iterator, `GeneratorExit` is raised in the
flow at its `yield`, and the steps of its `finally` block still run.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any, NamedTuple, TypeAlias, TypeVar

T = TypeVar("T")


class Step(NamedTuple):
    """A call that may block: its sync function, its async function, and their arguments."""

    function: Callable[..., Any]
    async_function: Callable[..., Awaitable[Any]]
    args: tuple[Any, ...] = ()


Flow: TypeAlias = Generator[Step, Any, T]
StreamFlow: TypeAlias = Generator[Step | T, Any, object]


def run_sync(flow: Flow[T]) -> T:
    """Run a flow with the sync functions of its steps."""
    try:
        step = next(flow)
        while True:
            try:
                result = step.function(*step.args)
            except BaseException as error:  # noqa: BLE001  # the flow decides
                step = flow.throw(error)
            else:
                step = flow.send(result)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


async def run_async(flow: Flow[T]) -> T:
    """Run a flow with the async functions of its steps."""
    try:
        step = next(flow)
        while True:
            try:
                result = await step.async_function(*step.args)
            except BaseException as error:  # noqa: BLE001  # the flow decides
                step = flow.throw(error)
            else:
                step = flow.send(result)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


def iterate_sync(flow: StreamFlow[T]) -> Generator[T]:
    """Iterate over the values of a stream flow, with the sync functions of its steps."""
    try:
        item = next(flow)
        while True:
            result = None
            try:
                if isinstance(item, Step):
                    result = item.function(*item.args)
                else:
                    yield item
            except BaseException as error:  # noqa: BLE001  # the flow decides
                item = flow.throw(error)
            else:
                item = flow.send(result)
    except StopIteration:
        return


async def iterate_async(flow: StreamFlow[T]) -> AsyncGenerator[T]:
    """Iterate over the values of a stream flow, with the async functions of its steps."""
    try:
        item = next(flow)
        while True:
            result = None
            try:
                if isinstance(item, Step):
                    result = await item.async_function(*item.args)
                else:
                    yield item
            except BaseException as error:  # noqa: BLE001  # the flow decides
                item = flow.throw(error)
            else:
                item = flow.send(result)
    except StopIteration:
        return
