"""Have a mixture answer a benchmark."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import time

from moa_graph.atomic_files import write_text
from moa_graph.config.model import MoAConfig
from moa_graph.evals.answering import BenchmarkRunner
from moa_graph.evals.benchmark_data import BenchmarkData, BenchmarkItem
from moa_graph.evals.benchmarks.registry import benchmark_for
from moa_graph.evals.call_store import CallStore
from moa_graph.evals.manifest import check_folder_matches, write_manifest
from moa_graph.evals.probing import ProbedWork
from moa_graph.evals.results_file import JsonRow, ResultsFile
from moa_graph.runs.budget import applicable_max_cost
from moa_graph.runs.job_progress import JobProgress
from moa_graph.runs.jobs import JobOutcome, run_jobs


@dataclass(frozen=True)
class GenerationResult:
    """Where a system's answers are, and how many."""

    folder: Path
    outputs: Path
    """The file in the benchmark's own format."""
    progress: JobProgress
    """What was done now."""
    answered: int
    """Items that have an answer, from now or before."""
    failures: Mapping[str | int, str]
    """Why the others that were tried have none, by item."""


async def answer_benchmark(
    config: MoAConfig,
    benchmark: BenchmarkData,
    out: str | Path,
    call_store: CallStore,
    *,
    name: str | None = None,
    repeat: int = 1,
    concurrency: int = 8,
    max_cost: float | None = None,
    show: Callable[[JobProgress], None] = lambda _: None,
) -> GenerationResult:
    """Have a mixture answer each item of a benchmark.

    Called again, it goes on: what has an answer is not asked again, what failed is. MT-Bench sets
    the temperatures and the length of the answers of all language models; its second turn runs
    the whole mixture again, with only the final answer of the first in the conversation.

    Args:
        config: The mixture.
        benchmark: What it is asked.
        out: The folder of the comparison; the answers are in `out/<benchmark>/<name>`.
        call_store: Where each call is kept.
        name: What the system is called; by default as the mixture is.
        repeat: The number of the run, from 1: each samples answers of its own.
        concurrency: How many items are under way at a time.
        max_cost: As in `run_jobs`.
        show: As in `run_jobs`.

    Raises:
        ValueError: If the folder holds the answers of another mixture, a key is missing, or an
            option makes no sense.
        AllFailedError: If the first items all failed alike; the others were not asked.
    """
    # A little above 40 lines: one step after another, and all share the folder and its results.
    name = check_system_name(name or config.name)
    folder = Path(out) / benchmark.name / name
    check_folder_matches(folder, config, benchmark)
    answering = ProbedWork(BenchmarkRunner(config, benchmark, call_store, repeat).answer)
    results = ResultsFile(folder)

    def keep(item: BenchmarkItem, outcome: JobOutcome[JsonRow]) -> None:
        results.write(_result_row(item, outcome))
        answering.check()

    def finish() -> Path:
        write_manifest(folder, name, config, benchmark, results)
        return _write_outputs(folder, name, benchmark, results)

    finish()
    try:
        progress = await run_jobs(
            _unanswered_items(benchmark, results),
            answering.run,
            keep,
            concurrency=concurrency,
            max_cost=applicable_max_cost(max_cost, config.labels()),
            prices=config.prices,
            show=show,
        )
    finally:
        outputs = finish()
    answered, failures = results.answered_rows(benchmark.items), results.failures(benchmark.items)
    return GenerationResult(folder, outputs, progress, len(answered), failures)


def _unanswered_items(benchmark: BenchmarkData, results: ResultsFile) -> list[BenchmarkItem]:
    answered_ids = {row["id"] for row in results.answered_rows(benchmark.items)}
    return [item for item in benchmark.items if item.id not in answered_ids]


def _result_row(item: BenchmarkItem, outcome: JobOutcome[JsonRow]) -> JsonRow:
    row: JsonRow = {"id": item.id, "category": item.category, "turns": [], "ended": time()}
    return row | (outcome.result or {}) | {"error": outcome.error}


def _write_outputs(folder: Path, name: str, benchmark: BenchmarkData, results: ResultsFile) -> Path:
    rows = results.answered_rows(benchmark.items)
    file_name, text = benchmark_for(benchmark.name).format_outputs(name, rows)
    write_text(folder / file_name, text)
    return folder / file_name


def check_system_name(name: str) -> str:
    """Refuse a name that makes no folder.

    Raises:
        ValueError: If it is refused.
    """
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise ValueError(
            f"`name`={name!r}: expected letters, digits, '.', '-', '+' and '_', for it names a "
            "folder"
        )
    return name
