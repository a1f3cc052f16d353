"""Implementation of `moa eval generate`: answer a benchmark and print a summary."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import typer

from moa_graph.cli.choice import require_api_keys
from moa_graph.cli.errors import EXIT_FAILED, CommandError
from moa_graph.cli.jobs import (
    budget_error,
    check_prices,
    explain_interrupt,
    list_failures,
    lock_folder,
)
from moa_graph.config.model import MoAConfig
from moa_graph.evals.benchmark_data import BenchmarkData
from moa_graph.evals.benchmarks.registry import find_benchmark, is_scored_exactly
from moa_graph.evals.call_store import CallStore
from moa_graph.evals.datasets import load_benchmark
from moa_graph.evals.generate import GenerationResult, answer_benchmark, check_system_name
from moa_graph.runs.progress_display import progress_display


@dataclass(frozen=True)
class GenerateOptions:
    """Options of the command."""

    benchmark: str
    config: MoAConfig
    out: Path
    name: str | None
    data: Path | None
    limit: int | None
    concurrency: int
    max_cost: float | None


def generate_answers(options: GenerateOptions) -> None:
    """Generate answers, and print a summary.

    Raises:
        CommandError: If an item has no answer; the exit code tells why.
        ValueError: If an option is invalid.
    """
    require_api_keys(options.config)
    name = check_system_name(options.name or options.config.name)
    benchmark = load_benchmark(options.benchmark, options.data, options.limit)
    installed = find_benchmark(benchmark.name)
    if (
        installed
        and not installed.has_published(benchmark)
        and not is_scored_exactly(benchmark.name)
    ):
        typer.echo(
            f"moa: {benchmark.source} is not the published file at the pinned revision, "
            "and the manifest says so",
            err=True,
        )
    if options.max_cost is not None:
        check_prices(options.config.labels(), options.config.prices, "the mixture's [prices]")
    with (
        lock_folder(options.out / benchmark.name / name),
        CallStore(options.out / "ledger.sqlite") as call_store,
    ):
        generation = _run_generation(options, name, benchmark, call_store)
    _print_summary(generation, benchmark)


def _run_generation(
    options: GenerateOptions, name: str, benchmark: BenchmarkData, call_store: CallStore
) -> GenerationResult:
    with progress_display(f"{benchmark.name}, {name}") as show:
        work = answer_benchmark(
            options.config,
            benchmark,
            options.out,
            call_store,
            name=name,
            concurrency=options.concurrency,
            max_cost=options.max_cost,
            show=show,
        )
        with explain_interrupt(lambda: f"answers so far are stored in {options.out}"):
            return asyncio.run(work)


def _print_summary(generation: GenerationResult, benchmark: BenchmarkData) -> None:
    job_progress, item_count = generation.progress, len(benchmark.items)
    part = (
        ""
        if item_count == benchmark.full_size
        else f" (of the benchmark's {benchmark.full_size:,}: partial)"
    )
    typer.echo(
        f"{generation.answered:,} of {item_count:,} answered{part}; in this run "
        f"{job_progress.describe_calls()}"
    )
    typer.echo(generation.outputs)
    retry_hint = "run the command again to retry them"
    if job_progress.stopped:
        raise budget_error(f"{job_progress.left:,} items were left out", job_progress.stopped)
    if failures := generation.failures:
        have = "item has" if len(failures) == 1 else "items have"
        text = f"{len(failures):,} {have} no answer ({list_failures(failures)}); {retry_hint}"
        raise CommandError(text, EXIT_FAILED)
