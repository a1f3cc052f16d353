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

from moa_graph.cli.actions.eval_judge import find_folders
from moa_graph.cli.errors import CommandError
from moa_graph.cli.terminal.text import plain
from moa_graph.evals.judging.account import MANIFEST
from moa_graph.evals.scoring import (
    Scored,
    Unscored,
    compare_scored,
    load_gamed,
    score,
)
from moa_graph.evals.statistics import Comparison


class Group(NamedTuple):
    """Systems, with those that have no score apart."""

    scored: Sequence[Scored]
    unscored: Sequence[Unscored]

    @classmethod
    def of(cls, systems: Sequence[Scored | Unscored]) -> "Group":
        """Tell them apart."""
        scored = [each for each in systems if isinstance(each, Scored)]
        return cls(scored, [each for each in systems if isinstance(each, Unscored)])

    @property
    def systems(self) -> list[Scored | Unscored]:
        """All of them."""
        return [*self.scored, *self.unscored]


def print_scores(places: Sequence[Path], gamed_baselines: Path | None, *, as_json: bool) -> None:
    """Score the systems in folders, and print a table for each benchmark.

    Raises:
        CommandError: If there is nothing to score.
        ValueError: If judgements cannot be read.
    """
    folders = find_folders(places, MANIFEST)
    gamed = load_gamed(folders, gamed_baselines)
    whole = Group.of([score(folder, gamed) for folder in folders])
    if not whole.scored:
        causes = (f"{each.benchmark}, {each.system}: {each.cause}" for each in whole.unscored)
        raise CommandError(f"no judgement succeeded: {'; '.join(causes)}")
    groups = list(_by_benchmark(whole))
    compared = [list(_compare(group.scored)) for group in groups]
    if as_json:
        systems = [each for group in groups for each in group.systems]
        _print_json(systems, [each for verdicts in compared for each in verdicts])
        return
    for group, verdicts in zip(groups, compared, strict=True):
        _print(group, verdicts)


def _by_benchmark(whole: Group) -> Iterator[Group]:
    for name in sorted({each.benchmark for each in whole.systems}):
        yield Group.of([each for each in whole.systems if each.benchmark == name])


def _compare(group: Sequence[Scored]) -> Iterable[Comparison | str]:
    """Hold the first system against each other one."""
    for other in group[1:]:
        try:
            yield compare_scored(group[0], other)
        except ValueError as error:
            yield str(error)


def _print(group: Group, verdicts: Iterable[Comparison | str]) -> None:
    makers: Mapping[str, Callable[[Group], Table]] = {"mt_bench": _mt_bench, "flask": _flask}
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    console.print(makers.get(group.systems[0].benchmark, _alpaca_eval)(group))
    for note in _notes(group.systems):
        typer.echo(f"note: {plain(note)}")
    for verdict in verdicts:
        judge = group.scored[0].manifest["judge"]["model"]
        by = f"judge {judge}: {verdict.verdict}" if isinstance(verdict, Comparison) else verdict
        typer.echo(plain(by))
    typer.echo()


def _notes(systems: Sequence[Scored | Unscored]) -> Iterator[str]:
    """Give each note once, with the names of the systems where it is not about all."""
    noted = defaultdict[str, list[str]](list)
    for each in systems:
        for note in (*each.labels, *_lacks(each)):
            noted[note].append(each.system)
    for note, names in noted.items():
        yield note if len(names) == len(systems) else f"{', '.join(names)}: {note}"


def _lacks(each: Scored | Unscored) -> Iterator[str]:
    if isinstance(each, Unscored):
        yield each.cause
    elif reason := getattr(each.figures, "unavailable", None):
        yield f"length-controlled win rate unavailable: {reason}"


def _alpaca_eval(group: Group) -> Table:
    columns: list[tuple[str, Callable[[Any], str]]] = [
        ("win rate %", lambda f: _error(f.win_rate.win_rate, f.win_rate.standard_error)),
        ("discrete %", lambda f: _number(f.win_rate.discrete_win_rate)),
        ("length-controlled %", _length_controlled),
        ("mean length", lambda f: f"{f.mean_length:,.0f}"),
    ]
    return _table(
        group, [(name, [make(s.figures) for s in group.scored]) for name, make in columns]
    )


def _mt_bench(group: Group) -> Table:
    rows = [
        ("both turns", [_number(_of(s).both, 2) for s in group.scored]),
        ("first turn", [_number(_of(s).first_turn, 2) for s in group.scored]),
        ("second turn", [_number(_of(s).second_turn, 2) for s in group.scored]),
    ]
    names = dict.fromkeys(name for s in group.scored for name in _of(s).categories)
    rows += [
        (f"  {name}", [_number(_of(s).categories.get(name), 2) for s in group.scored])
        for name in names
    ]
    rows.append(("rated", [f"{_of(s).rated:,}" for s in group.scored]))
    return _table(group, rows)


def _flask(group: Group) -> Table:
    rows: list[tuple[str, list[str]]] = []
    for title in ("skills", "domains", "difficulties"):
        rows.append((title, [""] * len(group.scored)))
        names = dict.fromkeys(name for s in group.scored for name in getattr(s.figures, title))
        rows += [
            (f"  {name}", [_number(getattr(s.figures, title).get(name), 2) for s in group.scored])
            for name in names
        ]
    rows.append(("scores", [f"{_of(s).scored:,}" for s in group.scored]))
    rows.append(("not applicable", [f"{_of(s).not_applicable:,}" for s in group.scored]))
    return _table(group, rows)


def _table(group: Group, rows: Sequence[tuple[str, list[str]]]) -> Table:
    """Lay out figures: a line each, a column a system."""
    title = plain(group.systems[0].benchmark)
    table = Table(title, box=None, pad_edge=False, title_justify="left")
    for each in group.systems:
        table.add_column(plain(each.system), justify="right")
    judges = [each.manifest["judge"]["model"] for each in group.systems]
    table.add_row("judge", *map(plain, judges))
    table.add_row("judged", *[_judged(each) for each in group.systems])
    for name, cells in rows:
        gap = "" if "" in cells else "-"  # the row of a title has no figures
        table.add_row(name, *cells, *[gap] * len(group.unscored))
    return table


def _judged(each: Scored | Unscored) -> str:
    if isinstance(each, Unscored):
        return "no score"
    items = each.manifest["items"]
    partial = "" if each.manifest["whole"] else " (partial)"
    return f"{items['judged']:,}{partial}"


def _of(scored: Scored) -> Any:
    return scored.figures


def _length_controlled(figures: Any) -> str:
    fitted = figures.length_controlled
    return _error(fitted.win_rate, fitted.standard_error) if fitted else "unavailable"


def _error(value: float, error: float) -> str:
    return f"{_number(value)} ± {_number(error)}"


def _number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None or value != value else f"{value:.{digits}f}"  # noqa: PLR0124


def _print_json(systems: Sequence[Scored | Unscored], verdicts: Sequence[Comparison | str]) -> None:
    comparisons = [
        {**asdict(each), "better": each.better, "verdict": each.verdict}
        if isinstance(each, Comparison)
        else {"verdict": each}
        for each in verdicts
    ]
    whole = {"systems": [each.as_dict() for each in systems], "comparisons": comparisons}
    typer.echo(json.dumps(_finite(whole), ensure_ascii=False, indent=2))


def _finite(value: Any) -> Any:
    """Replace NaN, which JSON does not know."""
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and value != value else value  # noqa: PLR0124
