"""What a comparison will take, before anything is paid for: calls, tokens, money, time."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isinf
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from moa_graph.config.model import MoAConfig
from moa_graph.evals.answering import MT_BENCH_TOKENS
from moa_graph.evals.datasets import PINNED_DATASETS, Benchmark
from moa_graph.evals.judging.account import JUDGEMENTS_FILE
from moa_graph.evals.judging.setup import ANSWERS_FILE, JUDGING_METHODS
from moa_graph.evals.plan import BenchmarkEntry, EvalPlan
from moa_graph.evals.systems import number_samples
from moa_graph.models.agent import Agent
from moa_graph.models.pricing import (
    MILLION,
    Prices,
    estimate_cost,
    is_free_model,
)
from moa_graph.models.recorded import read_json_rows
from moa_graph.prompting.layout import AGGREGATE_AND_SYNTHESIZE, TOTAL_REFERENCE_FACTOR
from moa_graph.prompting.tokens import BYTES_PER_TOKEN, count_tokens

ANSWER_TOKENS = 500
"""Tokens of a usual answer: in AlpacaEval they are between 350 and 500."""
REVIEW_TOKENS = 300
"""Tokens of a judge's words, where it does not answer with one."""
SELECTION_TOKENS = 5
TOKENS_PER_SECOND, CALL_LATENCY_S = 50, 1
"""How fast models write, and how long they wait before: for the time only."""
JUDGE_PROMPT_TOKENS = {"alpaca_eval": 450, "mt_bench": 350, "flask": 900}
"""About what the judge reads beside question and answers."""
TYPICAL_BYTES = {"alpaca_eval": 175, "mt_bench": 202, "flask": 450}
"""Of a turn, where the data are not at hand: AlpacaEval's and MT-Bench's own means; FLASK's is a
guess (the 89 hard ones have 684)."""


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

    key: Any
    """Calls with the same key are the same call, whatever system makes them."""
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
    return ComparisonEstimate(estimates, dict(sorted(_price_models(plan))), notes)


class BenchmarkShape(NamedTuple):
    """What is asked, as far as it is known."""

    name: str
    ids: Sequence[Any]
    turns: Sequence[TokenEstimate]
    """The mean item: each of its turns."""


def _read_shape(plan: EvalPlan, entry: BenchmarkEntry, notes: list[str]) -> BenchmarkShape:
    try:
        benchmark = plan.load_benchmark(entry)
    except ValueError:
        if entry.name not in PINNED_DATASETS or entry.data:
            raise
        size = TYPICAL_BYTES[entry.name]
        items = min(
            entry.limit or PINNED_DATASETS[entry.name].row_count,
            PINNED_DATASETS[entry.name].row_count,
        )
        notes.append(
            f"{entry.name}: the data are not here and cannot be downloaded; {items:,} items "
            f"with {size} characters a turn are assumed."
        )
        turn = TokenEstimate(size / BYTES_PER_TOKEN, size)
        return BenchmarkShape(entry.name, range(items), [turn] * (1 + (entry.name == "mt_bench")))
    return BenchmarkShape(
        benchmark.name, [item.id for item in benchmark.items], _mean_turns(benchmark)
    )


def _mean_turns(benchmark: Benchmark) -> list[TokenEstimate]:
    longest = max(len(item.turns) for item in benchmark.items)
    sizes = [
        [len(turn.encode()) for turn in item.turns] + [0] * (longest - len(item.turns))
        for item in benchmark.items
    ]
    return [
        TokenEstimate(fmean(turn) / BYTES_PER_TOKEN, fmean(turn))
        for turn in zip(*sizes, strict=True)
    ]


def _estimate_benchmark(
    plan: EvalPlan, entry: BenchmarkEntry, shape: BenchmarkShape, out: Path, answer_tokens: int
) -> Iterator[PartEstimate]:
    systems = plan.systems_for(entry)
    calls = {
        name: list(_plan_calls(config, shape, answer_tokens)) for name, config in systems.items()
    }
    paid = defaultdict[Any, set[Any]](set)
    answered = {name: _answered_ids(out / shape.name / name) & set(shape.ids) for name in calls}
    for name, planned in calls.items():
        for each in planned:
            paid[each.key] |= answered[name]
    for name, planned in calls.items():
        prices, unanswered = systems[name].prices, set(shape.ids) - answered[name]
        estimate = PartEstimate(shape.name, name, len(unanswered))
        waits = dict[int, float]()
        for each in planned:
            # The ledger keeps no call that costs nothing: each system makes its own.
            new = unanswered if is_free_model(each.label) else unanswered - paid[each.key]
            paid[each.key] |= new
            estimate.add_call(each, len(new), prices)
            if new and not is_free_model(each.label):
                wait = len(new) * _call_seconds(each)
                waits[each.depth] = max(waits.get(each.depth, 0), wait)
        estimate.seconds = sum(waits.values()) / min(plan.concurrency, len(shape.ids))
        yield estimate
    yield _estimate_judging(plan, entry, shape, out, answer_tokens)


