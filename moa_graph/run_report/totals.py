"""Tokens, cost and time of each agent of a run, and their sums."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from moa_graph.run_report.columns import label_of
from moa_graph.runs.agent_call import AgentCall
from moa_graph.runs.record import RunRecord

Count = TypeVar("Count", int, float)


@dataclass(frozen=True)
class AgentTotals:
    """Totals of an agent over all layers."""

    agent: str
    model: str
    calls: int
    answered: int
    tokens_read: int | None
    """Tokens; `None` if no call reported them."""
    tokens_written: int | None
    seconds: float | None
    """Seconds; `None` if no duration is known."""
    cost: float | None
    usage_is_complete: bool
    """Whether all answers have token counts."""
    cost_is_complete: bool
    """Whether the cost of all answers is known."""


def total_by_agent(run: RunRecord) -> list[AgentTotals]:
    """Sum the calls of each agent."""
    calls: dict[tuple[str, str], list[AgentCall]] = defaultdict(list)
    for call in _all_calls(run):
        calls[label_of(call), call.model].append(call)
    return [_sum_calls(agent, model, each) for (agent, model), each in calls.items()]


def total_of_run(run: RunRecord) -> AgentTotals:
    """Sum the calls of all agents."""
    return _sum_calls("all", "", _all_calls(run))


def _all_calls(run: RunRecord) -> list[AgentCall]:
    """Return the calls, with a failed aggregator only once."""
    writers = run.failed_writers
    calls = [call for call in run.calls if call.is_timed or not writers]
    return [*calls, *writers, *run.decisions]


def _sum_calls(agent: str, model: str, calls: Sequence[AgentCall]) -> AgentTotals:
    # Above the limit of complexity: independent sums, one for each field.
    usages = [call.usage for call in calls if call.usage]
    return AgentTotals(
        agent=agent,
        model=model,
        calls=len(calls),
        answered=sum(call.error is None for call in calls),
        tokens_read=_sum_known(usage["input_tokens"] for usage in usages),
        tokens_written=_sum_known(usage["output_tokens"] for usage in usages),
        seconds=_sum_known(call.seconds if call.is_timed else None for call in calls),
        cost=_sum_known(call.cost for call in calls),
        usage_is_complete=all(c.usage and not c.may_be_billed for c in calls if c.is_billed),
        cost_is_complete=all(call.is_cost_known for call in calls if call.is_billed),
    )


def _sum_known(values: Iterable[Count | None]) -> Count | None:
    """Sum the known values; `None` if there are none."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
