"""The registry of benchmarks: built-in ones and those of installed packages."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from moa_graph.entry_points import load_entry_point
from moa_graph.evals.benchmarks.alpaca_eval.benchmark import AlpacaEval, OwnPrompts
from moa_graph.evals.benchmarks.exact.benchmark import ExactBenchmark, ScoredPrompts
from moa_graph.evals.benchmarks.exact.published import GPQA, GSM8K, IFEval, Math500, MMLUPro
from moa_graph.evals.benchmarks.flask.benchmark import Flask
from moa_graph.evals.benchmarks.mt_bench.benchmark import MTBench
from moa_graph.evals.benchmarks.protocol import Benchmark
from moa_graph.evals.scorers.table import read_scorer_name

ENTRY_POINT_GROUP = "moa_graph.benchmarks"

_BENCHMARKS: Mapping[str, Benchmark] = {
    each.name: each
    for each in (
        *(AlpacaEval(), MTBench(), Flask()),  # benchmarks of the paper
        *(Math500(), GSM8K(), GPQA(), MMLUPro(), IFEval()),
    )
}


def find_benchmark(name: str) -> Benchmark | None:
    """Return a benchmark by its name; `None` if there is none.

    Raises:
        ValueError: If the package that adds it is invalid.
    """
    if name in _BENCHMARKS:
        return _BENCHMARKS[name]
    points = entry_points(group=ENTRY_POINT_GROUP, name=name)
    return _load_benchmark(next(iter(points))) if points else None


def benchmark_for(name: str, judge: str = "") -> Benchmark:
    """Return the benchmark of a folder of results, including those of the user's own prompts.

    Args:
        name: Name of the benchmark.
        judge: The judge: own prompts are scored exactly by a scorer, and compared otherwise.
    """
    if benchmark := find_benchmark(name):
        return benchmark
    scorer = read_scorer_name(judge)
    return OwnPrompts(name) if scorer is None else ScoredPrompts(name, scorer)


def is_scored_exactly(name: str) -> bool:
    """Return whether a benchmark is always scored without a judge."""
    return isinstance(find_benchmark(name), ExactBenchmark)


def benchmark_names() -> list[str]:
    """Return the names of all benchmarks, built-in ones first, without importing packages."""
    names = (point.name for point in entry_points(group=ENTRY_POINT_GROUP))
    return list(dict.fromkeys([*_BENCHMARKS, *sorted(names)]))


@cache
def _load_benchmark(point: EntryPoint) -> Benchmark:
    benchmark: Benchmark = load_entry_point(point, Benchmark)
    return benchmark
