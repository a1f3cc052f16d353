"""What a comparison will take, before anything is paid for: calls, tokens, money, time."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isinf
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from moa_graph.config.model import MoAConfig
from moa_graph.evals.benchmark_data import BenchmarkData
from moa_graph.evals.benchmarks.protocol import Benchmark
from moa_graph.evals.benchmarks.registry import benchmark_for, find_benchmark
from moa_graph.evals.judging.judge import Judge
from moa_graph.evals.judging.setup import judge_folder
from moa_graph.evals.plan import BenchmarkEntry, EvalPlan
from moa_graph.evals.results_file import ANSWERS_FILE, JUDGEMENTS_FILE
from moa_graph.evals.retired import describe_retired
from moa_graph.evals.systems import REPEAT_STRIDE, answer_options, number_samples
from moa_graph.models.agent import Agent
from moa_graph.models.pricing import (
    MILLION,
    Prices,
    estimate_cost,
    is_free_model,
)
from moa_graph.models.recorded import read_json_rows
from moa_graph.models.request_key import request_key
from moa_graph.prompting.layout import AGGREGATE_AND_SYNTHESIZE, TOTAL_REFERENCE_FACTOR
from moa_graph.prompting.tokens import BYTES_PER_TOKEN, count_tokens

ANSWER_TOKENS = 500
"""Tokens of a usual answer: in AlpacaEval they are between 350 and 500."""
REVIEW_TOKENS = 300
"""Tokens of a judge's words, where it does not answer with one."""
SELECTION_TOKENS = 5
TOKENS_PER_SECOND, CALL_LATENCY_S = 50, 1
"""How fast models write, and how long they wait before: for the time only."""


class TokenEstimate(NamedTuple):
    """A number of tokens that is not known yet."""

    expected: float
    upper_bound: float
    """Infinite if there is no bound."""

    def __add__(self, other: Any) -> "TokenEstimate":  # of numbers, not of a tuple's ends
        return TokenEstimate(self.expected + other.expected, self.upper_bound + other.upper_bound)

    def times(self, number: float) -> "TokenEstimate":
        """Give so many times the tokens."""
        return TokenEstimate(self.expected * number, self.upper_bound * number if number else 0.0)


NO_TOKENS = TokenEstimate(0, 0)


@dataclass(frozen=True)
class PlannedCall:
    """A call of a mixture for an item."""

    key: str
    """Of `request_key`: calls with the same key are one call, whatever systems make it."""
    label: str
    depth: int
    input_tokens: TokenEstimate
    output_tokens: TokenEstimate


@dataclass
class PartEstimate:
    """What a part of a comparison takes."""

    benchmark: str
    part: str
    """The name of a system, or `judge ...`."""
    items: int
    """That are still to be done."""
    calls: int = 0
    free: int = 0
    """Calls of agents that cost nothing; not among the others, and made by each system anew."""
    tokens: TokenEstimate = NO_TOKENS
    cost: float | None = 0.0
    """US dollars, likely; `None` if a price is not known."""
    most_cost: float | None = 0.0
    """`None` if a price is not known; infinite if there is no bound."""
    seconds: float = 0.0
    unpriced: set[str] = field(default_factory=set)
    unbounded: set[str] = field(default_factory=set)

    def add_call(self, call: PlannedCall, times: int, prices: Prices) -> None:
        """Take in a call that is made so many times."""
        if is_free_model(call.label):
            self.free += times
            return
        self.calls += times
        self.tokens += (call.input_tokens + call.output_tokens).times(times)
        if isinf(call.output_tokens.upper_bound):
            self.unbounded.add(call.label)
        likely = _cost_of_tokens(
            call.label, call.input_tokens.expected, call.output_tokens.expected, prices
        )
        if likely is None:
            self.unpriced.add(call.label)
        most = _cost_of_tokens(
            call.label, call.input_tokens.upper_bound, call.output_tokens.upper_bound, prices
        )
        self.cost = _add_cost(self.cost, likely, times)
        self.most_cost = _add_cost(self.most_cost, most, times)

    def add_part(self, other: "PartEstimate") -> None:
        """Take in another part."""
        self.items += other.items
        self.calls += other.calls
        self.free += other.free
        self.tokens += other.tokens
        self.cost = _add_cost(self.cost, other.cost)
        self.most_cost = _add_cost(self.most_cost, other.most_cost)
        self.seconds += other.seconds
        self.unpriced |= other.unpriced
        self.unbounded |= other.unbounded


