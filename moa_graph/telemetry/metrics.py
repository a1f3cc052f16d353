"""Prometheus metrics with labels from the configuration only."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

from moa_graph.graph.node_names import AGGREGATOR, ROUTER, parse_helper_role
from moa_graph.models.pricing import Prices
from moa_graph.telemetry.agent_outcomes import AgentOutcome
from moa_graph.telemetry.observed_runs import ObservedRun, RunListener

OTHER = "other"
"""Label of mixtures and agents that are not in the configuration."""

_BUCKETS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)
_CALL_LABELS = ("mixture", "layer", "agent")
_TIMED = {"answered", "failed", "cut off"}  # cached answers take no time


@dataclass(frozen=True)
class MeasuredMixture:
    """Names of the agents of a mixture, and prices of its models."""

    nodes: Collection[str]
    """Nodes of proposers, aggregator, helpers and fallbacks."""
    prices: Prices = field(default_factory=dict)


class RunMetrics(RunListener):
    """Counts the runs of mixtures, and the calls of their agents."""

    def __init__(
        self, mixtures: Mapping[str, MeasuredMixture], registry: CollectorRegistry | None = None
    ) -> None:
        """Create the metrics.

        Args:
            mixtures: The mixtures with their own labels, by name.
            registry: Registry of the metrics; by default a new one.
        """
        self._mixtures = mixtures
        self.registry = registry = registry or CollectorRegistry()
        ProcessCollector(registry=registry)
        self._runs = Counter(
            "moa_runs", "Runs of mixtures.", ("mixture", "outcome"), registry=registry
        )
        self._run_seconds = Histogram(
            "moa_run_duration_seconds",
            "Duration of runs in seconds.",
            ("mixture",),
            registry=registry,
            buckets=_BUCKETS_S,
        )
        self._calls = Counter(
            "moa_calls", "Calls of agents.", (*_CALL_LABELS, "outcome"), registry=registry
        )
        self._call_seconds = Histogram(
            "moa_call_duration_seconds",
            "Duration of calls in seconds.",
            _CALL_LABELS,
            registry=registry,
            buckets=_BUCKETS_S,
        )
        self._failures = Counter(
            "moa_call_failures",
            "Calls without an answer, by the status or the class of the error.",
            (*_CALL_LABELS, "error"),
            registry=registry,
        )
        self._tokens = Counter(
            "moa_tokens",
            "Tokens of all calls; `cache_read` is a part of `input`, `reasoning` of `output`.",
            ("mixture", "kind"),
            registry=registry,
        )
        self._cost = Counter(
            "moa_cost_dollars",
            "Estimated cost of the calls whose price is known.",
            ("mixture",),
            registry=registry,
        )
        self._unpriced = Counter(
            "moa_unpriced_calls",
            "Calls of unknown cost that may be billed.",
            ("mixture",),
            registry=registry,
        )

    def watch(self, name: str, description: str, read: Callable[[], float]) -> None:
        """Add a gauge whose value is read on request."""
        Gauge(name, description, registry=self.registry).set_function(read)

    def encode(self, accept: str = "") -> tuple[bytes, str]:
        """Return all metrics in a format that a client accepts, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def run_ended(self, run: ObservedRun) -> None:
        """Count a run; calls of a nested mixture count for its agent."""
        if run.kind == "mixture" and not run.is_nested:
            name = run.name if run.name in self._mixtures else OTHER
            self._runs.labels(name, run.status).inc()
            if run.status not in {"cancelled", "interrupted"}:
                self._run_seconds.labels(name).observe(run.seconds)
        elif run.kind == "agent":
            mixture = run.find_around("mixture")
            if mixture and not mixture.is_nested:
                for outcome in run.outcomes:
                    self._count_call(mixture.name, outcome)

    def _count_call(self, mixture: str, outcome: AgentOutcome) -> None:
        measured = self._mixtures.get(mixture)
        is_known = measured is not None and outcome.node in measured.nodes
        layer = AGGREGATOR if outcome.layer is None else str(outcome.layer)
        layer = ROUTER if outcome.node == ROUTER else parse_helper_role(outcome.node) or layer
        name = mixture if measured else OTHER
        labels = (name, layer, outcome.agent) if is_known else (name, OTHER, OTHER)
        self._calls.labels(*labels, outcome.status.replace(" ", "_")).inc()
        if outcome.status in _TIMED:
            self._call_seconds.labels(*labels).observe(outcome.seconds)
        if outcome.error_type:
            self._failures.labels(*labels, outcome.error_type).inc()
        for kind, count in _read_tokens(outcome.usage or {}):
            self._tokens.labels(name, kind).inc(count)
        self._count_cost(name, outcome, measured.prices if measured else None)

    def _count_cost(self, mixture: str, outcome: AgentOutcome, prices: Prices | None) -> None:
        cost = outcome.estimate_cost(prices)
        if cost:
            self._cost.labels(mixture).inc(cost)
        if cost is None or outcome.may_be_billed:
            self._unpriced.labels(mixture).inc()


def _read_tokens(usage: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    input_details, output_details = (
        usage.get("input_token_details"),
        usage.get("output_token_details"),
    )
    counts = {
        "input": usage.get("input_tokens"),
        "output": usage.get("output_tokens"),
        "cache_read": (input_details or {}).get("cache_read"),
        "reasoning": (output_details or {}).get("reasoning"),
    }
    yield from ((kind, count) for kind, count in counts.items() if count)
