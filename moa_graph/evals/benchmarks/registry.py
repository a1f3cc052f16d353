"""The benchmarks that there are: the paper's, and those that installed packages add."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from moa_graph.entry_points import load_entry_point
from moa_graph.evals.benchmarks.alpaca_eval.benchmark import AlpacaEval, OwnPrompts
from moa_graph.evals.benchmarks.flask.benchmark import Flask
from moa_graph.evals.benchmarks.mt_bench.benchmark import MTBench
from moa_graph.evals.benchmarks.protocol import Benchmark

ENTRY_POINT_GROUP = "moa_graph.benchmarks"

_PAPER_BENCHMARKS: Mapping[str, Benchmark] = {
    each.name: each for each in (AlpacaEval(), MTBench(), Flask())
}


def find_benchmark(name: str) -> Benchmark | None:
    """Find a benchmark by its name; `None` if there is none of that name.

    Raises:
        ValueError: If the package that adds it cannot be used.
    """
    if name in _PAPER_BENCHMARKS:
        return _PAPER_BENCHMARKS[name]
    points = entry_points(group=ENTRY_POINT_GROUP, name=name)
    return _load_benchmark(next(iter(points))) if points else None


def benchmark_for(name: str) -> Benchmark:
    """Give the benchmark of a folder of results; prompts of one's own are one, too."""
    return find_benchmark(name) or OwnPrompts(name)


def benchmark_names() -> list[str]:
    """Name all benchmarks, the paper's first; nothing of other packages is imported."""
    names = (point.name for point in entry_points(group=ENTRY_POINT_GROUP))
    return list(dict.fromkeys([*_PAPER_BENCHMARKS, *sorted(names)]))


@cache
def _load_benchmark(point: EntryPoint) -> Benchmark:
    benchmark: Benchmark = load_entry_point(point, Benchmark)
    return benchmark
