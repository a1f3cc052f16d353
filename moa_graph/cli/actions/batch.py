"""`moa batch`: answer a file of prompts, and say what came of it."""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from importlib.util import find_spec
from math import inf
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Literal

import typer
from filelock import FileLock, Timeout

from moa_graph.batch.input import (
    Record,
    batch_name,
    count_records,
    read_records,
)
from moa_graph.batch.output import Files
from moa_graph.batch.rate_limits import Limits, parse_rates
from moa_graph.batch.record_runner import Answerer, Outcome
from moa_graph.batch.runner import run_batch
from moa_graph.cli.actions.eval_generate import SPENT, check_prices
from moa_graph.cli.actions.run import check_keys
from moa_graph.cli.errors import FAILED, INTERRUPTED, CommandError
from moa_graph.config.model import MoAConfig
from moa_graph.runs.job_progress import progress
from moa_graph.runs.jobs import Tally
from moa_graph.runs.store import (
    Store,
    StoreError,
    is_postgres,
    open_store,
)

Engine = Literal["local", "ray"]


@dataclass(frozen=True)
class Pace:
    """How fast, and how far."""

    concurrency: int
    rpm: Sequence[str]
    tpm: Sequence[str]
    max_cost: float | None


@dataclass(frozen=True)
class Task:
    """What is to be done, as the options say it."""

    prompts: Path
    out: Path
    mixture: MoAConfig
    limit: int | None
    pace: Pace
    strict: bool
    db: str | None
    keep_threads: bool
    engine: Engine = "local"
    workers: int | None = None

    @property
    def limits(self) -> Limits:
        """How fast endpoints are asked."""
        return Limits(
            parse_rates("--rpm", self.pace.rpm, self.mixture),
            parse_rates("--tpm", self.pace.tpm, self.mixture),
        )

    @property
    def where(self) -> str:
        """The database."""
        return self.db or str(self.out.with_suffix(".sqlite"))


def answer_batch(task: Task) -> None:
    """Answer the records of a file, and say what came of it.

    Raises:
        CommandError: If not every record has an answer; the exit code tells why.
        ValueError: If the files or the mixture make no sense.
    """
    check_engine(task)
    check_out(task.out)
    check_keys(task.mixture)
    limits = task.limits
    if task.pace.max_cost is not None:
        check_prices(task.mixture.labels(), task.mixture.prices, "the mixture's [prices]")
    with _input(task.prompts) as prompts, _locked(task.out):
        task = replace(task, prompts=prompts)
        files = Files(task.out)
        check_input(task, files)
        asked, last = count_records(prompts, task.limit)
        with files, progress(task.out.name) as show:
            if task.limit is None:
                files.check_end(last)
            tally = Tally(asked - files.count(last))
            try:
                asyncio.run(_work(task, limits, files, tally, show))
            except KeyboardInterrupt:
                raise CommandError(
                    f"interrupted; {asked - tally.total + tally.done:,} of {asked:,} are answered: "
                    "run the command again to go on",
                    INTERRUPTED,
                ) from None
            if not tally.stopped:
                files.settle(last if task.limit else inf)
    _tell(files, tally, asked)


async def _work(
    task: Task, limits: Limits, files: Files, tally: Tally, show: Callable[[Tally], None]
) -> None:
    batch = batch_name(task.out, task.mixture)
    prompts, limit = task.prompts.absolute(), task.limit  # a cluster reads from another folder
    async with open_store(task.where) as store, _alone(store, batch):

        async def keep(outcome: Outcome) -> None:
            files.write(outcome.row)
            if not outcome.failed and not task.keep_threads:
                await store.saver.adelete_thread(outcome.row["thread"])

        def records() -> Iterator[Record | None]:
            return files.unanswered(read_records(prompts, limit), batch)

        answerer = Answerer(task.mixture, store.saver, batch, limits)
        if task.engine == "ray":  # what cannot be built here is not sent to a cluster
            return await _spread(task, limits, records, keep, tally, show)
        return await run_batch(
            records(),
            answerer.answer,
            keep,
            tally,
            concurrency=task.pace.concurrency,
            max_cost=task.pace.max_cost,
            show=show,
        )