@dataclass(frozen=True)
class ComparisonEstimate:
    """What a comparison takes."""

    estimates: Sequence[PartEstimate]
    prices: Mapping[str, tuple[float, float]]
    """US dollars for a million tokens read and written, of each model that is paid for."""
    notes: Sequence[str]

    @property
    def total(self) -> PartEstimate:
        """All of it."""
        total = PartEstimate("", "in all", 0)
        for each in self.estimates:
            total.add_part(each)
        return total


def estimate_comparison(
    plan: EvalPlan, out: Path, *, answer_tokens: int = ANSWER_TOKENS
) -> ComparisonEstimate:
    """Estimate what a comparison takes; nobody is asked, and no key is needed.

    Paid calls that systems share count once, and what is in the folder already not at all.
    Fallbacks and repeated attempts are not foreseen.

    Args:
        plan: The plan.
        out: The folder of the comparison.
        answer_tokens: Tokens of a usual answer.
    """
    estimates, notes = list[PartEstimate](), list[str]()
    for entry in plan.benchmarks:
        data = _read_shape(plan, entry, notes)
        estimates += _estimate_benchmark(plan, entry, data, out, answer_tokens)
    notes += [f"Retired: {each}." for each in describe_retired(_list_agents(plan))]
    return ComparisonEstimate(estimates, dict(sorted(_price_models(plan))), notes)


def _list_agents(plan: EvalPlan) -> Iterator[Agent]:
    """Give whoever is asked: the agents of all systems, and the judges."""
    for config in plan.configs.values():
        yield from (agent for layer in config.layers for agent in layer.values())
        yield from (config.aggregator, *config.fallbacks)
    yield from (judge.agent for judge in _list_judges(plan) if judge.agent)


def _list_judges(plan: EvalPlan) -> Iterator[Judge]:
    for entry in plan.benchmarks:
        yield from plan.judges_for(entry)


class BenchmarkShape(NamedTuple):
    """What is asked, as far as it is known."""

    benchmark: Benchmark
    ids: Sequence[Any]
    turns: Sequence[TokenEstimate]
    """The mean item: each of its turns."""

    @property
    def name(self) -> str:
        """The name of the benchmark."""
        return self.benchmark.name


def _read_shape(plan: EvalPlan, entry: BenchmarkEntry, notes: list[str]) -> BenchmarkShape:
    try:
        data = plan.load_benchmark(entry)
    except ValueError:
        benchmark = find_benchmark(entry.name)
        if benchmark is None or benchmark.pinned_file is None or entry.data:
            raise
        items = min(entry.limit or inf, benchmark.pinned_file.row_count)
        return _assume_shape(benchmark, int(items), notes)
    ids = [item.id for item in data.items]
    return BenchmarkShape(benchmark_for(data.name), ids, _mean_turns(data))


def _assume_shape(benchmark: Benchmark, items: int, notes: list[str]) -> BenchmarkShape:
    sizes = benchmark.typical_turn_bytes
    notes.append(
        f"{benchmark.name}: the data are not here and cannot be downloaded; {items:,} items "
        f"with {round(fmean(sizes))} characters a turn are assumed."
    )
    turns = [TokenEstimate(size / BYTES_PER_TOKEN, size) for size in sizes]
    return BenchmarkShape(benchmark, range(items), turns)


def _mean_turns(data: BenchmarkData) -> list[TokenEstimate]:
    longest = max(len(item.turns) for item in data.items)
    sizes = [
        [len(turn.encode()) for turn in item.turns] + [0] * (longest - len(item.turns))
        for item in data.items
    ]
    return [
        TokenEstimate(fmean(turn) / BYTES_PER_TOKEN, fmean(turn))
        for turn in zip(*sizes, strict=True)
    ]


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
    """Count the items for which a system makes each call; they are paid for then."""
    for call in planned:
        # The call store keeps no call that costs nothing: each system makes its own.
        new = unanswered if is_free_model(call.label) else unanswered - paid[call.key]
        paid[call.key] |= new
        yield call, len(new)


