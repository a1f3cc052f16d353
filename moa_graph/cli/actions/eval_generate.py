"""`moa eval generate`: run a mixture on a benchmark, and say what came of it."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import typer
from filelock import FileLock, Timeout

from moa_graph.cli.choice import require_api_keys
from moa_graph.cli.errors import EXIT_FAILED, EXIT_INTERRUPTED, CommandError, budget_error
from moa_graph.cli.terminal.plain_text import strip_control_characters
from moa_graph.config.model import MoAConfig
from moa_graph.evals.benchmark_data import BenchmarkData
from moa_graph.evals.benchmarks.registry import find_benchmark
from moa_graph.evals.call_store import CallStore
from moa_graph.evals.datasets import load_benchmark
from moa_graph.evals.generate import GenerationResult, answer_benchmark, check_system_name
from moa_graph.models.pricing import Prices, estimate_cost
from moa_graph.models.providers import provider_of
from moa_graph.runs.progress_display import progress_display

MAX_SHOWN_FAILURES = 3  # failures that are told in full


@dataclass(frozen=True)
class GenerateOptions:
    """What is to be done, as the options say it."""

    benchmark: str
    config: MoAConfig
    out: Path
    name: str | None
    data: Path | None
    limit: int | None
    concurrency: int
    max_cost: float | None


def generate_answers(options: GenerateOptions) -> None:
    """Generate answers, and say what came of it.

    Raises:
        CommandError: If not every item has an answer; the exit code tells why.
        ValueError: If an option makes no sense.
    """
    require_api_keys(options.config)
    name = check_system_name(options.name or options.config.name)
    benchmark = load_benchmark(options.benchmark, options.data, options.limit)
    if (found := find_benchmark(benchmark.name)) and not found.has_published(benchmark):
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
        try:
            return asyncio.run(work)
        except KeyboardInterrupt:
            raise CommandError(
                f"interrupted; what is answered is kept in {options.out}: run the command again to "
                "go on",
                EXIT_INTERRUPTED,
            ) from None


def _print_summary(generation: GenerationResult, benchmark: BenchmarkData) -> None:
    job_progress, item_count = generation.progress, len(benchmark.items)
    part = (
        ""
        if item_count == benchmark.full_size
        else f" (of the benchmark's {benchmark.full_size:,}: partial)"
    )
    typer.echo(
        f"{generation.answered:,} of {item_count:,} answered{part}; now "
        f"{job_progress.describe_calls()}"
    )
    typer.echo(generation.outputs)
    retry_hint = "run the command again to ask them again"
    if job_progress.stopped:
        raise budget_error(f"{job_progress.left:,} items were not asked", job_progress.stopped)
    if failures := generation.failures:
        have = "item has" if len(failures) == 1 else "items have"
        text = f"{len(failures):,} {have} no answer ({list_failures(failures)}); {retry_hint}"
        raise CommandError(text, EXIT_FAILED)


def list_failures(failures: Mapping[Any, str]) -> str:
    """Name the first failed items with their causes, and count the others."""
    shown = [
        f"{item}: {strip_control_characters(cause)}"
        for item, cause in islice(failures.items(), MAX_SHOWN_FAILURES)
    ]
    if len(failures) > MAX_SHOWN_FAILURES:
        shown.append(f"and {len(failures) - MAX_SHOWN_FAILURES:,} more")
    return "; ".join(shown)


def check_prices(labels: Iterable[str], prices: Prices, price_source: str) -> None:
    """Refuse a limit that cannot be kept.

    Raises:
        CommandError: If the price of a model is not known.
    """
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    paid_labels = [label for label in labels if not provider_of(label).replays_files]
    if unknown := [label for label in paid_labels if estimate_cost(label, usage, prices) is None]:
        raise CommandError(
            f"--max-cost cannot be kept: no price is known for {', '.join(unknown)}; give it in "
            f"{price_source}, in dollars for a million tokens read and written"
        )


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Keep a second process away from the folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout:
        raise CommandError(f"another process is at work in {folder}") from None
    except OSError as error:
        raise CommandError(f"{folder}: {error.strerror or error}") from None
