"""Code with a sync and an async side, written once.

A flow is a generator: it yields a `Step` for each call that may block, is sent the result, and
returns its own. `run_sync` makes the calls, `run_async` awaits them. What a call raises, a
cancellation too, is raised in the flow at its `yield`.
"""

from collections.abc import Awaitable, Callable, Generator
from typing import Any, NamedTuple, TypeAlias, TypeVar

T = TypeVar("T")


class Step(NamedTuple):
    """A call that may block: the sync function, its async twin, and the arguments of both."""

    function: Callable[..., Any]
    async_function: Callable[..., Awaitable[Any]]
    args: tuple[Any, ...] = ()


Flow: TypeAlias = Generator[Step, Any, T]


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