def _total_wait(new_items: Sequence[tuple[PlannedCall, int]]) -> float:
    """Give the seconds that all items take, one after the other; a layer is as slow as one."""
    waits = dict[int, float]()
    for call, items in new_items:
        if items and not is_free_model(call.label):
            waits[call.depth] = max(waits.get(call.depth, 0), items * _call_seconds(call))
    return sum(waits.values())


class CallPlanner:
    """Lists the calls that a mixture makes for an item."""

    def __init__(
        self, config: MoAConfig, shape: BenchmarkShape, answer_tokens: int, repeat: int = 1
    ) -> None:
        self._sample_offset = (repeat - 1) * REPEAT_STRIDE
        self._config, self._shape = config.with_defaults(), shape
        self._answer_tokens, self._depth = answer_tokens, 0

    def plan_calls(self) -> Iterator[PlannedCall]:
        """List the calls of all turns, and what makes them the same as others."""
        history: Any = None
        conversation, self._depth = NO_TOKENS, 0
        final_answer = _final_answer_tokens(
            self._config, self._shape.benchmark, self._answer_tokens
        )
        for turn in self._shape.turns:
            conversation += turn
            planned = list(self._plan_turn(conversation, [history, "turn"]))
            yield from planned
            history = self._prompt_identity(planned[-1:])
            conversation += final_answer

    def _plan_turn(self, conversation: TokenEstimate, prompt: Any) -> Iterator[PlannedCall]:
        references: list[TokenEstimate] | None = None
        for layer in self._config.layers:
            planned = list(self._plan_layer(layer, conversation, prompt, references))
            yield from planned
            prompt = self._prompt_identity(planned)
            references = [each.output_tokens for each in planned]
        aggregator = {"": self._config.aggregator}
        yield from self._plan_layer(
            aggregator, conversation, prompt, references, aggregation=self._config.aggregation
        )

    def _plan_layer(
        self,
        layer: Mapping[str, Agent],
        conversation: TokenEstimate,
        prompt: Any,
        references: Sequence[TokenEstimate] | None,
        *,
        aggregation: str = "synthesize",
    ) -> Iterator[PlannedCall]:
        self._depth += 1
        for _, agent, sample in number_samples(layer):
            called = _agent_for_benchmark(agent, self._shape.benchmark)
            target = [called.label, answer_options(called), called.system]
            yield PlannedCall(
                request_key(target, [prompt, aggregation], sample + self._sample_offset),
                called.label,
                self._depth,
                conversation + _prompt_tokens(self._config, called, references),
                _agent_output_tokens(called, self._answer_tokens, selects=aggregation == "select"),
            )

    def _prompt_identity(self, planned: Sequence[PlannedCall]) -> Any:
        """Say what makes prompts with the answers to these calls the same."""
        config = self._config
        layout = (config.references_in, config.max_reference_tokens, config.mark_truncated)
        return [[each.key for each in planned], layout]


def _agent_for_benchmark(agent: Agent, benchmark: Benchmark) -> Agent:
    """Give an agent as the benchmark has it asked."""
    if is_free_model(agent.label):
        return agent
    return agent.model_copy(update=dict(benchmark.estimated_call_options))


def _agent_output_tokens(
    agent: Agent, answer_tokens: int, *, selects: bool = False
) -> TokenEstimate:
    limit = agent.max_tokens or inf
    return TokenEstimate(min(SELECTION_TOKENS if selects else answer_tokens, limit), limit)


def _prompt_tokens(
    config: MoAConfig, agent: Agent, references: Sequence[TokenEstimate] | None
) -> TokenEstimate:
    """Count what is read beside the conversation: prompts, and the references as they are cut."""
    own = TokenEstimate(count_tokens(agent.system or ""), len((agent.system or "").encode()))
    if references is None:
        return own
    prompt = config.prompt or AGGREGATE_AND_SYNTHESIZE
    limit = config.max_reference_tokens or inf
    reference_tokens = [
        min(sum(min(size, limit) for size in sizes), TOTAL_REFERENCE_FACTOR * limit)
        for sizes in zip(*references, strict=True)
    ]
    return (
        own
        + TokenEstimate(count_tokens(prompt), len(prompt.encode()))
        + TokenEstimate(*reference_tokens)
    )


