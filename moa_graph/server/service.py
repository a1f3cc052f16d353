"""The state of the server: mixtures, store and running runs."""

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
from moa_graph.server.context_lengths import ContextLengths
from moa_graph.server.errors import RETRY_AFTER, ApiError, server_stopping_error
from moa_graph.server.openai_responses_kept import KeptItems
from moa_graph.server.request_record import note_model
from moa_graph.server.telemetry import ServerTelemetry

T = TypeVar("T")

logger = logging.getLogger("moa_graph.server")

MAX_CACHED_VARIANTS = 64  # cached chat models with settings of requests
MAX_NAMED = 200  # maximum number of logged parameters


@dataclass(frozen=True)
class ServerLimits:
    """Limits of a server."""

    body: int = 10_000_000
    """Maximum bytes of a request's body."""
    body_seconds: float = 30.0
    """Maximum number of seconds for receiving a body."""
    messages: int = 1000
    """Maximum number of messages in a conversation."""
    runs: int = 32
    """Maximum number of parallel runs."""
    queue: int = 0
    """Maximum number of runs that wait, in order of arrival."""
    keep_alive: float = 15.0
    """Seconds after which a silent stream sends a comment."""
    heartbeat: float = 0.0
    """Seconds after which an answer without streaming sends white space; 0 for never."""
    rejoin: float = 0.0
    """Seconds for which a run continues after its client disconnected, for a retry."""

    @property
    def body_items(self) -> int:
        """Maximum number of items in a body: a message with text and images has about ten."""
        return 1000 + 50 * self.messages


@dataclass(frozen=True)
class ApiOptions:
    """Options of the API."""

    strict: bool = False
    """Whether to reject parameters that are unknown or that the aggregator does not support."""
    usage: Literal["run", "aggregator"] = "run"
    """Which tokens `usage` contains; the others are in `moa`."""


class WriterSettings(NamedTuple):
    """Options of `Agent` that a request sets for the final answer; `None` sets none."""

    reasoning_effort: ReasoningEffort | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] | None = None


Capability = Literal["calls_tools", "logprobs", "response_format"]
"""Capability that a request requires of its writers."""


@dataclass(frozen=True)
class ServedModel:
    """A mixture as a chat model, for one combination of settings and needs."""

    chat_model: ChatMoA
    writers: Sequence[ModelCapabilities]
    """Capabilities of its aggregator and fallbacks; none if they select."""
    ineffective: Sequence[str] = ()
    """Settings that its aggregator does not support."""