@asynccontextmanager
async def _alone(store: Store, batch: str) -> AsyncIterator[None]:
    """Keep other processes away from a batch's threads: those of another --out may be the same."""
    async with AsyncExitStack() as opened:
        try:
            await opened.enter_async_context(store.lock(batch))
        except StoreError:
            raise CommandError(
                f"batch {batch} is being run by another process on this database; "
                "choose another --out or --db"
            ) from None
        yield


async def _spread(
    task: Task,
    limits: Limits,
    records: Callable[[], Iterator[Record | None]],
    keep: Callable[[Outcome], Awaitable[None]],
    tally: Tally,
    show: Callable[[Tally], None],
) -> None:
    """Answer the records on a cluster."""
    from moa_graph.batch.ray.cluster import connected
    from moa_graph.batch.ray.driver import Work, spread_batch

    batch = batch_name(task.out, task.mixture)
    with connected():
        await spread_batch(
            records,
            Work(task.mixture, batch, task.where, limits),
            keep,
            tally,
            workers=task.workers,
            concurrency=task.pace.concurrency,
            max_cost=task.pace.max_cost,
            show=show,
        )


def check_engine(task: Task) -> None:
    """Refuse an engine that is not installed, or lacks what it needs.

    Raises:
        CommandError: If it is refused.
    """
    if task.engine == "local":
        if task.workers is not None:
            raise CommandError(f"--workers {task.workers}: only --engine ray has workers")
        return
    if not find_spec("ray"):
        raise CommandError("--engine ray needs a package: pip install 'moa_graph[ray]'")
    if not is_postgres(task.db):
        raise CommandError(
            "--engine ray needs a database that all workers reach: --db postgresql://..., got "
            f"{task.db or 'none'}"
        )
    if "://" in (address := os.environ.get("RAY_ADDRESS", "")):
        raise CommandError(
            f"RAY_ADDRESS={address}: expected host:port of a cluster that this machine belongs "
            "to, or auto; from elsewhere, have `ray job submit` run the command there"
        )


def check_out(out: Path) -> None:
    """Refuse a place where no file of answers can stand.

    Raises:
        CommandError: If it is refused.
    """
    if out.is_dir():
        raise CommandError(f"--out {out}: is a folder; expected a file")
    if out.exists() and not out.is_file():
        raise CommandError(f"--out {out}: expected a file, got a device or a pipe")
    if not out.parent.is_dir():
        raise CommandError(f"--out {out}: there is no folder {out.parent}")


def check_input(task: Task, files: Files) -> None:
    """Refuse an input that is also an output, and mistakes in it where that is wished.

    Raises:
        CommandError: If it is refused.
    """
    for path in (files.answers, files.failures):
        if path.exists() and path.samefile(task.prompts):
            raise CommandError(f"{path} would be overwritten; choose another --out")
    if files.answers == Path(task.where):
        raise CommandError(f"--out {files.answers} is the database; choose another --out or --db")
    if not task.strict:
        return
    for record in read_records(task.prompts, task.limit):
        if record.mistake:
            raise CommandError(f"{task.prompts}, line {record.line}: {record.mistake}")


def _tell(files: Files, tally: Tally, asked: int) -> None:
    answered = asked - tally.total + tally.done
    typer.echo(
        f"{answered:,} of {asked:,} answered; now {tally.calls:,} calls, "
        f"{tally.tokens:,} tokens, {tally.money()}"
    )
    typer.echo(files.answers)
    if tally.stopped:
        raise CommandError(f"{tally.left:,} records were not asked: {tally.stopped}", SPENT)
    if tally.failed:
        records = "1 record has" if tally.failed == 1 else f"{tally.failed:,} records have"
        raise CommandError(
            f"{records} no answer, see {files.failures}; run the command again to ask them again",
            FAILED,
        )


@contextmanager
def _input(path: Path) -> Iterator[Path]:
    """Give the file of prompts; a pipe, such as standard input, is read to its end first."""
    if path.is_file():
        yield path
        return
    with NamedTemporaryFile(suffix=".jsonl") as file:
        with nullcontext(sys.stdin.buffer) if str(path) == "-" else path.open("rb") as pipe:
            shutil.copyfileobj(pipe, file)
        file.flush()
        yield Path(file.name)


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Keep a second process away from the output."""
    try:
        with FileLock(out.with_name(f".{out.name}.lock"), timeout=0):
            yield
    except Timeout:
        raise CommandError(f"another process is at work on {out}") from None
