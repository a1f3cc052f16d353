"""What the server serves: the mixtures, the store, and the runs that go on."""

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeVar, cast

from starlette.requests import Request

from moa_graph.chat_model.model import ChatMoA
from moa_graph.config.model import MoAConfig
from moa_graph.models.agent import Agent, build_model
from moa_graph.models.capabilities import ModelCapabilities, read_capabilities
from moa_graph.models.providers import ReasoningEffort
from moa_graph.runs.store import RunStore
from moa_graph.server.errors import ApiError, server_stopping_error

T = TypeVar("T")

logger = logging.getLogger("moa_graph.server")

MAX_CACHED_VARIANTS = 64  # chat models with settings of a request that are kept
MAX_NAMED = 200  # parameters that the log names
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


@dataclass(frozen=True)
class ApiOptions:
    """How the API treats requests, and what its answers say."""

    strict: bool = False
    """Whether parameters that are not known, or that the aggregator does not take, are refused."""
    usage: Literal["run", "aggregator"] = "run"
    """Whose tokens `usage` is; those of the other are in `moa`."""


class WriterSettings(NamedTuple):
    """Options of `Agent` that a request sets for the final answer; `None` is the mixture's own."""

    reasoning_effort: ReasoningEffort | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] | None = None


Capability = Literal["calls_tools", "logprobs", "response_format"]
"""What a request can need of who writes its answer."""


@dataclass(frozen=True)
class ServedModel:
    """A mixture as a chat model, as one kind of request needs it."""

    chat_model: ChatMoA
    writers: Sequence[ModelCapabilities]
    """What its aggregator and its fallbacks can be asked for; nothing, where they select."""
    ineffective: Sequence[str] = ()
    """Settings that its aggregator does not take."""


class MixtureService:
    """The mixtures by name, the store of threads, and the runs that go on.

    Everything in it belongs to one event loop.
    """

    def __init__(
        self,
        mixtures: Mapping[str, MoAConfig],
        *,
        store: RunStore | None = None,
        limits: ServerLimits | None = None,
        api: ApiOptions | None = None,
    ) -> None:
        """Build the models of all mixtures, once.

        Raises:
            ValueError: If a key is missing.
            ImportError: If a provider's package is not installed.
        """
        self.mixtures, self.store, self.limits = dict(mixtures), store, limits or ServerLimits()
        self.api, self.started = api or ApiOptions(), int(time.time())
        self._served = {
            name: ServedModel(
                mixture.chat_model(model_name=name, lazy=False), _writer_capabilities(mixture)
            )
            for name, mixture in mixtures.items()
        }
        self._cached_variant = lru_cache(MAX_CACHED_VARIANTS)(self._build_variant)
        self._named_parameters = set[str]()
        self._runs: set[asyncio.Task[Any]] = set()
        self._stopping = False

    def get_model(
        self,
        name: str,
        settings: WriterSettings | None = None,
        needs: frozenset[Capability] = frozenset(),
    ) -> ServedModel:
        """Give a mixture as a chat model.

        Args:
            name: The mixture.
            settings: How the final answer is to be written; the proposers stay as they are.
            needs: What a fallback has to be capable of: one that is not is left out.

        Raises:
            ApiError: If there is no such mixture.
        """
        self.get_mixture(name)
        if (settings is None or settings == WriterSettings()) and not needs:
            return self._served[name]
        return self._cached_variant(name, settings or WriterSettings(), needs)

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

    def _build_variant(
        self, name: str, settings: WriterSettings, needs: frozenset[Capability]
    ) -> ServedModel:
        mixture = self.mixtures[name]
        with_tools = "calls_tools" in needs
        writers = _writer_capabilities(mixture, with_tools=with_tools)
        fallbacks = zip(mixture.fallbacks, writers[1:], strict=True)
        kept = [agent for agent, capabilities in fallbacks if capabilities.meet(needs)]
        aggregator, ineffective = _with_settings(mixture.aggregator, settings)
        update = {
            "aggregator": aggregator,
            "fallbacks": [_with_settings(agent, settings)[0] for agent in kept],
        }
        mixture = mixture.model_copy(update=update)
        chat_model = mixture.chat_model(model_name=name, lazy=False)
        writers = _writer_capabilities(mixture, with_tools=with_tools)
        return ServedModel(chat_model, writers, ineffective)

    def note_ineffective_parameters(self, names: Iterable[str]) -> None:
        """Log parameters that have no effect, each once."""
        for name in names:
            if name not in self._named_parameters and len(self._named_parameters) < MAX_NAMED:
                self._named_parameters.add(name)
                logger.warning("parameter %r of a request has no effect; told once", name)


def _writer_capabilities(
    mixture: MoAConfig, *, with_tools: bool = False
) -> list[ModelCapabilities]:
    """Tell what the aggregator and the fallbacks can be asked for."""
    agents = [mixture.aggregator, *mixture.fallbacks]
    if mixture.aggregation == "select":  # they are asked for a number
        return [ModelCapabilities() for _ in agents]
    return [read_capabilities(build_model(agent), with_tools=with_tools) for agent in agents]


def _with_settings(agent: Agent, settings: WriterSettings) -> tuple[Agent, list[str]]:
    """Set what an agent takes, and name what it does not."""
    ineffective = []
    for name, value in settings._asdict().items():
        if value is None:
            continue
        setting = list(value) if isinstance(value, tuple) else value
        changed = agent.model_copy(update={name: setting})
        if _takes_setting(changed, name):
            agent = changed
        else:
            ineffective.append(name)
    return agent, ineffective


def _takes_setting(agent: Agent, name: str) -> bool:
    if not agent.takes_option(name):
        return False
    try:
        build_model(agent)
    except ValueError:  # its package, or what it says of the model, refuses it
        return False
    return True


def get_service(request: Request) -> MixtureService:
    """Give the service of the application that a request came to."""
    return cast("MixtureService", request.app.state.service)
