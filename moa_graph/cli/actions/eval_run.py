"""`moa eval plan` and `moa eval run`: what a comparison takes, and doing it."""

import asyncio
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import groupby
from math import isinf
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from moa_graph.cli.actions.eval_generate import (
    SPENT,
    TOLD,
    check_prices,
    locked,
)
from moa_graph.cli.actions.eval_judge import LEDGER
from moa_graph.cli.actions.run import check_keys
from moa_graph.cli.errors import FAILED, INTERRUPTED, CommandError
from moa_graph.cli.terminal.text import plain
from moa_graph.evals.call_store import Ledger
from moa_graph.evals.comparison import (
    Done,
    Step,
    list_steps,
    write_account,
)
from moa_graph.evals.plan import Plan
from moa_graph.evals.preflight import (
    SECONDS_OF_A_CALL,
    TOKENS_PER_SECOND,
    Estimate,
    Preflight,
    preflight,
)
from moa_graph.models.agent import key_variable
from moa_graph.runs.job_progress import progress
from moa_graph.runs.jobs import Tally

WIDTH = 120  # where there is no terminal


def read_plan(path: Path, out: Path | None) -> tuple[Plan, Path]:
    """Read a plan, and where its comparison is to stand."""
    plan = Plan.load(path)
    return plan, out or plan.place(plan.out)


def print_preflight(path: Path, out: Path | None, answer_tokens: int, *, as_json: bool) -> None:
    """Print what a plan takes.

    Raises:
        ValueError: If the plan is wrong.
    """
    plan, place = read_plan(path, out)
    found = preflight(plan, place, answer_tokens=answer_tokens)
    if as_json:
        whole = {"parts": found.estimates, "total": found.total, "prices": found.prices}
        typer.echo(json.dumps(_plain(whole | {"notes": found.notes}), indent=2))
        return
    console = Console(width=None if os.isatty(1) else WIDTH, highlight=False)
    console.print(_table(plan, found))
    for note in _notes(plan, found, answer_tokens):
        typer.echo(plain(note))


def _plain(value: Any) -> Any:
    """Give plain data; what has no bound is `null`, as JSON has no infinity."""
    match value:
        case Estimate():
            return _plain(asdict(value))
        case dict():
            return {key: _plain(each) for key, each in value.items()}
        case list() | tuple() | set():
            return [_plain(each) for each in value]
        case float() if isinf(value):
            return None
        case _:
            return value


def _table(plan: Plan, found: Preflight) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("benchmark", "system or judge"):
        table.add_column(column, overflow="fold")
    for column in ("items", "calls", "free", "tokens", "at most", "cost", "at most", "time"):
        table.add_column(column, justify="right", no_wrap=True)
    for each in (*_rows(plan, found), found.total):
        table.add_row(
            plain(each.benchmark),
            plain(each.part),
            f"{each.items:,}" if each.benchmark else "",
            f"{each.calls:,}",
            f"{each.free:,}",
            _tokens(each.tokens.likely),
            _tokens(each.tokens.most),
            _money(each.cost),
            _money(each.most_cost),
            _time(each.seconds),
        )
    return table


def _rows(plan: Plan, found: Preflight) -> Iterator[Estimate]:
    """Give the variants of a benchmark in one row."""
    for benchmark, parts in groupby(found.estimates, lambda each: each.benchmark):
        variants = Estimate(benchmark, "variants", 0)
        number = 0
        for each in parts:
            if each.part in plan.configs and each.part not in plan.mixtures:
                variants.add(each)
                number += 1
                continue
            if number:  # the judge comes last
                variants.part, number = f"{number} variants", 0
                yield variants
            yield each


