"""`moa eval score`: print the figures of systems."""

import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from moa_graph.cli.actions.eval_judge import find_system_folders
from moa_graph.cli.errors import CommandError
from moa_graph.cli.terminal.text import strip_control_characters
from moa_graph.evals.judging.account import JUDGING_MANIFEST
from moa_graph.evals.scoring import (
    MissingScore,
    SystemScore,
    compare_systems,
    find_baselines,
    score_system,
)
from moa_graph.evals.statistics import Comparison


class SystemGroup(NamedTuple):
    """Systems, with those that have no score apart."""

    scored: Sequence[SystemScore]
    unscored: Sequence[MissingScore]

    @classmethod
    def from_systems(cls, systems: Sequence[SystemScore | MissingScore]) -> "SystemGroup":
        """Tell them apart."""
        scored = [each for each in systems if isinstance(each, SystemScore)]
        return cls(scored, [each for each in systems if isinstance(each, MissingScore)])

    @property
    def systems(self) -> list[SystemScore | MissingScore]:
        """All of them."""
        return [*self.scored, *self.unscored]


def print_scores(paths: Sequence[Path], gamed_baselines: Path | None, *, as_json: bool) -> None:
    """Score the systems in folders, and print a table for each benchmark.

    Raises:
        CommandError: If there is nothing to score.
        ValueError: If judgements cannot be read.
    """
    folders = find_system_folders(paths, JUDGING_MANIFEST)
    baselines = find_baselines(folders, gamed_baselines)
    all_systems = SystemGroup.from_systems([score_system(folder, baselines) for folder in folders])
    if not all_systems.scored:
        causes = (
            f"{each.benchmark}, {each.system}: {each.reason}" for each in all_systems.unscored
        )
        raise CommandError(f"no judgement succeeded: {'; '.join(causes)}")
    groups = list(_group_by_benchmark(all_systems))
    comparisons = [list(_compare_with_first(group.scored)) for group in groups]
    if as_json:
        systems = [each for group in groups for each in group.systems]
        _print_json(systems, [each for verdicts in comparisons for each in verdicts])
        return
    for group, verdicts in zip(groups, comparisons, strict=True):
        _print_group(group, verdicts)


def _group_by_benchmark(all_systems: SystemGroup) -> Iterator[SystemGroup]:
    for name in sorted({each.benchmark for each in all_systems.systems}):
        yield SystemGroup.from_systems(
            [each for each in all_systems.systems if each.benchmark == name]
        )


def _compare_with_first(group: Sequence[SystemScore]) -> Iterable[Comparison | str]:
    """Hold the first system against each other one."""
    for other in group[1:]:
        try:
            yield compare_systems(group[0], other)
        except ValueError as error:
            yield str(error)


def _print_group(group: SystemGroup, verdicts: Iterable[Comparison | str]) -> None:
    makers: Mapping[str, Callable[[SystemGroup], Table]] = {
        "mt_bench": _mt_bench_table,
        "flask": _flask_table,
    }
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    console.print(makers.get(group.systems[0].benchmark, _alpaca_eval_table)(group))
    for note in _collect_notes(group.systems):
        typer.echo(f"note: {strip_control_characters(note)}")
    for verdict in verdicts:
        judge = group.scored[0].manifest["judge"]["model"]
        line = f"judge {judge}: {verdict.verdict}" if isinstance(verdict, Comparison) else verdict
        typer.echo(strip_control_characters(line))
    typer.echo()


def _collect_notes(systems: Sequence[SystemScore | MissingScore]) -> Iterator[str]:
    """Give each note once, with the names of the systems where it is not about all."""
    systems_by_note = defaultdict[str, list[str]](list)
    for each in systems:
        for note in (*each.labels, *_missing_results(each)):
            systems_by_note[note].append(each.system)
    for note, names in systems_by_note.items():
        yield note if len(names) == len(systems) else f"{', '.join(names)}: {note}"


def _missing_results(each: SystemScore | MissingScore) -> Iterator[str]:
    if isinstance(each, MissingScore):
        yield each.reason
    elif reason := getattr(each.figures, "unavailable", None):
        yield f"length-controlled win rate unavailable: {reason}"


