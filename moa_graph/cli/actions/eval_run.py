"""Implementations of `moa eval estimate` and `moa eval run`."""

import asyncio
import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from itertools import groupby
from math import isinf
from pathlib import Path
from typing import Any

import typer
from rich.table import Table

from moa_graph.cli.actions.eval_judge import CALL_STORE_FILE
from moa_graph.cli.choice import require_api_keys
from moa_graph.cli.errors import EXIT_FAILED, CommandError
from moa_graph.cli.jobs import (
    budget_error,
    check_prices,
    explain_interrupt,
    list_failures,
    lock_folder,
)
from moa_graph.cli.terminal.console import print_table
from moa_graph.cli.terminal.plain_text import print_notice, strip_control_characters
from moa_graph.cli.terminal.stacked_rows import stack_if_narrow
from moa_graph.errors import MoAError
from moa_graph.evals.call_store import CallStore
from moa_graph.evals.comparison import (
    ComparisonStep,
    StepResult,
    list_steps,
    write_comparison_file,
)
from moa_graph.evals.estimates import ComparisonEstimate, PartEstimate
from moa_graph.evals.plan import EvalPlan
from moa_graph.evals.preflight import CALL_LATENCY_S, TOKENS_PER_SECOND, estimate_comparison
from moa_graph.models.agent import find_key_variable
from moa_graph.runs.formatting import format_about_seconds, format_dollars
from moa_graph.runs.job_progress import CallTotals
from moa_graph.runs.progress_display import progress_display


class StepError(MoAError):
    """A step of a comparison failed."""


def load_plan(path: Path, out: Path | None) -> tuple[EvalPlan, Path]:
    """Read a plan, and return it with the folder of its comparison."""
    plan = EvalPlan.load(path)
    return plan, out or plan.resolve_path(plan.out)


def print_preflight(path: Path, out: Path | None, answer_tokens: int, *, as_json: bool) -> None:
    """Print the estimated calls, tokens, cost and time of a plan.

    Raises:
        ValueError: If the plan is invalid.
    """
    plan, folder = load_plan(path, out)
    forecast = estimate_comparison(plan, folder, answer_tokens=answer_tokens)
    if as_json:
        document = {"parts": forecast.estimates, "total": forecast.total, "prices": forecast.prices}
        typer.echo(json.dumps(_to_json_value(document | {"notes": forecast.notes}), indent=2))
        return
    print_table(partial(stack_if_narrow, _build_table(plan, forecast)))
    for note in _list_notes(plan, forecast, answer_tokens):
        print_notice(strip_control_characters(note))


def _to_json_value(value: Any) -> Any:
    """Return plain data; an infinite bound is `null`, as JSON has no infinity."""
    match value:
        case PartEstimate():
            return _to_json_value(asdict(value))
        case dict():
            return {key: _to_json_value(each) for key, each in value.items()}
        case list() | tuple() | set():
            return [_to_json_value(each) for each in value]
        case float() if isinf(value):
            return None
        case _:
            return value


def _build_table(plan: EvalPlan, forecast: ComparisonEstimate) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("benchmark", "system or judge"):
        table.add_column(column, overflow="fold")
    for column in ("items", "calls", "free", "tokens", "at most", "cost", "at most", "time"):
        table.add_column(column, justify="right", no_wrap=True)
    for each in (*_merge_variants(plan, forecast), forecast.total):
        table.add_row(
            strip_control_characters(each.benchmark),
            strip_control_characters(each.part),
            f"{each.items:,}" if each.benchmark else "",
            f"{each.calls:,}",
            f"{each.free:,}",
            _format_token_estimate(each.tokens.expected),
            _format_token_estimate(each.tokens.upper_bound),
            _format_bound(each.cost),
            _format_bound(each.most_cost),
            format_about_seconds(each.seconds),
        )
    return table


def _merge_variants(plan: EvalPlan, forecast: ComparisonEstimate) -> Iterator[PartEstimate]:
    """Merge the variants of a benchmark to one row."""
    for benchmark, parts in groupby(forecast.estimates, lambda each: each.benchmark):
        variants = PartEstimate(benchmark, "variants", 0)
        number = 0
        for each in parts:
            if each.part in plan.configs and each.part not in plan.mixtures:
                variants.add_part(each)
                number += 1
                continue
            if number:  # the judge is the last element
                variants.part, number = f"{number} variants", 0
                yield variants
            yield each


def _list_notes(plan: EvalPlan, forecast: ComparisonEstimate, answer_tokens: int) -> Iterator[str]:
    total = forecast.total
    yield (
        f"Assumed: answers of {answer_tokens:,} tokens (--answer-tokens), "
        f"{TOKENS_PER_SECOND} tokens a second after {CALL_LATENCY_S} s, "
        f"{plan.concurrency} items at a time. At most: answers as long as `max_tokens` permits."
    )
    if total.unbounded:
        yield f"No bound without `max_tokens`: {', '.join(sorted(total.unbounded))}."
    if total.unpriced:
        yield f"The cost is unknown without a price: {', '.join(sorted(total.unpriced))}."
    if forecast.prices:
        each = (
            f"{name} {input_price:g}/{output_price:g}"
            for name, (input_price, output_price) in forecast.prices.items()
        )
        yield f"Prices, $ for a million tokens read/written: {'; '.join(each)}."
        yield (
            "They are the plan's, or those of May 2024 in the package's own table, or today's of "
            "genai-prices."
        )
    yield from forecast.notes
    if plan.max_cost is not None:
        budget = format_dollars(plan.max_cost)
        yield f"max_cost: the budget is {budget}; nothing starts that could exceed it."


