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
from moa_graph.evals.datasets import PINS, Benchmark
from moa_graph.evals.judging.account import JUDGEMENTS
from moa_graph.evals.judging.setup import ANSWERS, METHODS
from moa_graph.evals.plan import Measured, Plan
from moa_graph.evals.systems import numbered
from moa_graph.models.agent import Agent
from moa_graph.models.pricing import (
    MILLION,
    Prices,
    estimate_cost,
    is_free,
)
from moa_graph.models.recorded import read_rows
from moa_graph.prompting.layout import AGGREGATE_AND_SYNTHESIZE, TOGETHER
from moa_graph.prompting.tokens import BYTES_PER_TOKEN, count_tokens

ANSWER_TOKENS = 500
"""Tokens of a usual answer: in AlpacaEval they are between 350 and 500."""
REVIEW_TOKENS = 300
"""Tokens of a judge's words, where it does not answer with one."""
PICK_TOKENS = 5
TOKENS_PER_SECOND, SECONDS_OF_A_CALL = 50, 1
"""How fast models write, and how long they wait before: for the time only."""
JUDGE_PROMPT_TOKENS = {"alpaca_eval": 450, "mt_bench": 350, "flask": 900}
"""About what the judge reads beside question and answers."""
TYPICAL_BYTES = {"alpaca_eval": 175, "mt_bench": 202, "flask": 450}
"""Of a turn, where the data are not at hand: AlpacaEval's and MT-Bench's own means; FLASK's is a
guess (the 89 hard ones have 684)."""


class Tokens(NamedTuple):
    """A number of tokens that is not known yet."""

    likely: float
    most: float
    """Infinite if there is no bound."""

    def __add__(self, other: Any) -> "Tokens":  # of numbers, not of a tuple's ends
        return Tokens(self.likely + other.likely, self.most + other.most)

    def times(self, number: float) -> "Tokens":
        """Give so many times the tokens."""
        return Tokens(self.likely * number, self.most * number if number else 0.0)


NONE = Tokens(0, 0)


@dataclass(frozen=True)
class Asked:
    """A call of a mixture for an item."""

    key: Any
    """Calls with the same key are the same call, whatever system makes them."""
    label: str
    depth: int
    reads: Tokens
    writes: Tokens


@dataclass
class Estimate:
    """What a part of a comparison takes."""

    benchmark: str
    part: str
    """The name of a system, or `judge ...`."""
    items: int
    """That are still to be done."""
    calls: int = 0
    free: int = 0
    """Calls of agents that cost nothing; not among the others, and made by each system anew."""
    tokens: Tokens = NONE
    cost: float | None = 0.0
    """US dollars, likely; `None` if a price is not known."""
    most_cost: float | None = 0.0
    """`None` if a price is not known; infinite if there is no bound."""
    seconds: float = 0.0
    unpriced: set[str] = field(default_factory=set)
    unbounded: set[str] = field(default_factory=set)

    def count(self, asked: Asked, times: int, prices: Prices) -> None:
        """Take in a call that is made so many times."""
        if is_free(asked.label):
            self.free += times
            return
        self.calls += times
        self.tokens += (asked.reads + asked.writes).times(times)
        if isinf(asked.writes.most):
            self.unbounded.add(asked.label)
        likely = _cost(asked.label, asked.reads.likely, asked.writes.likely, prices)
        if likely is None:
            self.unpriced.add(asked.label)
        most = _cost(asked.label, asked.reads.most, asked.writes.most, prices)
        self.cost = _plus(self.cost, likely, times)
        self.most_cost = _plus(self.most_cost, most, times)

    def add(self, other: "Estimate") -> None:
        """Take in another part."""
        self.items += other.items
        self.calls += other.calls
        self.free += other.free
        self.tokens += other.tokens
        self.cost = _plus(self.cost, other.cost)
        self.most_cost = _plus(self.most_cost, other.most_cost)
        self.seconds += other.seconds
        self.unpriced |= other.unpriced
        self.unbounded |= other.unbounded


@dataclass(frozen=True)
class Preflight:
    """What a comparison takes."""

    estimates: Sequence[Estimate]
    prices: Mapping[str, tuple[float, float]]
    """US dollars for a million tokens read and written, of each model that is paid for."""
    notes: Sequence[str]

    @property
    def total(self) -> Estimate:
        """All of it."""
        total = Estimate("", "in all", 0)
        for each in self.estimates:
            total.add(each)
        return total


