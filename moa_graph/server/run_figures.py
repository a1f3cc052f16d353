"""Figures of a run for the log: outcome, tokens, cost and causes."""

from collections.abc import Mapping, Sequence
from typing import Any

from moa_graph.models.pricing import Prices
from moa_graph.telemetry.agent_outcomes import AgentOutcome
from moa_graph.telemetry.observed_runs import MixtureStatus, ObservedRun, RunListener

_WORST_FIRST: Sequence[MixtureStatus] = (
    "failed",
    "cancelled",
    "interrupted",
    "degraded",
    "answered",
)
_EARLIER = "earlier in the turn"


class RunFigures(RunListener):
    """Totals of the agents of a run, which may be several answers of a mixture."""

    def __init__(self, prices: Mapping[str, Prices]) -> None:
        """Create empty totals.

        Args:
            prices: Prices of mixtures, by name.
        """
        self._prices = prices
        self._mixtures: list[ObservedRun] = []
        self._statuses = set[MixtureStatus]()
        self.prompt_tokens = self.completion_tokens = 0
        self.cost = 0.0
        self.cost_is_complete = True
        self.causes: dict[str, str] = {}
        """Errors of agents, by node."""
        self.is_over = False
        self.is_told = False
        """Whether a log line includes the run."""
        self.open_requests = 0
        """Number of its requests without a log line so far."""

    @property
    def name(self) -> str | None:
        """The mixture; `None` if no agent was called."""
        return self._mixtures[0].name if self._mixtures else None

    @property
    def status(self) -> MixtureStatus | None:
        """The worst status of its answers; `None` while it is running."""
        if not self.is_over:
            return None
        return min(self._statuses, key=_WORST_FIRST.index, default="failed")

    @property
    def first_token_at(self) -> float | None:
        """Time of the first token of a streamed answer, on the clock of `perf_counter`."""
        moments = (
            mixture.started_at + mixture.first_token_seconds
            for mixture in self._mixtures
            if mixture.first_token_seconds is not None
        )
        return min(moments, default=None)

    def mark_over(self, *, cancelled: bool) -> None:
        """Record the end of the run."""
        self.is_over = True
        if cancelled:
            self._statuses = {"cancelled"}

    def run_started(self, run: ObservedRun) -> None:
        """Record the start of a mixture."""
        if run.kind == "mixture" and not run.is_nested:
            self._mixtures.append(run)

    def run_ended(self, run: ObservedRun) -> None:
        """Record the end of an agent or a mixture."""
        if run in self._mixtures:
            self._statuses.add(run.status)
            failed = run.summary["failed"] if run.summary else []
            self.causes = dict.fromkeys(failed, _EARLIER) | self.causes
        elif run.kind == "agent" and (mixture := run.find_around("mixture")) in self._mixtures:
            for outcome in run.outcomes:
                self._add_call(outcome, self._prices.get(mixture.name) if mixture else None)

    def to_fields(self) -> dict[str, Any]:
        """Return the fields of the log, by stable names."""
        return {
            "run": self.status or "cancelled",
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "cost_dollars": round(self.cost, 9),
            "cost_is_complete": self.cost_is_complete,
            "causes": self.causes,
        }

    def _add_call(self, outcome: AgentOutcome, prices: Prices | None) -> None:
        tokens, cost = outcome.usage or {}, outcome.estimate_cost(prices)
        self.prompt_tokens += tokens.get("input_tokens", 0)
        self.completion_tokens += tokens.get("output_tokens", 0)
        self.cost += cost or 0.0
        self.cost_is_complete &= cost is not None and not outcome.may_be_billed
        if outcome.cause and outcome.status != "cancelled":
            self.causes[outcome.node] = outcome.cause
