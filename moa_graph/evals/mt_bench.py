"""MT-Bench: from a judge's words to a rating, and from ratings to averages."""

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
