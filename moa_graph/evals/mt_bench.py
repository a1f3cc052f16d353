"""Public functions of MT-Bench: ratings from a judge's text, and their averages."""

from moa_graph.evals.benchmarks.mt_bench.score import (
    HIGHEST,
    NO_SCORE,
    MTBenchScore,
    extract_score,
    mt_bench_score,
)

__all__ = [
    "HIGHEST",
    "NO_SCORE",
    "MTBenchScore",
    "extract_score",
    "mt_bench_score",
]