def _alpaca_eval_table(group: SystemGroup) -> Table:
    columns: list[tuple[str, Callable[[Any], str]]] = [
        (
            "win rate %",
            lambda f: _format_with_error(f.win_rate.win_rate, f.win_rate.standard_error),
        ),
        ("discrete %", lambda f: _format_number(f.win_rate.discrete_win_rate)),
        ("length-controlled %", _format_length_controlled),
        ("mean length", lambda f: f"{f.mean_length:,.0f}"),
    ]
    return _build_table(
        group, [(name, [make(s.figures) for s in group.scored]) for name, make in columns]
    )


def _mt_bench_table(group: SystemGroup) -> Table:
    rows = [
        ("both turns", [_format_number(_figures_of(s).both, 2) for s in group.scored]),
        ("first turn", [_format_number(_figures_of(s).first_turn, 2) for s in group.scored]),
        ("second turn", [_format_number(_figures_of(s).second_turn, 2) for s in group.scored]),
    ]
    names = dict.fromkeys(name for s in group.scored for name in _figures_of(s).categories)
    rows += [
        (
            f"  {name}",
            [_format_number(_figures_of(s).categories.get(name), 2) for s in group.scored],
        )
        for name in names
    ]
    rows.append(("rated", [f"{_figures_of(s).rated:,}" for s in group.scored]))
    return _build_table(group, rows)


def _flask_table(group: SystemGroup) -> Table:
    rows: list[tuple[str, list[str]]] = []
    for title in ("skills", "domains", "difficulties"):
        rows.append((title, [""] * len(group.scored)))
        names = dict.fromkeys(name for s in group.scored for name in getattr(s.figures, title))
        rows += [
            (
                f"  {name}",
                [_format_number(getattr(s.figures, title).get(name), 2) for s in group.scored],
            )
            for name in names
        ]
    rows.append(("scores", [f"{_figures_of(s).scored:,}" for s in group.scored]))
    rows.append(("not applicable", [f"{_figures_of(s).not_applicable:,}" for s in group.scored]))
    return _build_table(group, rows)


def _build_table(group: SystemGroup, rows: Sequence[tuple[str, list[str]]]) -> Table:
    """Lay out figures: a line each, a column a system."""
    title = strip_control_characters(group.systems[0].benchmark)
    table = Table(title, box=None, pad_edge=False, title_justify="left")
    for each in group.systems:
        table.add_column(strip_control_characters(each.system), justify="right")
    judges = [each.manifest["judge"]["model"] for each in group.systems]
    table.add_row("judge", *map(strip_control_characters, judges))
    table.add_row("judged", *[_format_judged(each) for each in group.systems])
    for name, cells in rows:
        gap = "" if "" in cells else "-"  # the row of a title has no figures
        table.add_row(name, *cells, *[gap] * len(group.unscored))
    return table


def _format_judged(each: SystemScore | MissingScore) -> str:
    if isinstance(each, MissingScore):
        return "no score"
    items = each.manifest["items"]
    partial = "" if each.manifest["whole"] else " (partial)"
    return f"{items['judged']:,}{partial}"


def _figures_of(scored: SystemScore) -> Any:
    return scored.figures


def _format_length_controlled(figures: Any) -> str:
    estimate = figures.length_controlled
    return (
        _format_with_error(estimate.win_rate, estimate.standard_error)
        if estimate
        else "unavailable"
    )


def _format_with_error(value: float, error: float) -> str:
    return f"{_format_number(value)} ± {_format_number(error)}"


def _format_number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None or value != value else f"{value:.{digits}f}"  # noqa: PLR0124


def _print_json(
    systems: Sequence[SystemScore | MissingScore], verdicts: Sequence[Comparison | str]
) -> None:
    comparisons = [
        {**asdict(each), "better": each.better, "verdict": each.verdict}
        if isinstance(each, Comparison)
        else {"verdict": each}
        for each in verdicts
    ]
    document = {"systems": [each.as_dict() for each in systems], "comparisons": comparisons}
    typer.echo(json.dumps(_replace_nan(document), ensure_ascii=False, indent=2))


def _replace_nan(value: Any) -> Any:
    """Replace NaN, which JSON does not know."""
    if isinstance(value, Mapping):
        return {key: _replace_nan(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_replace_nan(each) for each in value]
    return None if isinstance(value, float) and value != value else value  # noqa: PLR0124
