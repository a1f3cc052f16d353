"""`moa eval generate`: run a mixture on a benchmark, and say what came of it."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer
from filelock import FileLock, Timeout

from moa_graph.cli.actions.run import check_keys
from moa_graph.cli.errors import FAILED, INTERRUPTED, CommandError
from moa_graph.cli.terminal.text import plain
from moa_graph.config.model import MoAConfig
from moa_graph.evals.call_store import Ledger
from moa_graph.evals.datasets import PINS, Benchmark, load_benchmark
from moa_graph.evals.generate import Generation, check_system, generate
from moa_graph.models.pricing import Prices, estimate_cost
from moa_graph.runs.job_progress import progress

SPENT = 3  # the exit code when `--max-cost` left items alone
TOLD = 3  # failures that are told in full


@dataclass(frozen=True)
class Task:
    """What is to be done, as the options say it."""

    benchmark: str
    config: MoAConfig
    out: Path
    name: str | None
    data: Path | None
    limit: int | None
    concurrency: int
    max_cost: float | None


def generate_answers(task: Task) -> None:
    """Generate answers, and say what came of it.

    Raises:
        CommandError: If not every item has an answer; the exit code tells why.
        ValueError: If an option makes no sense.
    """
    check_keys(task.config)
    name = check_system(task.name or task.config.name)
    benchmark = load_benchmark(task.benchmark, task.data, task.limit)
    if benchmark.name in PINS and benchmark.revision is None:
        typer.echo(
            f"moa: {benchmark.source} is not the published file at the pinned revision, "
            "and the manifest says so",
            err=True,
        )
    if task.max_cost is not None:
        check_prices(task.config.labels(), task.config.prices, "the mixture's [prices]")
    with locked(task.out / benchmark.name / name), Ledger(task.out / "ledger.sqlite") as ledger:
        generation = _run(task, name, benchmark, ledger)
    _tell(generation, benchmark)


def _run(task: Task, name: str, benchmark: Benchmark, ledger: Ledger) -> Generation:
    with progress(f"{benchmark.name}, {name}") as show:
        work = generate(
            task.config,
            benchmark,
            task.out,
            ledger,
            name=name,
            concurrency=task.concurrency,
            max_cost=task.max_cost,
            show=show,
        )
        try:
            return asyncio.run(work)
        except KeyboardInterrupt:
            raise CommandError(
                f"interrupted; what is answered is kept in {task.out}: run the command again to "
                "go on",
                INTERRUPTED,
            ) from None


def _tell(generation: Generation, benchmark: Benchmark) -> None:
    tally, asked = generation.tally, len(benchmark.items)
    part = "" if asked == benchmark.whole else f" (of the benchmark's {benchmark.whole:,}: partial)"
    typer.echo(
        f"{generation.answered:,} of {asked:,} answered{part}; now {tally.calls:,} calls, "
        f"{tally.tokens:,} tokens, {tally.money()}"
    )
    typer.echo(generation.outputs)
    again = "run the command again to ask them again"
    if tally.stopped:
        raise CommandError(f"{tally.left:,} items were not asked: {tally.stopped}", SPENT)
    if failures := generation.failures:
        causes = [f"{item}: {plain(cause)}" for item, cause in list(failures.items())[:TOLD]]
        more = f"; and {len(failures) - TOLD:,} more" if len(failures) > TOLD else ""
        have = "item has" if len(failures) == 1 else "items have"
        text = f"{len(failures):,} {have} no answer ({'; '.join(causes)}{more}); {again}"
        raise CommandError(text, FAILED)


def check_prices(labels: Iterable[str], prices: Prices, place: str) -> None:
    """Refuse a limit that cannot be kept.

    Raises:
        CommandError: If the price of a model is not known.
    """
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    paid = [label for label in labels if not label.startswith("recorded:")]
    if unknown := [label for label in paid if estimate_cost(label, usage, prices) is None]:
        raise CommandError(
            f"--max-cost cannot be kept: no price is known for {', '.join(unknown)}; give it in "
            f"{place}, in dollars for a million tokens read and written"
        )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second process away from the folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout:
        raise CommandError(f"another process is at work in {folder}") from None
    except OSError as error:
        raise CommandError(f"{folder}: {error.strerror or error}") from None
