"""Answer a benchmark with a mixture."""

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
    """The answers of a system."""

    folder: Path
    outputs: Path
    """File in the benchmark's own format."""
    progress: JobProgress
    """Progress of this run."""
    answered: int
    """Number of items with an answer, including earlier runs."""
    failures: Mapping[str | int, str]
    """Causes of failures, by item."""


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
    """Answer each item of a benchmark with a mixture.

    A repeated call continues: items with an answer are skipped, and failed ones are repeated.
    MT-Bench sets temperatures and the length of answers for all language models. Its second turn
    runs the whole mixture again, with only the final answer of the first turn in the conversation.

    Args:
        config: The mixture.
        benchmark: The items.
        out: The folder of the comparison; the answers are in `out/<benchmark>/<name>`.
        call_store: The call store.
        name: Name of the system; by default that of the mixture.
        repeat: Number of the run, from 1; each has its own samples.
        concurrency: Number of parallel items.
        max_cost: As in `run_jobs`.
        show: As in `run_jobs`.

    Raises:
        ValueError: If the folder contains answers of another mixture, a key is missing, or an
            option is invalid.
        AllFailedError: If the first items all failed with the same cause.
    """
    # Above 40 lines: sequential steps that share the folder and its results.
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
    """Reject a name that is not valid for a folder.

    Raises:
        ValueError: If it is rejected.
    """
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise ValueError(
            f"`name`={name!r}: expected letters, digits, '.', '-', '+' and '_', for it names a "
            "folder"
        )
    return name