def _notes(plan: Plan, found: Preflight, answer_tokens: int) -> Iterator[str]:
    total = found.total
    yield (
        f"Assumed: answers of {answer_tokens:,} tokens (--answer-tokens), "
        f"{TOKENS_PER_SECOND} tokens a second after {SECONDS_OF_A_CALL} s, "
        f"{plan.concurrency} items at a time. At most: answers as long as `max_tokens` permits."
    )
    if total.unbounded:
        yield f"No bound, for want of `max_tokens`: {', '.join(sorted(total.unbounded))}."
    if total.unpriced:
        yield f"The cost is unknown for want of a price: {', '.join(sorted(total.unpriced))}."
    if found.prices:
        each = (f"{name} {read:g}/{written:g}" for name, (read, written) in found.prices.items())
        yield f"Prices, $ for a million tokens read/written: {'; '.join(each)}."
        yield (
            "They are the plan's, or those of May 2024 in the package's own table, or today's of "
            "genai-prices."
        )
    yield from found.notes
    if plan.max_cost is not None:
        yield f"max_cost: nothing more is begun when ${plan.max_cost:g} are spent."


def _tokens(number: float) -> str:
    if isinf(number):
        return "no bound"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def _money(dollars: float | None) -> str:
    if dollars is None:
        return "unknown"
    return "no bound" if isinf(dollars) else f"${dollars:,.2f}"


def _time(seconds: float) -> str:
    minutes = round(seconds / 60)
    if not minutes:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"  # noqa: PLR2004


def run_plan(path: Path, out: Path | None, max_cost: float | None) -> None:
    """Work through a plan, and say what came of it.

    Raises:
        CommandError: If something is missing; the exit code tells why.
        ValueError: If the plan is wrong.
    """
    plan, place = read_plan(path, out)
    most = plan.max_cost if max_cost is None else max_cost
    _check(plan, limited=most is not None)
    steps = list_steps(plan, place)
    with locked(place):
        write_account(plan, place)
        with Ledger(place / LEDGER) as ledger:
            _work(steps, ledger, most)
    typer.echo(f"{place}: done; write it up with: moa eval report {place}")


def _check(plan: Plan, *, limited: bool) -> None:
    """See that nothing is missing before anything is paid for."""
    for config in plan.configs.values():
        check_keys(config)
        if limited:
            check_prices(config.labels(), config.prices, "the plan's [prices]")
    for measured in plan.benchmarks:
        judge = plan.judge_of(measured)
        key = judge.agent and key_variable(judge.agent)
        if key and not os.environ.get(key):
            raise CommandError(f"judge {judge.label} needs a key: set {key}")
        if limited:
            check_prices([judge.label], judge.prices, "the plan's [prices]")


def _work(steps: list[Step], ledger: Ledger, max_cost: float | None) -> None:
    whole, begun, complaints = Tally(len(steps)), time.monotonic(), list[str]()
    for step in steps:
        left = None if max_cost is None else max(0.0, max_cost - whole.spent)
        done = _do(step, ledger, left)
        whole.add(done.tally)
        if done.tally.stopped:
            raise CommandError(
                f"{step.title}: {done.tally.left:,} items were left: {done.tally.stopped}; run "
                "the command again with more to go on",
                SPENT,
            )
        complaints += _complaints(step, done)
    took = _time(time.monotonic() - begun)
    typer.echo(f"now {whole.calls:,} calls, {whole.tokens:,} tokens, {whole.money()}, {took}")
    if complaints:
        more = f"; and {len(complaints) - TOLD:,} more" if len(complaints) > TOLD else ""
        have = "step has" if len(complaints) == 1 else "steps have"
        raise CommandError(
            f"{len(complaints):,} {have} failures: {'; '.join(complaints[:TOLD])}{more}; run "
            "the command again to ask again",
            FAILED,
        )


def _do(step: Step, ledger: Ledger, left: float | None) -> Done:
    with locked(step.folder), progress(step.title, lines=1) as show:
        try:
            return asyncio.run(step.work(ledger, max_cost=left, show=show))
        except KeyboardInterrupt:
            raise CommandError(
                "interrupted; what was answered is kept: run the command again to go on",
                INTERRUPTED,
            ) from None


def _complaints(step: Step, done: Done) -> Iterator[str]:
    if done.failures:
        item, cause = next(iter(done.failures.items()))
        yield f"{step.title}: {len(done.failures):,} failed ({item}: {plain(cause)})"
