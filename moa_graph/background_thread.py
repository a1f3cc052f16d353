"""Run a blocking call in its own daemon thread."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any


def run_in_thread(function: Callable[..., Any], *args: Any) -> Future[Any]:
    """Run a call in its own daemon thread; the process can exit before it ends."""
    future: Future[Any] = Future()
    context = copy_context()

    def run() -> None:
        try:
            future.set_result(context.run(function, *args))
        except StopIteration as error:  # `asyncio.Future` rejects it: waiters would hang
            stopped = RuntimeError("the call raised StopIteration")
            stopped.__cause__ = error
            future.set_exception(stopped)
        except BaseException as error:  # noqa: BLE001  # it is raised where the result is asked for
            future.set_exception(error)

    future.set_running_or_notify_cancel()  # the future can no longer be cancelled
    threading.Thread(target=run, name="moa", daemon=True).start()
    return future
