"""Code with a sync and an async side, written once.

A flow is a generator: it yields a `Step` for each call that may block, is sent the result, and
returns its own. `run_sync` makes the calls, `run_async` awaits them. What a call raises, a
cancellation too, is raised in the flow at its `yield`.

A stream flow also yields values that are no steps. `iterate_sync` and `iterate_async` give them to
who iterates, at once. When that closes the iterator, `GeneratorExit` is raised in the flow at its
`yield`, and the steps of its `finally` are still made.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any, NamedTuple, TypeAlias, TypeVar

T = TypeVar("T")


class Step(NamedTuple):
    """A call that may block: the sync function, its async twin, and the arguments of both."""

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
    """Give the values of a stream flow, and run the sync functions of its steps."""
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
    """Give the values of a stream flow, and run the async functions of its steps."""
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
