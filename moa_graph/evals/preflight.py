"""Estimate the calls, tokens, cost and time of a comparison before it runs."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

from moa_graph.config.model import MoAConfig
from moa_graph.evals.benchmark_shape import BenchmarkShape, read_shape
from moa_graph.evals.estimates import (
    NO_TOKENS,
    ComparisonEstimate,
    PartEstimate,
    PlannedCall,
    TokenEstimate,
    cost_of_tokens,
)
from moa_graph.evals.judging.judge import Judge
from moa_graph.evals.judging.setup import judge_folder
from moa_graph.evals.plan import BenchmarkEntry, EvalPlan
from moa_graph.evals.planned_calls import CallPlanner, final_answer_tokens
from moa_graph.evals.results_file import ANSWERS_FILE, JUDGEMENTS_FILE
from moa_graph.evals.retired import describe_retired
from moa_graph.models.agent import Agent
from moa_graph.models.pricing import MILLION, is_free_model
from moa_graph.models.recorded import read_json_rows
from moa_graph.prompting.tokens import BYTES_PER_TOKEN

ANSWER_TOKENS = 500
"""Tokens of a typical answer: in AlpacaEval, 350 to 500."""

REVIEW_TOKENS = 300
"""Tokens of a judge's text, if it does not answer with one token."""

TOKENS_PER_SECOND, CALL_LATENCY_S = 50, 1
"""Assumed speed and latency of models, only for the time estimate."""


def estimate_comparison(
    plan: EvalPlan, out: Path, *, answer_tokens: int = ANSWER_TOKENS
) -> ComparisonEstimate:
    """Estimate the resource use of a comparison, without a call or a key.

    Paid calls that systems share count once, and stored calls do not count. Fallbacks and retries
    are not included.

    Args:
        plan: The plan.
        out: The folder of the comparison.
        answer_tokens: Tokens of a typical answer.
    """
    estimates, notes = list[PartEstimate](), list[str]()
    for entry in plan.benchmarks:
        data = read_shape(plan, entry, notes)
        estimates += _estimate_benchmark(plan, entry, data, out, answer_tokens)
    notes += [*filter(None, map(_describe_routing, plan.configs.values()))]
    notes += [f"Retired: {each}." for each in describe_retired(_list_agents(plan))]
    return ComparisonEstimate(estimates, dict(sorted(_price_models(plan))), notes)


def _describe_routing(config: MoAConfig) -> str | None:
    """Return the assumption about a mixture's router; `None` if it has none."""
    if config.router is None:
        return None
    easy = ", ".join(agent.label for agent in config.router.agents.values())
    return (
        f"{config.name}: its router is taken to send every question to the layers; each one that "
        f"it sends past them takes a call of {easy} instead."
    )


def _list_agents(plan: EvalPlan) -> Iterator[Agent]:
    """Return the agents of all systems, and the judges."""
    for config in plan.configs.values():
        yield from (agent for layer in config.layers for agent in layer.values())
        yield from (config.aggregator, *config.fallbacks, *config.helpers)
        if router := config.router:
            yield from (router.model, *router.agents.values())
    yield from (judge.agent for judge in _list_judges(plan) if judge.agent)


def _list_judges(plan: EvalPlan) -> Iterator[Judge]:
    for entry in plan.benchmarks:
        yield from plan.judges_for(entry)


def _estimate_benchmark(
    plan: EvalPlan, entry: BenchmarkEntry, shape: BenchmarkShape, out: Path, answer_tokens: int
) -> Iterator[PartEstimate]:
    prices = {run.name: run.config.prices for run in plan.runs_for(entry)}
    calls = {
        run.name: list(CallPlanner(run.config, shape, answer_tokens, run.number).plan_calls())
        for run in plan.runs_for(entry)
    }
    paid = defaultdict[str, set[Any]](set)
    answered = {name: _answered_ids(out / shape.name / name) & set(shape.ids) for name in calls}
    for name, planned in calls.items():
        for each in planned:
            paid[each.key] |= answered[name]
    for name, planned in calls.items():
        unanswered = set(shape.ids) - answered[name]
        new_items = list(_count_new_items(planned, unanswered, paid))
        estimate = PartEstimate(shape.name, name, len(unanswered))
        for call, items in new_items:
            estimate.add_call(call, items, prices[name])
        waiting = _total_wait(new_items)
        estimate.seconds = waiting / min(plan.concurrency, len(shape.ids))
        yield estimate
    for number, judge in enumerate(plan.judges_for(entry)):
        planned_judging = PlannedJudging(judge, number, out / shape.name)
        yield _estimate_judging(plan, entry, shape, planned_judging, answer_tokens)