class PlannedJudging(NamedTuple):
    """A judge of a benchmark."""

    judge: Judge
    number: int
    """Among the judges of the benchmark, from 0; the first one judges proposals, too."""
    folder: Path
    """Of the benchmark, in the folder of the comparison."""

    def answered_ids(self, system: str) -> set[Any]:
        """Give the items of a system that it judged."""
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
    estimate = PartEstimate(shape.name, f"judge {judge.label}", 0)
    method = shape.benchmark.judging_method
    orders = method.text_verdict_calls if judge.text_verdict else 1
    own_limit = method.max_tokens if orders == 1 else None
    limit = (judge.agent and judge.agent.max_tokens) or own_limit
    writes = TokenEstimate(min(REVIEW_TOKENS, limit or inf), limit or inf)
    for run in plan.runs_for(entry):
        todo = len(set(shape.ids) - planned.answered_ids(run.name))
        estimate.items += todo
        answer = _final_answer_tokens(run.config, shape.benchmark, answer_tokens)
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
    """Count what is judged of a system for an item; for a correlation, its proposals are, too."""
    is_correlated = name in plan.correlation and bool(config.layers)
    return 1 + (config.layer_widths()[-1] if is_correlated else 0)


def _judge_input_tokens(shape: BenchmarkShape, answer: TokenEstimate) -> Iterator[TokenEstimate]:
    """Give what the judge reads for each turn that it judges."""
    prompt = shape.benchmark.judge_prompt_tokens
    reads = TokenEstimate(prompt, prompt * BYTES_PER_TOKEN)
    reference = answer if shape.benchmark.judge_reads_reference else NO_TOKENS  # it is as long
    for turn in shape.turns if shape.benchmark.judges_each_turn else shape.turns[:1]:
        reads += turn + answer
        yield reads + reference


def _final_answer_tokens(
    config: MoAConfig, benchmark: Benchmark, answer_tokens: int
) -> TokenEstimate:
    """Give the length of a system's final answer."""
    complete = config.with_defaults()
    agents = (
        [complete.aggregator]
        if config.aggregation == "synthesize"
        else list(complete.layers[-1].values())
    )
    lengths = [
        _agent_output_tokens(_agent_for_benchmark(each, benchmark), answer_tokens)
        for each in agents
    ]
    return TokenEstimate(
        max(each.expected for each in lengths), max(each.upper_bound for each in lengths)
    )


def _answered_ids(folder: Path, file: str = ANSWERS_FILE) -> set[Any]:
    path = folder / file
    rows = read_json_rows(path) if path.is_file() else []
    return {row["id"] for row in {row["id"]: row for row in rows}.values() if row["error"] is None}


def _call_seconds(call: PlannedCall) -> float:
    return CALL_LATENCY_S + call.output_tokens.expected / TOKENS_PER_SECOND


def _price_models(plan: EvalPlan) -> Iterator[tuple[str, tuple[float, float]]]:
    """Give the price of each model that is paid for, as far as it is known."""
    judges = _list_judges(plan)
    agent_prices = [(label, c.prices) for c in plan.configs.values() for label in c.labels()]
    for label, prices in (*agent_prices, *((judge.label, judge.prices) for judge in judges)):
        read, written = (
            _cost_of_tokens(label, MILLION, 0, prices),
            _cost_of_tokens(label, 0, MILLION, prices),
        )
        if not is_free_model(label) and read is not None and written is not None:
            yield label, (read, written)


def _cost_of_tokens(
    label: str, input_tokens: float, output_tokens: float, prices: Prices
) -> float | None:
    """Estimate what a call costs; infinite tokens cost as much, if there is a price at all."""
    if isinf(input_tokens + output_tokens):
        return None if _cost_of_tokens(label, 1, 1, prices) is None else inf
    tokens = {"input_tokens": round(input_tokens), "output_tokens": round(output_tokens)}
    return estimate_cost(label, tokens | {"total_tokens": sum(tokens.values())}, prices)


def _add_cost(so_far: float | None, more: float | None, times: int = 1) -> float | None:
    if not times:
        return so_far
    return None if so_far is None or more is None else so_far + times * more
