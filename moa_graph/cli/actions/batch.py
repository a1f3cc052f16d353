"""Implementation of `moa batch`: answer a file of prompts and print a summary."""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from importlib.util import find_spec
from math import inf
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Literal

import typer
from filelock import FileLock, Timeout

from moa_graph.atomic_files import PRIVATE
from moa_graph.batch.input import (
    BatchRecord,
    batch_name,
    count_records,
    read_records,
)
from moa_graph.batch.output import BatchFiles
from moa_graph.batch.rate_limits import RateLimits, parse_rates
from moa_graph.batch.record_runner import RecordOutcome, RecordRunner
from moa_graph.batch.runner import run_batch
from moa_graph.cli.choice import require_api_keys
from moa_graph.cli.errors import EXIT_FAILED, CommandError
from moa_graph.cli.forgiving_store import warn_of_busy_database
from moa_graph.cli.garbage_collection import make_full_passes_rare
from moa_graph.cli.jobs import budget_error, check_prices, explain_interrupt
from moa_graph.cli.terminal.plain_text import print_warning, to_single_line
from moa_graph.config.model import MoAConfig
from moa_graph.runs.job_progress import JobProgress
from moa_graph.runs.progress_display import progress_display
from moa_graph.runs.store import RunStore, StoreError, is_postgres, open_run_store

Engine = Literal["local", "ray"]

_NEEDED_BYTES = 65_536  # a worker for fewer records costs more than it saves


@dataclass(frozen=True)
class ThrottleOptions:
    """Options for parallelism, rates and budget."""

    concurrency: int
    rpm: Sequence[str]
    tpm: Sequence[str]
    max_cost: float | None


@dataclass(frozen=True)
class BatchOptions:
    """Options of the command."""

    prompts: Path
    out: Path
    mixture: MoAConfig
    limit: int | None
    throttle: ThrottleOptions
    validate_first: bool
    db: str | None
    keep_threads: bool
    engine: Engine = "local"
    workers: int | None = None

    @property
    def rate_limits(self) -> RateLimits:
        """Rate limits of the endpoints."""
        return RateLimits(
            parse_rates("--rpm", self.throttle.rpm, self.mixture),
            parse_rates("--tpm", self.throttle.tpm, self.mixture),
        )

    @property
    def database(self) -> str:
        """The database of the threads."""
        return self.db or str(self.out.with_suffix(".sqlite"))


def answer_batch(options: BatchOptions) -> None:
    """Answer the records of a file, and print a summary.

    Raises:
        CommandError: If a record has no answer; the exit code tells why.
        ValueError: If the files or the mixture are invalid.
    """
    check_engine(options)
    check_output_path(options.out)
    require_api_keys(options.mixture)
    rate_limits = options.rate_limits
    if options.throttle.max_cost is not None:
        check_prices(options.mixture.labels(), options.mixture.prices, "the mixture's [prices]")
    source = options.prompts
    with _open_prompts(source) as prompts, _lock_output(options.out):
        options = replace(options, prompts=prompts)
        files = BatchFiles(options.out)
        check_input(options, files)
        record_count, last_line = count_records(prompts, options.limit)
        if not record_count:
            print_warning(
                f'moa: {source} has no record; expected lines such as {{"prompt": "..."}}'
            )
        with files, progress_display(options.out.name) as show:
            if options.limit is None:
                files.check_input_end(last_line)
            job_progress = JobProgress(record_count - files.count_answers(last_line))
            with explain_interrupt(
                lambda: f"{_count_answered(job_progress, record_count)} are answered"
            ):
                asyncio.run(_answer_records(options, rate_limits, files, job_progress, show))
            if not job_progress.stopped:
                files.supersede_failures(last_line if options.limit else inf)
    _print_summary(files, job_progress, record_count)


async def _answer_records(
    options: BatchOptions,
    rate_limits: RateLimits,
    files: BatchFiles,
    job_progress: JobProgress,
    show: Callable[[JobProgress], None],
) -> None:
    batch = batch_name(options.out, options.mixture)
    prompts, limit = (
        options.prompts.absolute(),
        options.limit,
    )  # workers have another working directory
    async with (
        open_run_store(options.database, on_busy=warn_of_busy_database) as store,
        _lock_batch(store, batch),
    ):

        async def keep(outcome: RecordOutcome) -> None:
            files.write(outcome.row)
            if not outcome.failed and not options.keep_threads:
                await store.checkpointer.adelete_thread(outcome.row["thread"])

        def records() -> Iterator[BatchRecord | None]:
            return files.skip_answered(read_records(prompts, limit), batch)

        answerer = RecordRunner(options.mixture, store.checkpointer, batch, rate_limits)
        make_full_passes_rare()
        if options.engine == "ray":  # fail here rather than on the workers
            return await _answer_on_cluster(options, rate_limits, records, keep, job_progress, show)
        return await run_batch(
            records(),
            answerer.answer,
            keep,
            job_progress,
            concurrency=options.throttle.concurrency,
            max_cost=options.throttle.max_cost,
            show=show,
        )


@asynccontextmanager
async def _lock_batch(store: RunStore, batch: str) -> AsyncIterator[None]:
    """Lock the threads of a batch against other processes, which may have another --out."""
    async with AsyncExitStack() as opened:
        try:
            await opened.enter_async_context(store.lock_thread(batch))
        except StoreError:
            raise CommandError(
                f"batch {batch} is being run by another process on this database; "
                "choose another --out or --db"
            ) from None
        yield


