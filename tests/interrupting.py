"""Interrupt work at any step of its event loop, and hear what that leaves behind."""

import asyncio
import gc
import sys
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any


class InterruptingLoop(asyncio.SelectorEventLoop):
    """Calls `interrupt` once, when so many more callbacks have been scheduled."""

    def __init__(self) -> None:
        super().__init__()
        self.interrupt: Callable[[], object] | None = None
        self.steps_left = 0

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        handle = super().call_soon(callback, *args, context=context)
        self.steps_left -= 1
        if self.interrupt and self.steps_left < 0:
            interrupt, self.interrupt = self.interrupt, None
            super().call_soon(interrupt)
        return handle


async def finish_interrupted(
    work: Coroutine[Any, Any, Any], steps: int, interrupt: Callable[[], object] | None = None
) -> None:
    """Run work to its end, and interrupt it after some steps: by default it is cancelled."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, InterruptingLoop)
    task = loop.create_task(work)
    loop.steps_left, loop.interrupt = steps, interrupt or task.cancel
    await asyncio.wait({task})
    loop.interrupt = None
    if not task.cancelled():
        task.result()


def run_and_listen(work: Coroutine[Any, Any, Any]) -> list[str]:
    """Run work on such a loop; give what Python or the loop reports, then or when it is gone."""
    reports: list[str] = []
    with _collected_reports(reports), asyncio.Runner(loop_factory=InterruptingLoop) as runner:
        handler = reports.append
        runner.get_loop().set_exception_handler(lambda _, context: handler(str(context)))
        runner.run(work)
    return reports


@contextmanager
def _collected_reports(reports: list[str]) -> Iterator[None]:
    """Hear warnings, also those that the garbage collection would give in a later test."""
    gc.freeze()  # what other tests keep takes long to look through
    hook = sys.unraisablehook
    sys.unraisablehook = lambda what: reports.append(f"{what.err_msg} {what.exc_value!r}")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
            gc.collect()
    finally:
        sys.unraisablehook = hook
        gc.unfreeze()
    reports += [str(each.message) for each in caught]