def _plan_calls(
    config: MoAConfig, shape: BenchmarkShape, answer_tokens: int
) -> Iterator[PlannedCall]:
    """List the calls of a mixture for an item, and what makes them the same as others."""
    config = config.with_defaults()
    history: Any = None
    conversation, depth = NO_TOKENS, 0
    for turn in shape.turns:
        before: Any = (history, "turn")
        references: list[TokenEstimate] | None = None
        conversation += turn
        for layer in (*config.layers, {"": config.aggregator}):
            last, depth = layer is not config.layers[-1] and "" in layer, depth + 1
            planned = list[PlannedCall]()
            aggregation = config.aggregation if last else "synthesize"
            for _, agent, sample in number_samples(layer):
                request_agent = _agent_for_benchmark(agent, shape.name)
                writes = _agent_output_tokens(
                    request_agent, answer_tokens, selects=aggregation == "select"
                )
                reads = conversation + _prompt_tokens(config, request_agent, references)
                key = (
                    request_agent.model_copy(update={"samples": 1}).model_dump_json(),
                    sample,
                    aggregation,
                    before,
                )
                planned.append(PlannedCall(hash(key), request_agent.label, depth, reads, writes))
            yield from planned
            layout = (config.references_in, config.max_reference_tokens)
            before = (tuple(each.key for each in planned), layout)
            references = [each.output_tokens for each in planned]
        conversation += _final_answer_tokens(config, shape.name, answer_tokens)
        history = before


def _agent_for_benchmark(agent: Agent, benchmark: str) -> Agent:
    """Give an agent as the benchmark has it asked; its temperatures are the same for all."""
    if benchmark != "mt_bench" or is_free_model(agent.label):
        return agent
    return agent.model_copy(update={"temperature": 0.0, "max_tokens": MT_BENCH_TOKENS})


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
    prompt = AGGREGATE_AND_SYNTHESIZE
    limit = config.max_reference_tokens or inf
    reference_tokens = [
        min(sum(min(size, limit) for size in sizes), TOTAL_REFERENCE_FACTOR * limit)
        for sizes in zip(*references, strict=True)
    ]
    return own + TokenEstimate(count_tokens(prompt), len(prompt)) + TokenEstimate(*reference_tokens)


def _estimate_judging(
    plan: EvalPlan, entry: BenchmarkEntry, shape: BenchmarkShape, out: Path, answer_tokens: int
) -> PartEstimate:
    judge = plan.judge_for(entry)
    method = JUDGING_METHODS.get(shape.name, JUDGING_METHODS["alpaca_eval"])
    limit = (judge.agent and judge.agent.max_tokens) or method.max_tokens
    estimate = PartEstimate(shape.name, f"judge {judge.label}", 0)
    prompt = JUDGE_PROMPT_TOKENS.get(shape.name, JUDGE_PROMPT_TOKENS["alpaca_eval"])
    writes = TokenEstimate(min(REVIEW_TOKENS, limit or inf), limit or inf)
    for name, config in plan.systems_for(entry).items():
        todo = len(set(shape.ids) - _answered_ids(out / shape.name / name, JUDGEMENTS_FILE))
        answer = _final_answer_tokens(config, shape.name, answer_tokens)
        reads, times = TokenEstimate(prompt, prompt * BYTES_PER_TOKEN), 1
        if name in plan.correlation:
            times += sum(agent.samples for agent in config.layers[-1].values())
        for number, turn in enumerate(shape.turns, 1):
            reads += turn + answer
            against = (
                answer if shape.name != "mt_bench" else NO_TOKENS
            )  # the reference's is as long
            call = PlannedCall(None, judge.label, 1, reads + against, writes)
            if judge.agent and (number == 1 or shape.name == "mt_bench"):
                estimate.add_call(call, todo * (times if number == 1 else 1), judge.prices)
        estimate.items += todo
    if judge.agent:
        waiting = estimate.calls * (CALL_LATENCY_S + writes.expected / TOKENS_PER_SECOND)
        estimate.seconds = waiting / min(plan.concurrency, len(shape.ids))
    return estimate


def _final_answer_tokens(config: MoAConfig, benchmark: str, answer_tokens: int) -> TokenEstimate:
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
    judges = map(plan.judge_for, plan.benchmarks)
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
