"""What the server serves: the mixtures and their graphs, the store, and the runs that go on."""

import asyncio
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar, cast

from starlette.requests import Request

from moa_graph.config.model import MoAConfig
from moa_graph.graph.builder import CompiledMoAGraph
from moa_graph.models.agent import Agent, UnsupportedOptionError, build_model
from moa_graph.runs.store import RunStore
from moa_graph.server.errors import ApiError, server_stopping_error

T = TypeVar("T")

MAX_CACHED_VARIANTS = 64  # graphs with sampling options of a request that are kept
RETRY_AFTER = "2"


@dataclass(frozen=True)
class ServerLimits:
    """What one server takes on."""

    body: int = 10_000_000
    """Bytes of a request's body."""
    body_seconds: float = 30.0
    """Seconds in which a body must have come."""
    messages: int = 1000
    """Messages in a conversation."""
    runs: int = 32
    """Runs at the same time."""
    keep_alive: float = 15.0
    """Seconds after which a silent stream gets a comment."""

    @property
    def body_items(self) -> int:
        """Items in all lists and objects of a body: a message of text and images has about ten."""
        return 1000 + 50 * self.messages


class SamplingOptions(NamedTuple):
    """What a request says about how the final answer is written; `None` is the mixture's own."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] | None = None


class MixtureService:
    """The mixtures by name, their graphs, the store of threads, and the runs that go on.

    Everything in it belongs to one event loop.
    """

    def __init__(
        self,
        mixtures: Mapping[str, MoAConfig],
        *,
        store: RunStore | None = None,
        limits: ServerLimits | None = None,
    ) -> None:
        """Build the models of all mixtures, once.

        Raises:
            ValueError: If a key is missing.
            ImportError: If a provider's package is not installed.
        """
        self.mixtures, self.store, self.limits = dict(mixtures), store, limits or ServerLimits()
        self.started = int(time.time())
        self.builders = {name: mixture.graph(lazy=False) for name, mixture in mixtures.items()}
        self._graphs = {name: each.compile(name=name) for name, each in self.builders.items()}
        self._cached_variant = lru_cache(MAX_CACHED_VARIANTS)(self._build_variant)
        self._runs: set[asyncio.Task[Any]] = set()
        self._stopping = False

    def get_graph(self, model: str, sampling: SamplingOptions | None = None) -> CompiledMoAGraph:
        """Give the graph of a mixture, which keeps no threads.

        Raises:
            ApiError: If there is no such mixture.
        """
        self.get_mixture(model)
        if sampling is None or sampling == SamplingOptions():
            return self._graphs[model]
        return self._cached_variant(model, sampling)

    def get_mixture(self, model: str) -> MoAConfig:
        """Give a mixture.

        Raises:
            ApiError: If there is none of that name.
        """
        if model not in self.mixtures:
            names = ", ".join(self.mixtures)
            message = f"no model {model!r}; expected one of: {names}"
            raise ApiError(404, message, code="model_not_found", param="model")
        return self.mixtures[model]

    def start_run(self, run: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a run beside the others; whoever waits for it cancels it when he goes.

        Raises:
            ApiError: If there are too many already, or the server is stopping.
        """
        try:
            self.require_capacity()
        except ApiError:
            run.close()
            raise
        task = asyncio.create_task(run)
        self._runs.add(task)
        task.add_done_callback(self._on_run_done)
        return task

    def require_capacity(self) -> None:
        """See that a run can be started.

        Raises:
            ApiError: If there are too many already, or the server is stopping.
        """
        if self._stopping:
            raise server_stopping_error()
        if len(self._runs) >= self.limits.runs:
            raise self._busy_error()

    async def stop_runs(self, timeout: float) -> None:
        """Cancel all runs, start no more, and wait so many seconds until they have cleaned up."""
        self._stopping = True
        for task in self._runs:
            task.cancel()
        if self._runs:
            await asyncio.wait(set(self._runs), timeout=timeout)

    def _busy_error(self) -> ApiError:
        message = f"{self.limits.runs} runs are going on, which is the most; try again later"
        headers = {"retry-after": RETRY_AFTER}
        return ApiError(429, message, code="too_many_runs", headers=headers)

    def _on_run_done(self, task: asyncio.Task[Any]) -> None:
        self._runs.discard(task)
        if not task.cancelled():
            task.exception()  # where nobody waits any more, nobody needs to be told

    def _build_variant(self, model: str, sampling: SamplingOptions) -> CompiledMoAGraph:
        """Have the final answer written as a request says; the proposers stay as they are."""
        mixture = self.mixtures[model]
        update = {
            "aggregator": _with_sampling(mixture.aggregator, sampling),
            "fallbacks": [_with_sampling(agent, sampling) for agent in mixture.fallbacks],
        }
        return mixture.model_copy(update=update).graph().compile(name=model)


def _with_sampling(agent: Agent, sampling: SamplingOptions) -> Agent:
    """Have an agent heed what a request says.

    Raises:
        ApiError: If its model does not take an option: the proposers are not asked then, either.
    """
    update = {key: value for key, value in sampling._asdict().items() if value is not None}
    changed = agent.model_copy(update=update)
    try:
        build_model(changed)
    except UnsupportedOptionError as error:
        code = "unsupported_parameter"
        raise ApiError(400, str(error), param=error.option, code=code) from None
    return changed


def get_service(request: Request) -> MixtureService:
    """Give the service of the application that a request came to."""
    return cast("MixtureService", request.app.state.service)