async def _answer_on_cluster(
    options: BatchOptions,
    rate_limits: RateLimits,
    records: Callable[[], Iterator[BatchRecord | None]],
    write_outcome: Callable[[RecordOutcome], Awaitable[None]],
    job_progress: JobProgress,
    show: Callable[[JobProgress], None],
) -> None:
    """Answer the records on a Ray cluster."""
    from moa_graph.batch.ray.cluster import cluster_connection
    from moa_graph.batch.ray.driver import WorkerSpec, run_batch_on_ray

    batch = batch_name(options.out, options.mixture)
    with cluster_connection():
        await run_batch_on_ray(
            records,
            WorkerSpec(options.mixture, batch, options.database, rate_limits),
            write_outcome,
            job_progress,
            workers=options.workers,
            concurrency=options.throttle.concurrency,
            max_cost=options.throttle.max_cost,
            show=show,
        )


def check_engine(options: BatchOptions) -> None:
    """Reject an engine that is not installed or lacks a requirement.

    Raises:
        CommandError: If it is rejected.
    """
    if options.engine == "local":
        if options.workers is not None:
            raise CommandError(f"--workers {options.workers}: only --engine ray has workers")
        return
    if not find_spec("ray"):
        raise CommandError("--engine ray needs a package: pip install 'moa_graph[ray]'")
    if not is_postgres(options.db):
        raise CommandError(
            "--engine ray needs a database that all workers reach: --db postgresql://..., got "
            f"{options.db or 'none'}"
        )
    if "://" in (address := os.environ.get("RAY_ADDRESS", "")):
        raise CommandError(
            f"RAY_ADDRESS={address}: expected host:port of a cluster that this machine belongs "
            "to, or auto; from other machines, run the command by `ray job submit`"
        )


def check_output_path(out: Path) -> None:
    """Reject an invalid path for the answers.

    Raises:
        CommandError: If it is rejected.
    """
    if out.is_dir():
        raise CommandError(f"--out {out}: is a folder; expected a file")
    if out.exists() and not out.is_file():
        raise CommandError(f"--out {out}: expected a file, got a device or a pipe")
    if not out.parent.is_dir():
        raise CommandError(f"--out {out}: there is no folder {out.parent}")
    _check_output_room(out)


def _check_output_room(out: Path) -> None:
    """Reject a folder that is not writable or is full, before any paid call."""
    try:
        with NamedTemporaryFile(dir=out.parent, prefix=f".{out.name}.") as file:
            file.write(b" " * _NEEDED_BYTES)
            file.flush()
        if out.exists():
            out.open("ab").close()
    except OSError as error:
        raise CommandError(f"--out {out}: cannot be written: {error.strerror}") from None


def check_input(options: BatchOptions, files: BatchFiles) -> None:
    """Reject an input that is also an output; with `validate_first`, reject invalid lines.

    Raises:
        CommandError: If it is rejected.
    """
    for path in (files.answers, files.failures):
        if path.exists() and path.samefile(options.prompts):
            raise CommandError(f"{path} would be overwritten; choose another --out")
    if files.answers == Path(options.database):
        raise CommandError(f"--out {files.answers} is the database; choose another --out or --db")
    if not options.validate_first:
        return
    for record in read_records(options.prompts, options.limit):
        if record.invalid_reason:
            raise CommandError(f"{options.prompts}, line {record.line}: {record.invalid_reason}")


def _count_answered(job_progress: JobProgress, record_count: int) -> str:
    """Describe how many records have an answer, including earlier ones."""
    return f"{record_count - job_progress.total + job_progress.done:,} of {record_count:,}"


def _print_summary(files: BatchFiles, job_progress: JobProgress, record_count: int) -> None:
    answered = _count_answered(job_progress, record_count)
    typer.echo(f"{answered} answered; in this run {job_progress.describe_calls()}")
    typer.echo(files.answers)
    if job_progress.stopped:
        skipped = f"{job_progress.left:,} records were left out"
        raise budget_error(skipped, job_progress.stopped)
    if job_progress.failed:
        records = (
            "1 record has" if job_progress.failed == 1 else f"{job_progress.failed:,} records have"
        )
        first = files.first_failure
        cause = f" (line {first['line']}: {to_single_line(first['error'])})" if first else ""
        advice = _advise_on_failures(first, files.invalid_count, job_progress.failed)
        raise CommandError(
            f"{records} no answer{cause}, see {files.failures}; {advice}", EXIT_FAILED
        )


def _advise_on_failures(
    first: Mapping[str, Any] | None, invalid_count: int, failed_count: int
) -> str:
    """Say what to do before the command can answer the failed records."""
    if not invalid_count:
        return "run the command again to retry them"
    if first and first["line"] == 1 and first["error"].startswith("not JSON"):
        return "to convert a text with one prompt a line: jq -cR '{prompt: .}' TEXT > PROMPTS"
    lines = "1 line is" if invalid_count == 1 else f"{invalid_count:,} lines are"
    rest = " to retry the others" if failed_count > invalid_count else ""
    return f"{lines} invalid: correct what is wrong, then run the command again{rest}"


@contextmanager
def _open_prompts(path: Path) -> Iterator[Path]:
    """Open the file of prompts; a pipe, such as standard input, is read completely first."""
    if path.is_file():
        yield path
        return
    with NamedTemporaryFile(suffix=".jsonl") as file:
        with nullcontext(sys.stdin.buffer) if str(path) == "-" else path.open("rb") as pipe:
            shutil.copyfileobj(pipe, file)
        file.flush()
        yield Path(file.name)


@contextmanager
def _lock_output(out: Path) -> Iterator[None]:
    """Lock the output against other processes."""
    try:
        with FileLock(out.with_name(f".{out.name}.lock"), timeout=0, mode=PRIVATE):
            yield
    except Timeout:
        raise CommandError(f"another process is working on {out}") from None
