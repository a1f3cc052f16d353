"""Telemetry of runs: log figures, metrics and traces."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextvars import ContextVar, copy_context
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_core.tracers.context import register_configure_hook

from moa_graph.config.model import MoAConfig
from moa_graph.server.request_record import RequestRecord, current_record, log_run
from moa_graph.server.run_figures import RunFigures
from moa_graph.telemetry.observed_runs import RunListener, RunObserver
from moa_graph.telemetry.traces import create_span_listener, is_recording

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from moa_graph.telemetry.metrics import RunMetrics

T = TypeVar("T")

# LangChain runs find the observer of their context here.
_observer: ContextVar[RunObserver | None] = ContextVar("moa_graph_run_observer", default=None)
register_configure_hook(_observer, inheritable=True)


class ServerTelemetry:
    """Observes the runs of a server."""

    def __init__(
        self,
        mixtures: Mapping[str, MoAConfig],
        *,
        metrics: bool = False,
        traces: bool = False,
        tracer_provider: "TracerProvider | None" = None,
    ) -> None:
        """Create the observers.

        Args:
            mixtures: The served mixtures, by name.
            metrics: Whether to collect metrics for Prometheus.
            traces: Whether to create OpenTelemetry spans.
            tracer_provider: Provider of the tracer; by default the global one.

        Raises:
            ImportError: If a package is missing.
        """
        self._prices = {name: mixture.prices for name, mixture in mixtures.items()}
        self.metrics = _create_metrics(mixtures) if metrics else None
        self.has_traces = traces
        listeners: list[RunListener | None] = [self.metrics]
        listeners.append(create_span_listener(tracer_provider) if traces else None)
        self._listeners = [each for each in listeners if each is not None]

    @property
    def records_traces(self) -> bool:
        """Whether spans are recorded, which requires an SDK of OpenTelemetry."""
        return self.has_traces and is_recording()

    def watch_runs(self, count_runs: Callable[[], tuple[int, int]]) -> None:
        """Register gauges for running and waiting runs."""
        if self.metrics:
            self.metrics.watch("moa_running_runs", "Running runs.", lambda: count_runs()[0])
            waiting = "Runs waiting in the queue."
            self.metrics.watch("moa_waiting_runs", waiting, lambda: count_runs()[1])

    def start_run(self, run: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start an observed run, and record it for the current request."""
        figures = RunFigures(self._prices)
        observer = RunObserver([figures, *self._listeners])
        context = copy_context()
        context.run(_observer.set, observer)
        task = asyncio.create_task(run, context=context)
        record = current_record()
        if record and not record.is_logged:
            record.follow_run(task, figures)
        task.add_done_callback(partial(_on_run_done, observer, figures, record, perf_counter()))
        return task


def _on_run_done(
    observer: RunObserver,
    figures: RunFigures,
    record: RequestRecord | None,
    started: float,
    task: asyncio.Task[Any],
) -> None:
    observer.close()
    figures.mark_over(cancelled=task.cancelled())
    if not figures.is_told and not figures.open_requests:
        log_run(figures, record, perf_counter() - started)


def _create_metrics(mixtures: Mapping[str, MoAConfig]) -> "RunMetrics":
    from moa_graph.telemetry.metrics import (
        MeasuredMixture,
        RunMetrics,
    )

    measured = {
        name: MeasuredMixture(frozenset(_list_nodes(mixture)), mixture.prices)
        for name, mixture in mixtures.items()
    }
    return RunMetrics(measured)


def _list_nodes(mixture: MoAConfig) -> Iterator[str]:
    yield from mixture.graph(lazy=True).nodes
    yield from (f"fallback_{number}" for number in range(1, len(mixture.fallbacks) + 1))