def preflight(plan: Plan, out: Path, *, answer_tokens: int = ANSWER_TOKENS) -> Preflight:
    """Estimate what a comparison takes; nobody is asked, and no key is needed.

    Paid calls that systems share count once, and what is in the folder already not at all.
    Fallbacks and repeated attempts are not foreseen.

    Args:
        plan: The plan.
        out: The folder of the comparison.
        answer_tokens: Tokens of a usual answer.
    """
    estimates, notes = list[Estimate](), list[str]()
    for measured in plan.benchmarks:
        data = _read(plan, measured, notes)
        estimates += _estimate(plan, measured, data, out, answer_tokens)
    return Preflight(estimates, dict(sorted(_prices(plan))), notes)


class Data(NamedTuple):
    """What is asked, as far as it is known."""

    name: str
    ids: Sequence[Any]
    turns: Sequence[Tokens]
    """The mean item: each of its turns."""


def _read(plan: Plan, measured: Measured, notes: list[str]) -> Data:
    try:
        benchmark = plan.load_benchmark(measured)
    except ValueError:
        if measured.name not in PINS or measured.data:
            raise
        size = TYPICAL_BYTES[measured.name]
        items = min(measured.limit or PINS[measured.name].rows, PINS[measured.name].rows)
        notes.append(
            f"{measured.name}: the data are not here and cannot be downloaded; {items:,} items "
            f"with {size} characters a turn are assumed."
        )
        turn = Tokens(size / BYTES_PER_TOKEN, size)
        return Data(measured.name, range(items), [turn] * (1 + (measured.name == "mt_bench")))
    return Data(benchmark.name, [item.id for item in benchmark.items], _mean_turns(benchmark))


def _mean_turns(benchmark: Benchmark) -> list[Tokens]:
    longest = max(len(item.turns) for item in benchmark.items)
    sizes = [
        [len(turn.encode()) for turn in item.turns] + [0] * (longest - len(item.turns))
        for item in benchmark.items
    ]
    return [Tokens(fmean(turn) / BYTES_PER_TOKEN, fmean(turn)) for turn in zip(*sizes, strict=True)]


def _estimate(
    plan: Plan, measured: Measured, data: Data, out: Path, answer_tokens: int
) -> Iterator[Estimate]:
    systems = plan.systems_on(measured)
    calls = {name: list(_calls(config, data, answer_tokens)) for name, config in systems.items()}
    paid = defaultdict[Any, set[Any]](set)
    answered = {name: _answered(out / data.name / name) & set(data.ids) for name in calls}
    for name, asked in calls.items():
        for each in asked:
            paid[each.key] |= answered[name]
    for name, asked in calls.items():
        prices, open_ones = systems[name].prices, set(data.ids) - answered[name]
        estimate = Estimate(data.name, name, len(open_ones))
        waits = dict[int, float]()
        for each in asked:
            # The ledger keeps no call that costs nothing: each system makes its own.
            new = open_ones if is_free(each.label) else open_ones - paid[each.key]
            paid[each.key] |= new
            estimate.count(each, len(new), prices)
            if new and not is_free(each.label):
                wait = len(new) * _seconds(each)
                waits[each.depth] = max(waits.get(each.depth, 0), wait)
        estimate.seconds = sum(waits.values()) / min(plan.concurrency, len(data.ids))
        yield estimate
    yield _judging(plan, measured, data, out, answer_tokens)


def _calls(config: MoAConfig, data: Data, answer_tokens: int) -> Iterator[Asked]:
    """List the calls of a mixture for an item, and what makes them the same as others."""
    config = config.with_defaults()
    history: Any = None
    said, depth = NONE, 0
    for turn in data.turns:
        before: Any = (history, "turn")
        references: list[Tokens] | None = None
        said += turn
        for layer in (*config.layers, {"": config.aggregator}):
            last, depth = layer is not config.layers[-1] and "" in layer, depth + 1
            made, final = list[Asked](), config.final if last else "write"
            for _, agent, sample in numbered(layer):
                asked = _agent(agent, data.name)
                writes = _writes(asked, answer_tokens, selects=final == "select")
                reads = said + _read_by(config, asked, references)
                key = (
                    asked.model_copy(update={"samples": 1}).model_dump_json(),
                    sample,
                    final,
                    before,
                )
                made.append(Asked(hash(key), asked.label, depth, reads, writes))
            yield from made
            layout = (config.references_in, config.max_reference_tokens)
            before = (tuple(each.key for each in made), layout)
            references = [each.writes for each in made]
        said += _answer(config, data.name, answer_tokens)
        history = before


def _agent(agent: Agent, benchmark: str) -> Agent:
    """Give an agent as the benchmark has it asked; its temperatures are the same for all."""
    if benchmark != "mt_bench" or is_free(agent.label):
        return agent
    return agent.model_copy(update={"temperature": 0.0, "max_tokens": MT_BENCH_TOKENS})


