"""The items and typical sizes of a benchmark, for estimates before any call."""

from collections.abc import Sequence
from math import inf
from statistics import fmean
from typing import Any, NamedTuple

from moa_graph.evals.benchmark_data import BenchmarkData
from moa_graph.evals.benchmarks.protocol import Benchmark
from moa_graph.evals.benchmarks.registry import benchmark_for, find_benchmark
from moa_graph.evals.estimates import TokenEstimate
from moa_graph.evals.plan import BenchmarkEntry, EvalPlan
from moa_graph.prompting.tokens import BYTES_PER_TOKEN


class BenchmarkShape(NamedTuple):
    """Items and typical sizes of a benchmark."""

    benchmark: Benchmark
    ids: Sequence[Any]
    turns: Sequence[TokenEstimate]
    """Mean tokens of each turn of an item."""

    @property
    def name(self) -> str:
        """Name of the benchmark."""
        return self.benchmark.name


def read_shape(plan: EvalPlan, entry: BenchmarkEntry, notes: list[str]) -> BenchmarkShape:
    """Return the shape of a benchmark; without its data, use assumptions with a note."""
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