class MixtureService:
    """The mixtures by name, the store of threads, and the running runs.

    All parts belong to one event loop.
    """

    def __init__(
        self,
        mixtures: Mapping[str, MoAConfig],
        *,
        store: RunStore | None = None,
        limits: ServerLimits | None = None,
        api: ApiOptions | None = None,
        telemetry: ServerTelemetry | None = None,
        without_keys: Sequence[MoAConfig] = (),
    ) -> None:
        """Build the models of all mixtures, once.

        Args:
            mixtures: The mixtures by name.
            store: Store of the threads; without it, the page has no threads.
            limits: Limits of the server.
            api: Options of the API.
            telemetry: Metrics and traces.
            without_keys: Mixtures that the page lists with their missing keys.

        Raises:
            ValueError: If a key is missing.
            ImportError: If a provider's package is not installed.
        """
        self.mixtures, self.store, self.limits = dict(mixtures), store, limits or ServerLimits()
        self.without_keys = without_keys
        self.api, self.started = api or ApiOptions(), int(time.time())
        self.telemetry = telemetry or ServerTelemetry(mixtures)
        self.telemetry.watch_runs(self.count_runs)
        self._served = {
            name: ServedModel(
                mixture.chat_model(model_name=name, lazy=False), _writer_capabilities(mixture)
            )
            for name, mixture in mixtures.items()
        }
        self.context_lengths = ContextLengths(mixtures)
        self._cached_variant = lru_cache(MAX_CACHED_VARIANTS)(self._build_variant)
        self.response_items = KeptItems()
        self._named_parameters = set[str]()
        self.runs: set[asyncio.Task[Any]] = set()
        """Running and waiting runs."""
        self.places = asyncio.Semaphore(self.limits.runs)
        """Each running run holds one place; waiting runs get places in order."""
        self.is_stopping = False
        """Whether the server rejects new runs."""

    def get_model(
        self,
        name: str,
        settings: WriterSettings | None = None,
        needs: frozenset[Capability] = frozenset(),
    ) -> ServedModel:
        """Return a mixture as a chat model.

        Args:
            name: The mixture.
            settings: Settings for the final answer; proposers are not changed.
            needs: Required capabilities of a fallback; other fallbacks are left out.

        Raises:
            ApiError: If there is no such mixture.
        """
        self.get_mixture(name)
        if (settings is None or settings == WriterSettings()) and not needs:
            return self._served[name]
        return self._cached_variant(name, settings or WriterSettings(), needs)

    def get_mixture(self, model: str) -> MoAConfig:
        """Return a mixture.

        Raises:
            ApiError: If there is none with that name.
        """
        if model not in self.mixtures:
            names = ", ".join(self.mixtures)
            message = f"no model {model!r}; expected one of: {names}"
            raise ApiError(404, message, code="model_not_found", param="model")
        note_model(model)
        return self.mixtures[model]

    @property
    def layered_mixtures(self) -> list[MoAConfig]:
        """Mixtures with layers; single models have none."""
        return [mixture for mixture in self.mixtures.values() if mixture.layers]

    def start_run(
        self, run: Coroutine[Any, Any, T], *, takes_place: bool = True
    ) -> asyncio.Task[T]:
        """Start a run, or queue it until one of `places` is free.

        If the client of a waiting request disconnects, its run is cancelled and leaves the queue.

        Args:
            run: The run.
            takes_place: Whether to wait for a place before the run starts; else the run does so.

        Raises:
            ApiError: If there are too many runs, or the server is stopping.
        """
        try:
            self.require_capacity()
        except ApiError:
            run.close()
            raise
        task = self.telemetry.start_run(self._run_in_place(run) if takes_place else run)
        self.runs.add(task)
        task.add_done_callback(self._on_run_done)
        task.add_done_callback(lambda _: run.close())  # avoids a warning if it never started
        return task

    def require_capacity(self) -> None:
        """Check that a run can start or wait.

        Raises:
            ApiError: If there are too many runs, or the server is stopping.
        """
        if self.is_stopping:
            raise server_stopping_error()
        if len(self.runs) >= self.limits.runs + self.limits.queue:
            raise self._busy_error()

    def count_runs(self) -> tuple[int, int]:
        """Return the numbers of running and of waiting runs."""
        running = min(len(self.runs), self.limits.runs)
        return running, len(self.runs) - running

    async def stop_runs(self, timeout: float) -> None:
        """Reject new runs, cancel all runs, and wait some seconds for their cleanup."""
        self.is_stopping = True
        for task in self.runs:
            task.cancel()
        if self.runs:
            await asyncio.wait(set(self.runs), timeout=timeout)

    async def _run_in_place(self, run: Coroutine[Any, Any, T]) -> T:
        try:
            await self.places.acquire()
        except asyncio.CancelledError:
            if task := asyncio.current_task():
                task.cancel()  # the run starts and reports the cancellation
            return await run
        try:
            return await run
        finally:
            self.places.release()

    def _busy_error(self) -> ApiError:
        waiting = f" and {self.limits.queue} wait" if self.limits.queue else ""
        message = (
            f"{self.limits.runs} runs are going on{waiting}, which is the most; try again later"
        )
        headers = {"retry-after": RETRY_AFTER}
        return ApiError(429, message, code="too_many_runs", headers=headers)

    def _on_run_done(self, task: asyncio.Task[Any]) -> None:
        self.runs.discard(task)
        if not task.cancelled():
            task.exception()  # nobody awaits the error

    def _build_variant(
        self, name: str, settings: WriterSettings, needs: frozenset[Capability]
    ) -> ServedModel:
        mixture = self.mixtures[name]
        with_tools = "calls_tools" in needs
        writers = _writer_capabilities(mixture, with_tools=with_tools)
        aggregator, ineffective = _with_settings(mixture.aggregator, settings, writers[0])
        fallbacks = [
            _with_settings(agent, settings, capabilities)[0]
            for agent, capabilities in zip(mixture.fallbacks, writers[1:], strict=True)
            if capabilities.meet(needs)
        ]
        update = {"aggregator": aggregator, "fallbacks": fallbacks}
        mixture = mixture.model_copy(update=update)
        chat_model = mixture.chat_model(model_name=name, lazy=False)
        writers = _writer_capabilities(mixture, with_tools=with_tools)
        return ServedModel(chat_model, writers, ineffective)

    def note_ineffective_parameters(self, names: Iterable[str]) -> None:
        """Log parameters without effect, each once."""
        for name in names:
            if name not in self._named_parameters and len(self._named_parameters) < MAX_NAMED:
                self._named_parameters.add(name)
                logger.warning("parameter %r of a request has no effect; logged once", name)


def _writer_capabilities(
    mixture: MoAConfig, *, with_tools: bool = False
) -> list[ModelCapabilities]:
    """Return the common capabilities of the aggregator and the fallbacks."""
    agents = [mixture.aggregator, *mixture.fallbacks]
    if mixture.picks_proposal:  # they only select
        return [ModelCapabilities() for _ in agents]
    return [read_capabilities(build_model(agent), with_tools=with_tools) for agent in agents]


def _with_settings(
    agent: Agent, settings: WriterSettings, capabilities: ModelCapabilities
) -> tuple[Agent, list[str]]:
    """Apply the settings that an agent supports, and return the names of the others."""
    ineffective = []
    for name, value in settings._asdict().items():
        if value is None:
            continue
        setting = list(value)[: capabilities.max_stops] if isinstance(value, tuple) else value
        changed = agent.model_copy(update={name: setting})
        is_taken = _takes_setting(changed, name)
        agent = changed if is_taken else agent
        if not is_taken or (isinstance(setting, list) and len(setting) < len(value)):
            ineffective.append(name)
    return agent, ineffective


def _takes_setting(agent: Agent, name: str) -> bool:
    if not agent.takes_option(name):
        return False
    try:
        build_model(agent)
    except ValueError:  # rejected by its package or model profile
        return False
    return True


def get_service(request: Request) -> MixtureService:
    """Return the service of a request's application."""
    return cast("MixtureService", request.app.state.service)