def _format_token_estimate(number: float) -> str:
    if isinf(number):
        return "no bound"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def _format_bound(dollars: float | None) -> str:
    if dollars is None:
        return "unknown"
    return "no bound" if isinf(dollars) else format_dollars(dollars)


def run_plan(
    path: Path, out: Path | None, max_cost: float | None, *, run_code: bool = False
) -> None:
    """Run a plan, and print a summary.

    Args:
        path: The plan.
        out: The folder of the comparison; by default that of the plan.
        max_cost: Budget in US dollars; by default that of the plan.
        run_code: Whether the scorer `code` may run code of models.

    Raises:
        CommandError: If something is missing; the exit code tells why.
        ValueError: If the plan is invalid.
    """
    plan, folder = load_plan(path, out)
    if run_code:
        plan.allow_code()
    cost_limit = plan.max_cost if max_cost is None else max_cost
    _check_plan(plan, needs_prices=cost_limit is not None)
    steps = list_steps(plan, folder)
    with lock_folder(folder):
        write_comparison_file(plan, folder)
        with CallStore(folder / CALL_STORE_FILE) as call_store:
            _run_steps(steps, call_store, cost_limit)
    typer.echo(f"{folder}: done; write a report with: moa eval report {folder}")


def _check_plan(plan: EvalPlan, *, needs_prices: bool) -> None:
    """Check keys and prices before any paid call."""
    for config in plan.configs.values():
        require_api_keys(config)
        if needs_prices:
            check_prices(config.labels(), config.prices, "the plan's [prices]")
    for judge in (each for entry in plan.benchmarks for each in plan.judges_for(entry)):
        key = judge.agent and find_key_variable(judge.agent)
        if key and not os.environ.get(key):
            raise CommandError(f"judge {judge.label} needs a key: set {key}")
        if needs_prices and judge.agent:
            check_prices([judge.label], judge.prices, "the plan's [prices]")


def _run_steps(steps: list[ComparisonStep], call_store: CallStore, max_cost: float | None) -> None:
    totals, started, failures = CallTotals(), time.monotonic(), dict[str, str]()
    broken = BrokenParts()
    for step in steps:
        if broken.includes(step):
            continue
        if broken.has_judge(step):
            _skip_judge(step)
            continue
        remaining = None if max_cost is None else max(0.0, max_cost - totals.spent)
        try:
            step_result = _run_step(step, call_store, remaining)
        except StepError as error:  # continue with other systems and judges
            failures[step.title] = str(error)
            broken.add(step)
            continue
        _check_stopped(step, step_result, totals)
        totals.add_totals(step_result.progress)
        if step_result.failures and not step.is_probe:  # the whole step retries them
            failures[step.title] = _summarize_failures(step_result)
    duration = format_about_seconds(time.monotonic() - started)
    typer.echo(f"now {totals.describe_calls()}, {duration}")
    if failures:
        have = "step has" if len(failures) == 1 else "steps have"
        raise CommandError(
            f"{len(failures):,} {have} failures: {list_failures(failures)}; run the command again "
            "to retry them",
            EXIT_FAILED,
        )


class BrokenParts:
    """Systems and judges whose further steps are skipped after a failure."""

    def __init__(self) -> None:
        self._systems = set[Path]()
        self._judges = set[tuple[Path, int]]()
        """Folders of a system, or of a whole benchmark."""

    def add(self, step: ComparisonStep) -> None:
        """Record the system or judge that a failed step belongs to."""
        if step.kind == "judgements":
            folder = step.folder.parent if step.is_probe else step.folder
            self._judges.add((folder, step.judge_number))
        else:
            self._systems.add(step.folder)

    def includes(self, step: ComparisonStep) -> bool:
        """Return whether a step is skipped, because its system or benchmark failed."""
        benchmark = step.folder.parent
        judges = range(len(step.plan.judges_for(step.entry)))
        no_judge = all((benchmark, number) in self._judges for number in judges)
        return step.folder in self._systems or no_judge

    def has_judge(self, step: ComparisonStep) -> bool:
        """Return whether the judge of a step has failed; other judges may work."""
        folders = (step.folder, step.folder.parent)
        judges = {(folder, step.judge_number) for folder in folders}
        return step.kind != "answers" and not self._judges.isdisjoint(judges)


def _skip_judge(step: ComparisonStep) -> None:
    """Record that the judge of a step made no judgements."""
    if step.kind == "judgements" and not step.is_probe:
        with lock_folder(step.folder), suppress(ValueError):  # the cause was printed when it failed
            step.skip_judge()


def _check_stopped(step: ComparisonStep, step_result: StepResult, earlier: CallTotals) -> None:
    """Stop if a step used up the rest of the budget."""
    if reason := step_result.progress.stopped:
        if earlier.spent:
            reason += f" (earlier steps spent {earlier.format_spent()})"
        skipped = f"{step.title}: {step_result.progress.left:,} items were left"
        raise budget_error(skipped, reason)


def _run_step(step: ComparisonStep, call_store: CallStore, max_cost: float | None) -> StepResult:
    """Run a step.

    Raises:
        StepError: If it fails; other steps may succeed.
    """
    with (
        lock_folder(step.folder),
        progress_display(step.title, lines=1) as show,
        explain_interrupt(lambda: "answers so far are stored"),
    ):
        try:
            return asyncio.run(step.run(call_store, max_cost=max_cost, show=show))
        except (ValueError, ImportError) as error:
            raise StepError(str(error)) from error


def _summarize_failures(step_result: StepResult) -> str:
    item, cause = next(iter(step_result.failures.items()))
    return f"{len(step_result.failures):,} failed ({item}: {cause})"