def _count_new_items(
    planned: Sequence[PlannedCall], unanswered: set[Any], paid: dict[str, set[Any]]
) -> Iterator[tuple[PlannedCall, int]]:
    """Return the number of items for which a system pays for each call."""
    for call in planned:
        # The call store does not store free calls: each system makes its own.
        new = unanswered if is_free_model(call.label) else unanswered - paid[call.key]
        paid[call.key] |= new
        yield call, len(new)


def _total_wait(new_items: Sequence[tuple[PlannedCall, int]]) -> float:
    """Return the seconds of all items in sequence; a layer takes as long as one call."""
    waits = dict[int, float]()
    for call, items in new_items:
        if items and not is_free_model(call.label):
            waits[call.depth] = max(waits.get(call.depth, 0), items * _call_seconds(call))
    return sum(waits.values())


class PlannedJudging(NamedTuple):
    """A judge of a benchmark."""

    judge: Judge
    number: int
    """Index among the judges of the benchmark; the first one also judges proposals."""
    folder: Path
    """Folder of the benchmark in that of the comparison."""

    def answered_ids(self, system: str) -> set[Any]:
        """Return the items of a system that the judge has judged."""
        folder = judge_folder(self.folder / system, self.judge, self.number)
        return _answered_ids(folder, JUDGEMENTS_FILE)


def _estimate_judging(
    plan: EvalPlan,
    entry: BenchmarkEntry,
    shape: BenchmarkShape,
    planned: PlannedJudging,
    answer_tokens: int,
) -> PartEstimate:
    judge = planned.judge
    name = judge.label if judge.scorer else f"judge {judge.label}"
    estimate = PartEstimate(shape.name, name, 0)
    method = shape.benchmark.judging_method
    orders = method.text_verdict_calls if judge.text_verdict else 1
    own_limit = method.max_tokens if orders == 1 else None
    limit = (judge.agent and judge.agent.max_tokens) or own_limit
    writes = TokenEstimate(min(REVIEW_TOKENS, limit or inf), limit or inf)
    for run in plan.runs_for(entry):
        todo = len(set(shape.ids) - planned.answered_ids(run.name))
        estimate.items += todo
        answer = final_answer_tokens(run.config, shape.benchmark, answer_tokens)
        answers = 1 if planned.number else _count_judged_answers(plan, run.name, run.config)
        for number, reads in enumerate(_judge_input_tokens(shape, answer)):
            if judge.agent:
                call = PlannedCall("", judge.label, 1, reads, writes)
                times = orders * todo * (1 if number else answers)
                estimate.add_call(call, times, judge.prices)
    if judge.agent:
        waiting = estimate.calls * (CALL_LATENCY_S + writes.expected / TOKENS_PER_SECOND)
        estimate.seconds = waiting / min(plan.concurrency, len(shape.ids))
    return estimate


def _count_judged_answers(plan: EvalPlan, name: str, config: MoAConfig) -> int:
    """Return the number of judged answers of an item, including proposals for a correlation."""
    is_correlated = name in plan.correlation and bool(config.layers)
    return 1 + (config.layer_widths()[-1] if is_correlated else 0)


def _judge_input_tokens(shape: BenchmarkShape, answer: TokenEstimate) -> Iterator[TokenEstimate]:
    """Return the prompt tokens of the judge for each judged turn."""
    prompt = shape.benchmark.judge_prompt_tokens
    reads = TokenEstimate(prompt, prompt * BYTES_PER_TOKEN)
    reference = answer if shape.benchmark.judge_reads_reference else NO_TOKENS  # of the same length
    for turn in shape.turns if shape.benchmark.judges_each_turn else shape.turns[:1]:
        reads += turn + answer
        yield reads + reference


def _answered_ids(folder: Path, file: str = ANSWERS_FILE) -> set[Any]:
    path = folder / file
    rows = read_json_rows(path) if path.is_file() else []
    return {row["id"] for row in {row["id"]: row for row in rows}.values() if row["error"] is None}


def _call_seconds(call: PlannedCall) -> float:
    return CALL_LATENCY_S + call.output_tokens.expected / TOKENS_PER_SECOND


def _price_models(plan: EvalPlan) -> Iterator[tuple[str, tuple[float, float]]]:
    """Return the known prices of paid models."""
    judges = _list_judges(plan)
    agent_prices = [(label, c.prices) for c in plan.configs.values() for label in c.labels()]
    for label, prices in (*agent_prices, *((judge.label, judge.prices) for judge in judges)):
        input_tokens, output_tokens = (
            cost_of_tokens(label, MILLION, 0, prices),
            cost_of_tokens(label, 0, MILLION, prices),
        )
        if not is_free_model(label) and input_tokens is not None and output_tokens is not None:
            yield label, (input_tokens, output_tokens)