def _writes(agent: Agent, answer_tokens: int, *, selects: bool = False) -> Tokens:
    most = agent.max_tokens or inf
    return Tokens(min(PICK_TOKENS if selects else answer_tokens, most), most)


def _read_by(config: MoAConfig, agent: Agent, references: Sequence[Tokens] | None) -> Tokens:
    """Count what is read beside the conversation: prompts, and the references as they are cut."""
    own = Tokens(count_tokens(agent.system or ""), len((agent.system or "").encode()))
    if references is None:
        return own
    prompt = AGGREGATE_AND_SYNTHESIZE
    most = config.max_reference_tokens or inf
    together = [
        min(sum(min(size, most) for size in sizes), TOGETHER * most)
        for sizes in zip(*references, strict=True)
    ]
    return own + Tokens(count_tokens(prompt), len(prompt)) + Tokens(*together)


def _judging(plan: Plan, measured: Measured, data: Data, out: Path, answer_tokens: int) -> Estimate:
    judge = plan.judge_of(measured)
    method = METHODS.get(data.name, METHODS["alpaca_eval"])
    most = (judge.agent and judge.agent.max_tokens) or method.max_tokens
    estimate = Estimate(data.name, f"judge {judge.label}", 0)
    prompt = JUDGE_PROMPT_TOKENS.get(data.name, JUDGE_PROMPT_TOKENS["alpaca_eval"])
    writes = Tokens(min(REVIEW_TOKENS, most or inf), most or inf)
    for name, config in plan.systems_on(measured).items():
        todo = len(set(data.ids) - _answered(out / data.name / name, JUDGEMENTS))
        answer = _answer(config, data.name, answer_tokens)
        reads, times = Tokens(prompt, prompt * BYTES_PER_TOKEN), 1
        if name in plan.correlation:
            times += sum(agent.samples for agent in config.layers[-1].values())
        for number, turn in enumerate(data.turns, 1):
            reads += turn + answer
            against = answer if data.name != "mt_bench" else NONE  # the reference's is as long
            asked = Asked(None, judge.label, 1, reads + against, writes)
            if judge.agent and (number == 1 or data.name == "mt_bench"):
                estimate.count(asked, todo * (times if number == 1 else 1), judge.prices)
        estimate.items += todo
    if judge.agent:
        waiting = estimate.calls * (SECONDS_OF_A_CALL + writes.likely / TOKENS_PER_SECOND)
        estimate.seconds = waiting / min(plan.concurrency, len(data.ids))
    return estimate


def _answer(config: MoAConfig, benchmark: str, answer_tokens: int) -> Tokens:
    """Give the length of a system's final answer."""
    whole = config.with_defaults()
    writers = [whole.aggregator] if config.final == "write" else list(whole.layers[-1].values())
    written = [_writes(_agent(each, benchmark), answer_tokens) for each in writers]
    return Tokens(max(each.likely for each in written), max(each.most for each in written))


def _answered(folder: Path, file: str = ANSWERS) -> set[Any]:
    path = folder / file
    rows = read_rows(path) if path.is_file() else []
    return {row["id"] for row in {row["id"]: row for row in rows}.values() if row["error"] is None}


def _seconds(asked: Asked) -> float:
    return SECONDS_OF_A_CALL + asked.writes.likely / TOKENS_PER_SECOND


def _prices(plan: Plan) -> Iterator[tuple[str, tuple[float, float]]]:
    """Give the price of each model that is paid for, as far as it is known."""
    judges = map(plan.judge_of, plan.benchmarks)
    known = [(label, c.prices) for c in plan.configs.values() for label in c.labels()]
    for label, prices in (*known, *((judge.label, judge.prices) for judge in judges)):
        read, written = _cost(label, MILLION, 0, prices), _cost(label, 0, MILLION, prices)
        if not is_free(label) and read is not None and written is not None:
            yield label, (read, written)


def _cost(label: str, reads: float, writes: float, prices: Prices) -> float | None:
    """Estimate what a call costs; infinite tokens cost as much, if there is a price at all."""
    if isinf(reads + writes):
        return None if _cost(label, 1, 1, prices) is None else inf
    tokens = {"input_tokens": round(reads), "output_tokens": round(writes)}
    return estimate_cost(label, tokens | {"total_tokens": sum(tokens.values())}, prices)


def _plus(so_far: float | None, more: float | None, times: int = 1) -> float | None:
    if not times:
        return so_far
    return None if so_far is None or more is None else so_far + times * more
